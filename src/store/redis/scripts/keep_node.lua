-- Says that a node lives, by Redis's own clock. KEYS: leases, abouts. ARGV: node, about, lease in ms.
-- Gives 1 if it was known, and of each node its name, how long its lease still lasts in ms, and its about.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local told, held = {}, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for at = 1, #held, 2 do
    local left = math.max(0, tonumber(held[at + 1]) - now)
    told[#told + 1] = held[at]
    told[#told + 1] = string.format('%.0f', left)
    told[#told + 1] = redis.call('HGET', KEYS[2], held[at]) or '{}'
end
return {known, told}
