-- A node's slots, as it knows them: those that are not known are taken. ARGV: node, then ids and owners in turn.
-- Gives the ids of those.
local added = {}
for at = 2, #ARGV, 2 do
    local id = ARGV[at]
    if call('HEXISTS', taken, id) == 0 then
        local member = call('HGET', places, id)
        if member then leave(member) end
        give(id, ARGV[at + 1], ARGV[1])
        added[#added + 1] = id
    end
end
return added
