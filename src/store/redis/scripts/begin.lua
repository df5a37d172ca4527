-- Writes a session's record unless one is there, also one that is not to be seen yet.
-- KEYS: record. ARGV: how long it lives in ms ('' for ever), then fields and values. Gives 1 if written.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
