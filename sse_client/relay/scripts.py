"""The Lua scripts: everything that Redis has to do atomically.

Redis runs a script completely, or not at all if it refuses the first write (out of memory,
read-only, a full disk). The writes go into the append-only file and to replicas as one transaction.
Each script reads and checks everything before it writes anything.

The state of a stream is a hash:

* ``id``: the last event ID of the last entry; ``within``: the number of consecutive entries with
  it;
* ``sequence``: the number of entries that were ever written;
* ``writer``: the lease under which the last entries were written;
* ``token``: that of the latest lease, which only grows; ``lease_time``: the time after which that
  lease expires unless it is renewed, in milliseconds;
* ``source``: the address of the event stream without secrets, and a digest of the whole address.

A lease is a string, ``owner token``, with an expiry time. Each owner is unique. So a Redis that has
lost its last second, and a token with it, may give the same token to two owners, but never the same
lease.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """A script and its digest, by which Redis identifies it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the digest."""
        digest = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324  # chosen by Redis
        object.__setattr__(self, "digest", digest)


#: KEYS: lease, state. ARGV: owner, milliseconds, the source or ''.
#: Returns the new lease and the position, or 0 and the milliseconds to wait; and the source before.
#:
#: Redis keeps the time at which a lease expires. If its clock is moved back, that time is further
#: away than any holder has requested, and is limited to that: a living holder renews its lease.
ACQUIRE = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then
    local left = redis.call('PTTL', KEYS[1])
    local latest = redis.call('HMGET', KEYS[2], 'token', 'lease_time', 'source')
    local longest = tonumber(latest[2] or left)
    if left > longest and string.match(holder, ' (%d+)$') == latest[1] then
        redis.call('PEXPIRE', KEYS[1], longest)
        left = longest
    end
    return {0, left, latest[3] or ''}
end
local state = redis.call('HMGET', KEYS[2], 'id', 'within', 'sequence', 'source')
local token = redis.call('HINCRBY', KEYS[2], 'token', 1)
redis.call('HSET', KEYS[2], 'lease_time', ARGV[2], 'source', ARGV[3])
local lease = ARGV[1] .. ' ' .. token
redis.call('SET', KEYS[1], lease, 'PX', ARGV[2])
return {1, lease, state[1], state[2] or '0', state[3] or '0', state[4] or ''}
""")

#: KEYS: lease. ARGV: the lease, milliseconds. Returns whether it is still held. An expired lease is
#: not renewed: another relay may have held it in between.
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

#: KEYS: stream, lease, state. ARGV: the lease, milliseconds, the expected sequence, the new id and
#: within, the length to trim to or '', the source, then event, data and id of each entry.
#: Returns 'written'; 'again' if exactly this batch was written before, and only its reply was lost;
#: 'moved' if the sequence is not the expected one; 'lost' if the lease is not held.
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
        -- Without a write of this connection, WAIT would not wait for those of another one.
        redis.call('PEXPIRE', KEYS[2], ARGV[2])
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

#: KEYS: the sorted set of workers. ARGV: a worker, milliseconds. Stores when the worker counts as
#: dead, by Redis's clock, and returns the number of living workers with the same list. A member
#: consists of the name of a worker, its list, and how long it lives without a heartbeat. A time
#: that is further away was stored before the clock was moved back, and is limited.
HEARTBEAT = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local mine = string.match(ARGV[1], ' (%S+) %d+$')
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local alive = 0
for index = 1, #members, 2 do
    local list, life = string.match(members[index], ' (%S+) (%d+)$')
    local ends = tonumber(members[index + 1])
    if not list or ends <= now then
        redis.call('ZREM', KEYS[1], members[index])
    else
        if ends > now + life then
            redis.call('ZADD', KEYS[1], now + life, members[index])
        end
        if list == mine then
            alive = alive + 1
        end
    end
end
return alive
""")

#: KEYS: status. ARGV: fields and values. Adds the time of Redis, unless the user may not read it.
REPORT = Script("""
local time = redis.pcall('TIME')
local at = ''
if not time.err then
    at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
