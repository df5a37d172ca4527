-- Tells of all nodes, by Redis's own clock. KEYS: leases, abouts. Gives of each node its name, how long its lease still
-- lasts in ms, and its about.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local told, held = {}, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for at = 1, #held, 2 do
    told[#told + 1] = held[at]
    told[#told + 1] = string.format('%.0f', math.max(0, tonumber(held[at + 1]) - now))
    told[#told + 1] = redis.call('HGET', KEYS[2], held[at]) or '{}'
end
return told
