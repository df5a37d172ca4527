-- What all scripts about slots and the line begin with: the rules, as src/store/slots.rs has them.
-- KEYS: taken, owners, places, line, turn, held, arrivals, moved (a channel). The limits `cap`, of all slots, and `own`,
-- of one owner's (0: none), are handed on. An owner is a digest of 32 digits; a member of the line is
-- <owner>:<arrival>:<id>:<node>, so that an owner's are together and in the order of arrival.
local call = redis.call
local taken, owners, places, line, turn, held, arrivals = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
-- Has a slot come free, or has somebody who waited got one?
local moved = false

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function owner_of(member) return string.sub(member, 1, 32) end
local function id_of(member) return string.sub(member, 51, 86) end
local function node_of(member) return string.sub(member, 88) end

-- Holds a node's line for so long, in ms; 0: no longer.
local function hold(node, for_ms)
    if tonumber(for_ms) > 0 then
        call('ZADD', held, string.format('%.0f', now + tonumber(for_ms)), node)
    else
        call('ZREM', held, node)
    end
end

-- The nodes whose lines are held, as a set; nil if there are none.
local function held_nodes()
    local nodes
    for _, node in ipairs(call('ZRANGEBYSCORE', held, string.format('(%.0f', now), '+inf')) do
        nodes = nodes or {}
        nodes[node] = true
    end
    return nodes
end

local function room(owner, own)
    if own == 0 then return math.huge end
    return own - tonumber(call('HGET', owners, owner) or 0)
end

-- The place that a free slot goes to; nil if there is none that may go.
local function first(own, nodes)
    for _, owner in ipairs(call('ZRANGE', turn, 0, -1)) do
        if room(owner, own) > 0 then
            local from, to = '[' .. owner .. ':', '(' .. owner .. ';'
            if not nodes then return call('ZRANGEBYLEX', line, from, to, 'LIMIT', 0, 1)[1] end
            for _, member in ipairs(call('ZRANGEBYLEX', line, from, to)) do
                if not nodes[node_of(member)] then return member end
            end
        end
    end
end

local function give(id, owner, node)
    call('HSET', taken, id, owner .. ':' .. node)
    call('HINCRBY', owners, owner, 1)
end

-- Takes a slot from whoever has it.
local function take_back(id)
    local holder = call('HGET', taken, id)
    if not holder then return false end
    call('HDEL', taken, id)
    if call('HINCRBY', owners, owner_of(holder), -1) <= 0 then call('HDEL', owners, owner_of(holder)) end
    moved = true
    return true
end

-- Where whoever comes now stands, behind all others.
local function next_arrival() return string.format('%016.0f', call('INCR', arrivals)) end

-- Takes a place out of the line. Its owner's turn goes with the last place, or else stays where it is.
local function leave(member)
    local owner = owner_of(member)
    call('ZREM', line, member)
    call('HDEL', places, id_of(member))
    if call('ZLEXCOUNT', line, '[' .. owner .. ':', '(' .. owner .. ';') == 0 then call('ZREM', turn, owner) end
end

-- Gives free slots to those who are first.
local function let_in(cap, own, nodes)
    local free = cap - call('HLEN', taken)
    while free > 0 do
        local member = first(own, nodes)
        if not member then return end
        local owner = owner_of(member)
        leave(member)
        call('ZADD', turn, 'XX', next_arrival(), owner)
        give(id_of(member), owner, node_of(member))
        free, moved = free - 1, true
    end
end

-- All who wait, the next one first: who may go, who is held, who waits for a slot of their own owner. With `last` no
-- further than to that one.
local function order(own, nodes, last)
    local by_owner, ordered = {}, {}
    for _, member in ipairs(call('ZRANGE', line, 0, -1)) do
        local owner = owner_of(member)
        local theirs = by_owner[owner]
        if not theirs then
            -- `next` in each pass; `left` have not gone yet.
            theirs = {room = room(owner, own), next = 1, left = 0}
            by_owner[owner] = theirs
        end
        theirs.left = theirs.left + 1
        theirs[theirs.left] = member
    end
    local queue = {}
    for _, owner in ipairs(call('ZRANGE', turn, 0, -1)) do queue[#queue + 1] = by_owner[owner] end
    for pass = 1, 3 do
        local passed_over, head = {}, 1
        while queue[head] do
            local theirs, member = queue[head], nil
            head = head + 1
            if pass == 3 or theirs.room > 0 then
                member = theirs[theirs.next]
                -- `false` stands for who has gone already.
                while member == false or (member and pass == 1 and nodes and nodes[node_of(member)]) do
                    theirs.next = theirs.next + 1
                    member = theirs[theirs.next]
                end
            end
            if member then
                ordered[#ordered + 1] = member
                if member == last then return ordered end
                theirs[theirs.next] = false
                theirs.next, theirs.room, theirs.left = theirs.next + 1, theirs.room - 1, theirs.left - 1
                if theirs.left > 0 then queue[#queue + 1] = theirs end
            else
                theirs.next = 1
                passed_over[#passed_over + 1] = theirs
            end
        end
        queue = passed_over
    end
    return ordered
end

-- Wakes the nodes that listen. Only a hint: a user who may not publish is no reason to fail.
local function tell()
    if moved then redis.pcall('SPUBLISH', KEYS[8], '') end
end
