-- Takes an idempotency key that is free, one's own, or still holds what is known to be stale.
-- KEYS: key. ARGV: new value, stale value ('' none). Gives what the key holds afterwards.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and holder ~= ARGV[2] then return holder end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
