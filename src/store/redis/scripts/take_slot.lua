-- Takes the slot that is asked for at once.
-- Gives what came of it, and how many have a slot or, for 'line', wait.
if call('HEXISTS', taken, id) == 1 then return {'taken', count} end
local refused = refusal()
if refused then return refused end
if count >= cap then return {'full', count} end
give(id, owner, node)
return {'taken', count + 1}
