-- Forgets an entry of the audit log. KEYS: texts, all ids, more lists of ids. ARGV: id.
for place = 3, #KEYS do redis.call('ZREM', KEYS[place], ARGV[1]) end
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
