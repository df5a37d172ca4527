-- Replaces an account. KEYS: by subject, names. ARGV: subject, name, the account. Gives a word.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored then return 'missing' end
local holder = redis.call('HGET', KEYS[2], ARGV[2])
if holder and holder ~= ARGV[1] then return 'exists' end
local old = cjson.decode(stored).username
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
if old ~= ARGV[2] then redis.call('HDEL', KEYS[2], old) end
return 'ok'
