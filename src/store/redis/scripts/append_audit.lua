-- Writes an entry of the audit log. KEYS: texts, all ids, more lists of ids. ARGV: id, entry. Gives whether it is new.
local new = redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
for place = 2, #KEYS do redis.call('ZADD', KEYS[place], 0, ARGV[1]) end
return new
