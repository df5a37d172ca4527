-- How many have a slot, and how many wait.
return {call('HLEN', taken), call('HLEN', places)}
