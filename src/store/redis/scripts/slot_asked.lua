-- A slot is asked for. ARGV: id, owner, node, held for ms, cap, own. Whoever may go in from the line does so first.
local id, owner, node, cap, own = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
hold(node, ARGV[4])
local nodes = held_nodes()
let_in(cap, own, nodes)
tell()
local count = call('HLEN', taken)

-- Why this owner must not have another one now; nil if nothing speaks against it.
local function refusal()
  if room(owner, own) <= 0 then return {'own', count} end
  -- On its own node nobody passes those either who are only held.
  if nodes then nodes[node] = nil end
  if first(own, nodes) then return {'line', call('HLEN', places)} end
end

