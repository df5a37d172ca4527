-- Lets in who may go, and tells what a node has. ARGV: node, held for ms, cap, own, 1 if positions are asked for.
-- Gives the ids of its slots, then of its places and their positions in turn, and 1 if a slot is wanted.
local node, cap, own = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
hold(node, ARGV[2])
local nodes = held_nodes()
let_in(cap, own, nodes)
tell()
local slots, standing = {}, {}
local all = call('HGETALL', taken)
for at = 1, #all, 2 do
    if string.sub(all[at + 1], 34) == node then slots[#slots + 1] = all[at] end
end
if ARGV[5] == '1' then
    for at, member in ipairs(order(own, nodes)) do
        if node_of(member) == node then
            standing[#standing + 1] = id_of(member)
            standing[#standing + 1] = tostring(at)
        end
    end
end
return {slots, standing, first(own, nodes) and 1 or 0}