redis.call('HSET', KEYS[1], 'at', at, unpack(ARGV))
return 1
""")

#: KEYS: any, for a cluster. Returns the time of Redis in milliseconds.
NOW = Script("""
local time = redis.call('TIME')
return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
""")

#: KEYS: stream. ARGV: group, consumer. Removes a consumer without pending entries. Redis deletes
#: the pending entries together with a consumer, so the check and the removal must be atomic.
FORGET_CONSUMER = Script("""
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then
    return 0
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
""")

#: KEYS: stream. ARGV: group, consumer. Acknowledges the pending entries of a consumer that the
#: stream no longer has, and returns their number. When such an entry is claimed, Redis 6.2 returns
#: it without its ID; later versions remove it from the group.
FORGET_TRIMMED = Script("""
local count, start, pending = 0, '-', nil
repeat
    pending = redis.call('XPENDING', KEYS[1], ARGV[1], start, '+', 100, ARGV[2])
    for _, entry in ipairs(pending) do
        if #redis.call('XRANGE', KEYS[1], entry[1], entry[1]) == 0 then
            count = count + redis.call('XACK', KEYS[1], ARGV[1], entry[1])
        end
        start = '(' .. entry[1]
    end
until #pending < 100
return count
""")

#: KEYS: stream. ARGV: group, consumer, IDs of entries. Keeps entries from being claimed by others,
#: by setting their delivery time to now. Returns the IDs of those that the consumer still has.
REFRESH = Script("""
local kept = {}
for index = 3, #ARGV do
    local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1, ARGV[2])
    if #found > 0 then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[index], 'JUSTID')
        kept[#kept + 1] = ARGV[index]
    end
end
return kept
""")

#: KEYS: stream. ARGV: group, consumer, the consumer that gets the entries, and how long they count
#: as idle, in milliseconds; then for each entry its ID and its number of deliveries.
#: Returns entries to the group, except those that another consumer has claimed.
GIVE_BACK = Script("""
for index = 5, #ARGV, 2 do
    local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1, ARGV[2])
    if #found > 0 then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[index],
                   'IDLE', ARGV[4], 'RETRYCOUNT', ARGV[index + 1], 'JUSTID')
    end
end
return 1
""")

#: KEYS: stream. ARGV: group, the ID to begin with, and how many entries to look at. If the clock of
#: Redis was moved back, pending entries have delivery times in the future, and nobody could claim
#: them until then. This sets these times to now. XPENDING shows such entries as idle for 0
#: milliseconds, as it shows those that were delivered in this millisecond, for which nothing
#: changes. Returns the ID to continue with, or ''.
LIMIT_DELIVERY_TIMES = Script("""
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], '+', ARGV[3])
for _, entry in ipairs(pending) do
    if entry[3] == 0 then
        redis.call('XCLAIM', KEYS[1], ARGV[1], entry[2], 0, entry[1], 'JUSTID')
    end
end
return #pending == tonumber(ARGV[3]) and '(' .. pending[#pending][1] or ''
""")

#: KEYS: stream. ARGV: group, IDs of entries. Returns how often each was delivered.
COUNT_DELIVERIES = Script("""
local counts = {}
for index = 2, #ARGV do
    local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1)[1]
    counts[index - 1] = found and found[4] or 1
end
return counts
""")

#: KEYS: stream, dead letters. ARGV: group, the ID of an entry, how often it was delivered, the
#: approximate maximum number of letters, its fields. Moves an entry to the dead letters, unless it
#: was acknowledged meanwhile. The letter is written first: if Redis refuses it, for example because
#: the key has another type, the entry stays in the group.
BURY = Script("""
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
    return 0
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'group', ARGV[1], 'entry', ARGV[2],
           'deliveries', ARGV[3], unpack(ARGV, 5))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return 1
""")

#: KEYS: stream, dead letters. ARGV: the ID of a letter, the consumer that gets its entry, and how
#: long that counts as idle, in milliseconds. Returns 'requeued', 'unknown' if there is no such
#: letter, 'no group', or 'trimmed' if the stream no longer holds the entry.
REQUEUE = Script("""
local letter = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not letter then
    return 'unknown'
end
local fields = letter[2]
local named = {}
for index = 1, 5, 2 do
    named[fields[index]] = fields[index + 1]
end
if not named['group'] then
    return 'no group'
