-- Takes a slot at once. ARGV: id, owner, node, held for ms, cap, own.
-- Gives what came of it, and how many have a slot or, for 'line', wait.
local id, owner, node, cap, own = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
hold(node, ARGV[4])
local nodes = held_nodes()
let_in(cap, own, nodes)
tell()
local count = call('HLEN', taken)
if call('HEXISTS', taken, id) == 1 then return {'taken', count} end
if room(owner, own) <= 0 then return {'own', count} end
-- On its own node nobody passes those either who are only held.
if nodes then nodes[node] = nil end
if first(own, nodes) then return {'line', call('HLEN', places)} end
if count >= cap then return {'full', count} end
give(id, owner, node)
return {'taken', count + 1}
