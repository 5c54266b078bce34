"""The Lua scripts: everything that Redis has to do in one step, in one place.

Redis runs a script as a whole or, where its first write is refused (out of memory, read-only, a
full disk), not at all; what it wrote goes into the append-only file and to replicas as one
transaction. Each reads and checks everything before it writes anything.

The state of a stream is a hash:

* ``id``: the last event ID of the last entry, and ``within``: how many entries in a row have it;
* ``sequence``: how many entries were ever written;
* ``writer``: the lease under which the last entries were written;
* ``token``: of the latest lease. It only grows.

A lease is a string, ``owner token``, that Redis lets expire. Owners are unique to each attempt of
a process, so that a Redis which lost its last second, and with it a token, gives the same token to
two owners, but never the same lease.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """A script, and the name by which Redis knows it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the name."""
        digest = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324  # Redis's own choice
        object.__setattr__(self, "digest", digest)


#: KEYS: lease, state. ARGV: owner, milliseconds.
#: Returns the new lease and what the state says, or 0 and the milliseconds to wait for.
ACQUIRE = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then
    return {0, redis.call('PTTL', KEYS[1])}
end
local state = redis.call('HMGET', KEYS[2], 'id', 'within', 'sequence')
local token = redis.call('HINCRBY', KEYS[2], 'token', 1)
local lease = ARGV[1] .. ' ' .. token
redis.call('SET', KEYS[1], lease, 'PX', ARGV[2])
return {1, lease, state[1], state[2] or '0', state[3] or '0'}
""")

#: KEYS: lease. ARGV: the lease, milliseconds. Returns whether it is still held. An expired one is
#: not taken back: somebody may have had it in between.
RENEW = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")

#: KEYS: lease. ARGV: the lease.
RELEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 1
""")

#: KEYS: stream, lease, state. ARGV: the lease, milliseconds, the sequence to be continued, the new
#: id and within, the length to trim to or '', the source, then event, data and id of each entry.
#: Returns 'written'; 'again' if exactly this was written already, and only the reply was lost;
#: 'moved' if the state is another one than the writer knows; 'lost' if the lease is not held.
WRITE = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return 'lost'
end
local state = redis.call('HMGET', KEYS[3], 'sequence', 'writer')
local sequence = tonumber(state[1] or '0')
local expected = tonumber(ARGV[3])
local count = (#ARGV - 7) / 3
if sequence ~= expected then
    if sequence == expected + count and state[2] == ARGV[1] then
        return 'again'
    end
    return 'moved'
end
for first = 8, #ARGV, 3 do
    local fields = {'event', ARGV[first], 'data', ARGV[first + 1], 'id', ARGV[first + 2],
                    'source', ARGV[7]}
    if ARGV[6] == '' then
        redis.call('XADD', KEYS[1], '*', unpack(fields))
    else
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], '*', unpack(fields))
    end
end
redis.call('HSET', KEYS[3], 'id', ARGV[4], 'within', ARGV[5],
           'sequence', string.format('%.0f', expected + count), 'writer', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 'written'
""")

#: KEYS: lease, state. ARGV: the lease, milliseconds, the id. Returns whether it was saved.
SAVE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[2], 'id', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")

#: KEYS: the sorted set of workers. ARGV: a worker, milliseconds. Puts its end into the set, in the
#: time of Redis, and returns how many workers are alive.
HEARTBEAT = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZCARD', KEYS[1])
""")

#: KEYS: stream. ARGV: group, consumer. Forgets a consumer that has nothing in hand: with a consumer
#: go its entries, so both are one step.
FORGET_CONSUMER = Script("""
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then
    return 0
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
""")

#: KEYS: stream. ARGV: group, IDs of entries. Returns how often each was handed out.
COUNT_DELIVERIES = Script("""
local counts = {}
for index = 2, #ARGV do
    local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1)[1]
    counts[index - 1] = found and found[4] or 1
end
return counts
""")

#: KEYS: stream, dead letters. ARGV: group, an entry's ID, how often it was delivered, its fields.
#: Moves an entry out of the way; nothing happens if somebody has acknowledged it meanwhile. The
#: letter comes first: if it is refused, as by a key of another type, the entry stays in the group.
BURY = Script("""
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
    return 0
end
redis.call('XADD', KEYS[2], '*', 'entry', ARGV[2], 'deliveries', ARGV[3], unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return 1
""")
