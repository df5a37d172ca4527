-- Replaces an account. KEYS: by subject, names. ARGV: subject, name, the account, the revision that it replaces. Gives
-- a word.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored then return 'missing' end
if stored == ARGV[3] then return 'ok' end
local old = cjson.decode(stored)
if (old.revision or 0) ~= tonumber(ARGV[4]) then return 'changed' end
local holder = redis.call('HGET', KEYS[2], ARGV[2])
if holder and holder ~= ARGV[1] then return 'exists' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
if old.username ~= ARGV[2] then redis.call('HDEL', KEYS[2], old.username) end
return 'ok'