end
if #redis.call('XRANGE', KEYS[1], named['entry'], named['entry']) == 0 then
    return 'trimmed'
end
local found = redis.pcall('XCLAIM', KEYS[1], named['group'], ARGV[2], 0, named['entry'],
                          'IDLE', ARGV[3], 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
if found.err then
    return 'no group'
end
redis.call('XDEL', KEYS[2], ARGV[1])
return 'requeued'
""")

#: KEYS: stream, groups. ARGV: group. Returns how many entries were trimmed, or deleted, before the
#: group read them, since the last call; and adds them to the total. From Redis 7.0 on.
COUNT_TRIMMED = Script("""
local function value(list, name)
    for index = 1, #list, 2 do
        if list[index] == name then
            return list[index + 1]
        end
    end
end
local stream = redis.call('XINFO', 'STREAM', KEYS[1])
local added = value(stream, 'entries-added')
if not added then
    return 0
end
local removed = added - value(stream, 'length')
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local read = value(group, 'entries-read')
    if value(group, 'name') == ARGV[1] and read and removed > read then
        local seen = tonumber(redis.call('HGET', KEYS[2], 'seen ' .. ARGV[1]) or 0)
        local lost = removed - math.max(read, seen)
        if lost > 0 then
            redis.call('HSET', KEYS[2], 'seen ' .. ARGV[1], removed)
            redis.call('HINCRBY', KEYS[2], 'trimmed ' .. ARGV[1], lost)
        end
        return math.max(0, lost)
    end
end
return 0
""")

#: KEYS: stream, lease, state, status. Returns their problems, in words: a command that this user
#: may not run (from Redis 7.0 on), a key of another type. Writes nothing.
CHECK = Script("""
local problems = {}
local stream, lease, state, status = unpack(KEYS)
local commands = {
    {'xadd', stream, 'MAXLEN', '~', '1', '*', 'a', 'b'}, {'get', lease}, {'del', lease},
    {'set', lease, 'a', 'PX', '1'}, {'pttl', lease}, {'pexpire', lease, '1'},
    {'hmget', state, 'id'}, {'hset', state, 'id', 'a'}, {'hincrby', state, 'token', '1'},
    {'hset', status, 'a', 'b'}, {'time'},
}
for _, command in ipairs(commands) do
    if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(command)) then
        problems[#problems + 1] = command[1] .. ' on ' .. (command[2] or 'no key') ..
                                  ' is not permitted'
    end
end
for index, expected in ipairs({'stream', 'string', 'hash', 'hash'}) do
    local kind = redis.pcall('TYPE', KEYS[index])
    if kind.ok and kind.ok ~= 'none' and kind.ok ~= expected then
        problems[#problems + 1] = KEYS[index] .. ' is a ' .. kind.ok .. ' instead of a ' .. expected
    end
end
return problems
""")

#: KEYS: the sorted set of workers. Returns its problems, as ``CHECK`` does.
CHECK_POOL = Script("""
local problems = {}
for _, command in ipairs({{'zadd', KEYS[1], '1', 'a'}, {'zrange', KEYS[1], '0', '-1'},
                          {'zrem', KEYS[1], 'a'}}) do
    if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(command)) then
        problems[#problems + 1] = command[1] .. ' on ' .. KEYS[1] .. ' is not permitted'
    end
end
local kind = redis.pcall('TYPE', KEYS[1])
if kind.ok and kind.ok ~= 'none' and kind.ok ~= 'zset' then
    problems[#problems + 1] = KEYS[1] .. ' is a ' .. kind.ok .. ' instead of a zset'
end
return problems
""")

#: The text of each script, by the name that Redis knows it by.
_TEXTS = {each.digest: each.text for each in list(vars().values()) if isinstance(each, Script)}

_CALL = re.compile(r"redis\.p?call\('(\w+)'")


def command_at(script: str, line: int) -> str:
    """Return the first command that a line of a script calls, in lower case; ``""`` if none.

    Args:
        script: The text of a script, or its digest.
        line: The number of the line, as in the messages of Redis: the first one is 1.
    """
    lines = _TEXTS.get(script, script).splitlines()
    found = _CALL.search(lines[line - 1]) if line <= len(lines) else None
    return found[1].lower() if found else ""
