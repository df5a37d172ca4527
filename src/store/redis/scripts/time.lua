-- What time it is where a key lies, in ms since the epoch. KEYS: one.
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
