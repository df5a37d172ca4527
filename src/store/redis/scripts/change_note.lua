-- Changes a note that has a certain value. KEYS: the note, the kind's keys, their ends. ARGV: key, the value, '1' if it
-- gets a new one (else it goes), the new one, when it ends, the same as Redis takes it (both empty: never).
local value = redis.call('HGET', KEYS[1], 'value')
if not value then return 0 end
if value ~= ARGV[2] then
    if ARGV[3] == '1' and value == ARGV[4] and (redis.call('HGET', KEYS[1], 'expires') or '') == ARGV[5] then return 1 end
    return 0
end
if ARGV[3] == '' then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('ZREM', KEYS[3], ARGV[1])
    return 1
end
redis.call('HSET', KEYS[1], 'value', ARGV[4])
if ARGV[5] == '' then
    redis.call('HDEL', KEYS[1], 'expires')
    redis.call('PERSIST', KEYS[1])
    redis.call('ZREM', KEYS[3], ARGV[1])
else
    redis.call('HSET', KEYS[1], 'expires', ARGV[5])
    redis.call('PEXPIREAT', KEYS[1], ARGV[6])
    redis.call('ZADD', KEYS[3], ARGV[6], ARGV[1])
end
return 1
