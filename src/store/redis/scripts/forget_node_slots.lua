-- A node is no more: its slots come free, its places go. ARGV: node. Gives how many slots.
local forgotten = 0
call('ZREM', held, ARGV[1])
local waiting = call('HVALS', places)
for _, member in ipairs(waiting) do
    if node_of(member) == ARGV[1] then leave(member) end
end
local all = call('HGETALL', taken)
for at = 1, #all, 2 do
    if string.sub(all[at + 1], 34) == ARGV[1] then
        take_back(all[at])
        forgotten = forgotten + 1
    end
end
tell()
return forgotten
