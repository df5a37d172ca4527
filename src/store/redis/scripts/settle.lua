-- Notes that a session has ended: from now on its bytes are counted here. The first call only: a late one must not
-- count a session that has been removed since. KEYS: alive, kept, kept total, put away.
-- ARGV: member, id, bytes, put-away member ('' none).
if ARGV[4] ~= '' then redis.call('ZREM', KEYS[4], ARGV[4]) end
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
local old = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or '0')
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('INCRBY', KEYS[3], string.format('%.0f', tonumber(ARGV[3]) - old))
return 1
