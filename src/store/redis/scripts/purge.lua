-- Deletes the oldest batches of a removed session. KEYS: its log. ARGV: how many at most.
-- Gives how many were deleted and how many are left.
local length, most = redis.call('XLEN', KEYS[1]), tonumber(ARGV[1])
if length <= most then
    redis.call('UNLINK', KEYS[1])
    return {length, 0}
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', length - most)
return {most, length - most}
