-- Sends a message to a node, with the moment after which it is worth nothing, by Redis's own clock.
-- KEYS: the node's channel. ARGV: what comes before the moment, the time it has in ms ('' for ever), the message.
-- Gives how many listen.
local moment = ''
if ARGV[2] ~= '' then
    local time = redis.call('TIME')
    moment = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2]))
end
return redis.call('SPUBLISH', KEYS[1], ARGV[1] .. moment .. '\n' .. ARGV[3])
