-- Gives all slots of a node back; says how many. KEYS: leases, nodes. ARGV: node.
local released, held = 0, redis.call('HGETALL', KEYS[2])
for at = 1, #held, 2 do
    if held[at + 1] == ARGV[1] then
        redis.call('HDEL', KEYS[2], held[at])
        released = released + redis.call('ZREM', KEYS[1], held[at])
    end
end
return released
