-- Reads batches on from a number. KEYS: record, log. ARGV: the number, wanted types, most bytes, most batches.
-- Gives nothing without a record; else the head and lists of last number, first number, types, payload. What is not
-- wanted has an empty payload.
local record = redis.call('HMGET', KEYS[1], 'state', 'last_seq')
if not record[1] then return {} end
local wanted, most_bytes, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local batches, bytes, from = {}, 0, '(' .. ARGV[1] .. '-0'
while true do
    local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 8)
    for _, found in ipairs(page) do
        if #batches >= most or (#batches > 0 and bytes >= most_bytes) then return {record[2], batches} end
        local entry = found[2]
        local payload = entry[6]
        if bit.band(tonumber(entry[4]), wanted) == 0 then payload = '' end
        bytes = bytes + #payload
        batches[#batches + 1] = {found[1], entry[2], entry[4], payload}
        from = '(' .. found[1]
    end
    if #page < 8 then return {record[2], batches} end
end
