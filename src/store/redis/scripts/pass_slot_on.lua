-- Passes the slot that is asked for on to another owner.
-- Gives what came of it, and how many have a slot or, for 'line', wait.
local holder = call('HGET', taken, id)
if not holder then return {'full', count} end
if owner_of(holder) == owner then return {'taken', count} end
local refused = refusal()
if refused then return refused end
take_back(id)
give(id, owner, node)
return {'taken', count}
