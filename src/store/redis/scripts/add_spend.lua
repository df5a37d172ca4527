-- Writes an entry down unless one of the same session and number is there. KEYS: seen, moments, the owner's.
-- ARGV: session and number, member of moments, member of the owner's.
if redis.call('HSETNX', KEYS[1], ARGV[1], '') == 0 then return 0 end
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[3])
return 1
