-- Counts the bytes of an ended session anew. KEYS: kept, kept total. ARGV: id, bytes.
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('INCRBY', KEYS[2], string.format('%.0f', tonumber(ARGV[2]) - tonumber(old)))
return 1
