-- Forgets one entry. KEYS: seen, moments, the owner's. ARGV: as for adding it.
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[2])
