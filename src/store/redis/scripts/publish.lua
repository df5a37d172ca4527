-- Makes a record that waited to be seen. KEYS: record. Gives 1 if it is to be seen now, 0 if there is none.
local record = redis.call('HMGET', KEYS[1], 'state', 'starts_as')
if record[1] then return 1 end
if not record[2] then return 0 end
redis.call('HSET', KEYS[1], 'state', record[2])
redis.call('HDEL', KEYS[1], 'starts_as')
redis.call('PERSIST', KEYS[1])
return 1
