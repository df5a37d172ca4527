-- Passes a slot on to another owner. ARGV: id, owner, node, held for ms, cap, own.
-- Gives what came of it, and how many have a slot or, for 'line', wait.
local id, owner, node, cap, own = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
hold(node, ARGV[4])
local nodes = held_nodes()
let_in(cap, own, nodes)
tell()
local count = call('HLEN', taken)
local holder = call('HGET', taken, id)
if not holder then return {'full', count} end
if owner_of(holder) == owner then return {'taken', count} end
if room(owner, own) <= 0 then return {'own', count} end
-- On its own node nobody passes those either who are only held.
if nodes then nodes[node] = nil end
if first(own, nodes) then return {'line', call('HLEN', places)} end
take_back(id)
give(id, owner, node)
return {'taken', count}
