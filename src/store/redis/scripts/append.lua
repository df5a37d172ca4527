-- Appends a batch; with fields after the tenth argument it also ends the session.
-- KEYS: record, log, the channel that is told. ARGV: epoch, the head that the batch follows ('' none), its last number, first number, types,
-- payload, hash, length, '1' if it can't be appended whatever the head is, '1' if it ends the session, fields.
-- Gives a word, the head, what is kept, when the session was put away, and when it was created. The log is written first: it is what
-- can be refused for want of memory.
local record = redis.call('HMGET', KEYS[1], 'state', 'epoch', 'last_seq', 'put_away_at_ms', 'created_at_ms')
if not record[1] then return {'missing'} end
if record[2] ~= ARGV[1] then return {'not_owner'} end
local ended, head, ends = record[1] == 'ended', record[3], ARGV[10] == '1'
local function answer(word)
    return {word, head, redis.call('HGET', KEYS[1], 'bytes'), record[4] or '', record[5]}
end
if not ended and head == ARGV[2] and ARGV[9] ~= '1' then
    redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'first_seq', ARGV[4], 'types', ARGV[5], 'payload', ARGV[6],
        'epoch', ARGV[1], 'hash', ARGV[7])
    redis.call('HSET', KEYS[1], 'last_seq', ARGV[3], unpack(ARGV, 11))
    redis.call('HINCRBY', KEYS[1], 'bytes', ARGV[8])
    -- Only a hint: whoever may not hear it looks now and then.
    redis.pcall('SPUBLISH', KEYS[3], ARGV[3])
    return answer('ok')
end
if ARGV[3] ~= '0' and (not ends or (ended and head == ARGV[3])) then
    local found = redis.call('XRANGE', KEYS[2], ARGV[3] .. '-0', ARGV[3] .. '-0')[1]
    if found then
        local entry = found[2]
        if entry[2] == ARGV[4] and entry[4] == ARGV[5] and entry[10] == ARGV[7] then return answer('ok') end
    end
end
if ended then return {'not_owner'} end
return {'gap', head}
