-- Takes notes that have ended out of the lists, by Redis's own clock. KEYS: the kind's keys, their ends. ARGV: how many
-- at most. Gives how many.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, key in ipairs(ended) do
    redis.call('ZREM', KEYS[1], key)
    redis.call('ZREM', KEYS[2], key)
end
return #ended
