-- Gives a slot back, or a place in the line, and lets in who may go. ARGV: id, cap, own.
if not take_back(ARGV[1]) then
    local member = call('HGET', places, ARGV[1])
    if member then leave(member) end
end
let_in(tonumber(ARGV[2]), tonumber(ARGV[3]), held_nodes())
tell()
return 1
