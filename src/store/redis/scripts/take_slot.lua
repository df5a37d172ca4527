-- Takes a slot under the cap, by Redis's own clock. KEYS: leases, nodes. ARGV: slot, node, cap, lease in ms.
-- Gives 1 or 0, how many are taken, and when the first lease ends, in ms from now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))) do
    redis.call('ZREM', KEYS[1], gone)
    redis.call('HDEL', KEYS[2], gone)
end
local taken = redis.call('ZCARD', KEYS[1])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    if taken >= tonumber(ARGV[3]) then
        local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
        return {0, taken, math.max(0, tonumber(first or now) - now)}
    end
    taken = taken + 1
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[4])), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return {1, taken, 0}
