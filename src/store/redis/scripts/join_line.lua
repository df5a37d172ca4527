-- Takes a slot if there is one for it, else the last place in the line.
-- ARGV: id, owner, node, held for ms, cap, own, how many may wait, how many of one owner.
-- Gives what came of it, and for 'waiting' where it stands.
local id, owner, node, cap, own = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
hold(node, ARGV[4])
local nodes = held_nodes()
let_in(cap, own, nodes)
tell()
if call('HEXISTS', taken, id) == 1 then return {'taken', 0} end
local member = call('HGET', places, id)
if not member then
    -- Whoever could have gone before has been let in.
    if not (nodes and nodes[node]) and room(owner, own) > 0 and call('HLEN', taken) < cap then
        give(id, owner, node)
        return {'taken', 0}
    end
    if call('HLEN', places) >= tonumber(ARGV[7]) then return {'full', 0} end
    local theirs = call('ZLEXCOUNT', line, '[' .. owner .. ':', '(' .. owner .. ';')
    if theirs >= tonumber(ARGV[8]) then return {'own', 0} end
    local arrival = next_arrival()
    member = owner .. ':' .. arrival .. ':' .. id .. ':' .. node
    call('ZADD', line, 0, member)
    call('HSET', places, id, member)
    if theirs == 0 then call('ZADD', turn, arrival, owner) end
end
return {'waiting', #order(own, nodes, member)}
