-- Sums what an owner has spent. KEYS: the owner's. ARGV: where to begin. Amounts stand behind the last colon.
local sum = 0
for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+')) do
    sum = sum + tonumber(string.match(member, '[0-9]+$'))
end
return string.format('%.0f', sum)
