-- Changes fields of a record. KEYS: record. ARGV: epoch, the node and epoch of a take-over ('' none), '1' if the
-- patch is never allowed, then fields and values. Gives a word and, for 'ok', when it was put away before.
local record = redis.call('HMGET', KEYS[1], 'state', 'epoch', 'node', 'put_away_at_ms')
if not record[1] then return {'missing'} end
local ended = record[1] == 'ended'
if ARGV[3] ~= '' and ARGV[4] ~= '1' and record[2] == ARGV[3] and record[3] == ARGV[2] and not ended then
    return {'same'}
end
if ended or record[2] ~= ARGV[1] or ARGV[4] == '1' then return {'not_owner'} end
if #ARGV > 4 then redis.call('HSET', KEYS[1], unpack(ARGV, 5)) end
return {'ok', record[4] or ''}
