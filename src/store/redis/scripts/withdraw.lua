-- Deletes a record that nobody has seen. KEYS: record.
if redis.call('HEXISTS', KEYS[1], 'state') == 1 then return 0 end
return redis.call('DEL', KEYS[1])
