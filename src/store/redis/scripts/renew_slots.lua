-- Extends a node's leases. KEYS: leases, nodes. ARGV: node, lease in ms.
local time = redis.call('TIME')
local expires = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2]))
local held = redis.call('HGETALL', KEYS[2])
for at = 1, #held, 2 do
    if held[at + 1] == ARGV[1] then redis.call('ZADD', KEYS[1], 'XX', expires, held[at]) end
end
return 1
