-- Removes an ended session: its record goes, its log gets another name. KEYS: record, log, the log's new name.
-- ARGV: how long the log waits at most to be purged, in ms. Gives a word.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'missing' end
if state ~= 'ended' then return 'not_owner' end
if redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('RENAME', KEYS[2], KEYS[3])
    redis.call('PEXPIRE', KEYS[3], ARGV[1])
end
redis.call('DEL', KEYS[1])
return 'ok'
