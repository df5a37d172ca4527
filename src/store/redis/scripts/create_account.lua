-- Creates an account. KEYS: by subject, names. ARGV: subject, name, the account. Gives '' if it is made, else the
-- account that has the subject or the name.
local same = redis.call('HGET', KEYS[1], ARGV[1])
if same then return same end
local holder = redis.call('HGET', KEYS[2], ARGV[2])
if holder then return redis.call('HGET', KEYS[1], holder) or '{}' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return ''
