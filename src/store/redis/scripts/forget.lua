-- Forgets a removed session, or one that was never seen. KEYS: kept, kept total, ended, then other indexes.
-- ARGV: id, member of ended, member of the others.
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('DECRBY', KEYS[2], old)
end
redis.call('ZREM', KEYS[3], ARGV[2])
for at = 4, #KEYS do redis.call('ZREM', KEYS[at], ARGV[3]) end
return 1
