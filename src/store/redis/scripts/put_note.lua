-- Writes a note down unless there is one. KEYS: the note, the kind's keys, their ends. ARGV: key, value, when it ends,
-- the same as Redis takes it (both empty: never). Gives whether it is there as given.
local value = redis.call('HGET', KEYS[1], 'value')
if value then
    if value == ARGV[2] and (redis.call('HGET', KEYS[1], 'expires') or '') == ARGV[3] then return 1 end
    return 0
end
redis.call('HSET', KEYS[1], 'value', ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
if ARGV[3] == '' then
    redis.call('ZREM', KEYS[3], ARGV[1])
else
    redis.call('HSET', KEYS[1], 'expires', ARGV[3])
    redis.call('PEXPIREAT', KEYS[1], ARGV[4])
    redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
end
return 1
