-- Removes the oldest batches of a log, never the newest. KEYS: record, log. ARGV: epoch, bytes to keep, most batches.
-- Gives a word and first number, head, bytes that are kept then, and the state.
local record = redis.call('HMGET', KEYS[1], 'state', 'epoch', 'last_seq', 'bytes', 'first')
if not record[1] then return {'missing'} end
if record[2] ~= ARGV[1] then return {'not_owner'} end
local bytes, keep, left = tonumber(record[4]), tonumber(ARGV[2]), tonumber(ARGV[3])
local from, first, cut_to, done = '-', nil, nil, false
while not done do
    local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 8)
    for _, found in ipairs(page) do
        first = found[2][2]
        if left == 0 or bytes <= keep or found[1] == record[3] .. '-0' then
            done, cut_to = true, from ~= '-' and found[1] or nil
            break
        end
        bytes, left, from = bytes - #found[2][6], left - 1, '(' .. found[1]
    end
    if #page == 0 then done = true end
end
if cut_to then
    bytes = string.format('%.0f', bytes)
    redis.call('XTRIM', KEYS[2], 'MINID', '=', cut_to)
    redis.call('HSET', KEYS[1], 'first', first, 'bytes', bytes)
    return {'ok', first, record[3], bytes, record[1]}
end
return {'ok', record[5], record[3], record[4], record[1]}
