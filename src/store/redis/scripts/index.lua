-- Adds a member to indexes. KEYS: indexes. ARGV: member.
for _, index in ipairs(KEYS) do redis.call('ZADD', index, 0, ARGV[1]) end
return #KEYS
