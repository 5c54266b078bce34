"""Reading a Redis Stream as a member of a consumer group, with the events of the event stream.

Redis remembers for each group what was handed to whom and not acknowledged yet. So an entry is
processed at least once: a consumer that dies leaves what it had, and the others claim that once it
was not touched for ``claim_after`` seconds. Only what was in hand at such a moment is processed
again. An entry of which everybody dies would go round for ever: each hand-out is counted, shown as
``deliveries``, and beyond ``max_deliveries`` the entry is moved to a stream of dead letters.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.events import ServerSentEvent
from sse_client.relay.checks import check_count, check_name
from sse_client.relay.connection import Interrupted, Patience, RedisServer, text_of
from sse_client.relay.keys import key_of
from sse_client.relay.lease import milliseconds, new_owner
from sse_client.relay.scripts import BURY, FORGET_CONSUMER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from sse_client.relay.connection import RedisAddress

logger = logging.getLogger("sse_client")

#: How many entries are read at once: they wait here, and nobody else gets them meanwhile.
_COUNT = 100

#: After how long without a sign of life a consumer's entries are claimed, in seconds.
_CLAIM_AFTER = 60.0

#: How long one read waits in Redis for an entry, in seconds; well below the socket's timeout, and
#: what ``close`` may have to wait for.
_BLOCK = 0.5


@dataclass(frozen=True)
class _Entry:
    id: str
    fields: dict[Any, Any]
    deliveries: int

    def event(self) -> ServerSentEvent:
        named = {text_of(name): text_of(value) for name, value in self.fields.items()}
        return ServerSentEvent(
            data=named.get("data", ""), event=named.get("event", ""), id=named.get("id", "")
        )


class RedisIncoming:
    """The events of a consumer group; see ``incoming_from_redis``. For one thread at a time.

    ``close`` may be called from any thread, and ends the iteration.
    """

    def __init__(
        self,
        server: RedisServer,
        stream: str,
        group: str,
        *,
        consumer: str | None,
        start: str,
        count: int,
        claim_after: float,
        max_deliveries: int | None,
        auto_acknowledge: bool,
    ) -> None:
        self._server = server
        self._stream = stream
        self._group = group
        self._is_named = consumer is not None
        self._consumer = consumer or new_owner()
        self._start = start
        self._count = count
        self._claim_after = claim_after
        self._max_deliveries = max_deliveries
        self._auto = auto_acknowledge
        self._closing = threading.Event()
        self._patience = Patience(server, self._closing)
        self._buffer: deque[_Entry] = deque()
        #: Handed out and not acknowledged: entry and event, the oldest first.
        self._in_hand: deque[tuple[_Entry, ServerSentEvent]] = deque()
        #: Acknowledged here, and not told to Redis yet.
        self._done: list[str] = []
        self._read_at = 0.0
        self._claim_at = 0.0
        self._claim_from = "0-0"
        #: Where reading what this consumer had before it was started again goes on; None once done.
        self._own_from: str | None = "0" if self._is_named else None
        self.deliveries = 0

    def __repr__(self) -> str:
        """Name the stream and the group."""
        return f"<RedisIncoming {self._stream!r} {self._group!r}>"

    @property
    def consumer(self) -> str:
        """The name of this consumer in the group."""
        return self._consumer

    def __iter__(self) -> Iterator[ServerSentEvent]:
        """Return itself: all its iterators share the events."""
        return self

    def __next__(self) -> ServerSentEvent:
        """Acknowledge the event before, unless that is done explicitly, and wait for the next.

        Raises:
            RelayError: Redis refuses what waiting can't mend.
            StopIteration: It was closed.
        """
        try:
            if self._auto:
                self._done += [entry.id for entry, _ in self._in_hand]
                self._in_hand.clear()
            self._tell_done()
            if self._buffer and time.monotonic() - self._read_at > self._claim_after / 2:
                self._patience.ask(self._refresh)
            while not self._buffer:
                if self._closing.is_set():
                    raise StopIteration
                self._buffer.extend(self._patience.ask(self._read))
                self._read_at = time.monotonic()
        except Interrupted:
            raise StopIteration from None
        if self._closing.is_set():
            raise StopIteration
        entry = self._buffer.popleft()
        event = entry.event()
        self.deliveries = entry.deliveries
        self._in_hand.append((entry, event))
        return event

    def acknowledge(self, event: ServerSentEvent) -> None:
        """Say that an event has been processed, so that nobody gets it again. Blocks for Redis.

        An equal event is as good as the event itself; of several equal ones the oldest is meant.

        Raises:
            ValueError: It was not handed out here, or was acknowledged already.
            RelayError: Redis refuses what waiting can't mend.
        """
        for index, (entry, given) in enumerate(self._in_hand):
            if given == event:
                del self._in_hand[index]
                self._done.append(entry.id)
                try:
                    self._tell_done()
                except Interrupted:
                    logger.info("closed before an event could be acknowledged: it comes again")
                return
        raise ValueError("event was not handed out here, or was acknowledged already")

    def close(self) -> None:
        """End the iteration. What is in hand or was read ahead comes to other consumers.

        Idempotent. Blocks for Redis only where nobody is iterating any more.
        """
        self._closing.set()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and give back what it holds; the event in hand counts as not processed."""
        self.close()
        self._leave()

    def _leave(self) -> None:
        """Forget a consumer of a name that will not come again, if it has nothing in hand."""
        try:
            if not self._is_named:
                self._server.run(FORGET_CONSUMER, [self._stream], [self._group, self._consumer])
        except self._server.failures:
            logger.info("a consumer is left in the group %r", self._group)
        finally:
            self._server.close()

    def _tell_done(self) -> None:
        if self._done:
            words = ["XACK", self._stream, self._group, *self._done]
            self._patience.ask(lambda: self._server.execute(*words))
            self._done.clear()

    def _read(self) -> list[_Entry]:
        """Return entries: those it had in an earlier life, those of the dead, or new ones."""
        try:
            if self._own_from is not None:
                return self._read_own(self._own_from)
            if time.monotonic() >= self._claim_at:
                claimed = self._claim()
                if claimed:
                    return claimed
            return self._read_new()
        except Exception as error:
            if not self._server.is_reply(error, "NOGROUP"):
                raise
            self._make_group()
            return []

    def _make_group(self) -> None:
        words = (self._stream, self._group, self._start)
        try:
            self._server.commands.xgroup_create(*words, mkstream=True)
        except Exception as error:
            if not self._server.is_reply(error, "BUSYGROUP"):
                raise

    def _read_own(self, behind: str) -> list[_Entry]:
        found = self._read_group(behind, None)
        self._own_from = text_of(found[-1][0]) if found else None
        return self._counted(self._entries(found))

    def _read_new(self) -> list[_Entry]:
        return self._entries(self._read_group(">", milliseconds(_BLOCK)))

    def _read_group(self, behind: str, block: int | None) -> list[Any]:
        answer = self._server.commands.xreadgroup(
            self._group, self._consumer, {self._stream: behind}, count=self._count, block=block
        )
        streams = list(answer.values()) if isinstance(answer, dict) else [row[1] for row in answer]
        # In the third version of the protocol each is in a list of its own.
        found: list[Any] = streams[0] if streams else []
        return found[0] if found and isinstance(found[0], list) else found

    def _claim(self) -> list[_Entry]:
        """Take over what others have left for too long, in pieces."""
        answer = self._server.commands.xautoclaim(
            self._stream,
            self._group,
            self._consumer,
            milliseconds(self._claim_after),
            start_id=self._claim_from,
            count=self._count,
        )
        self._claim_from = text_of(answer[0])
        if self._claim_from == "0-0":
            # Not each time: whoever is dead now will be dead then.
            self._claim_at = time.monotonic() + self._claim_after / 2
        return self._counted(self._entries(answer[1]))

    def _counted(self, entries: list[_Entry]) -> list[_Entry]:
        """Look up how often each was handed out, and bury those that were too often."""
        if not entries:
            return []
        words = (self._stream, self._group, entries[0].id, entries[-1].id, len(entries))
        pending = self._server.commands.xpending_range(*words, consumername=self._consumer)
        counts = {text_of(each["message_id"]): each["times_delivered"] for each in pending}
        alive = []
        for entry in entries:
            counted = _Entry(entry.id, entry.fields, counts.get(entry.id, 1))
            if self._max_deliveries is not None and counted.deliveries > self._max_deliveries:
                self._bury(counted)
            else:
                alive.append(counted)
        return alive

    def _bury(self, entry: _Entry) -> None:
        keys = [self._stream, key_of(self._stream, "dead-letters")]
        fields = [word for pair in entry.fields.items() for word in pair]
        self._server.run(BURY, keys, [self._group, entry.id, entry.deliveries, *fields])
        logger.error(
            "%r: entry %s was handed out %d times and never acknowledged: moved to %r",
            self._stream,
            entry.id,
            entry.deliveries,
            keys[1],
        )

    def _refresh(self) -> None:
        """Keep what was read ahead from being claimed, and drop what was already.

        Somebody who has claimed an entry did so ``claim_after`` after it was read, at the earliest:
        for those it has been idle for less than is asked for here.
        """
        now = time.monotonic()
        kept = self._server.commands.xclaim(
            self._stream,
            self._group,
            self._consumer,
            milliseconds(now - self._read_at - self._claim_after / 2),
            [entry.id for entry in self._buffer],
            justid=True,
        )
        ours = {text_of(id) for id in kept}
        self._buffer = deque(entry for entry in self._buffer if entry.id in ours)
        self._read_at = now

    def _entries(self, answer: list[Any]) -> list[_Entry]:
        """Leave out entries that were trimmed away while somebody had them."""
        return [_Entry(text_of(id), fields, 1) for id, fields in answer if fields]


def incoming_from_redis(
    redis: RedisAddress,
    stream: str,
    *,
    group: str,
    consumer: str | None = None,
    start: str = "0",
    count: int = _COUNT,
    claim_after: float = _CLAIM_AFTER,
    max_deliveries: int | None = None,
    auto_acknowledge: bool = True,
) -> RedisIncoming:
    """Read the events that a relay has written, shared with the other consumers of a group.

    Iterating blocks for the next event, and goes on when Redis comes back from a failure. Each
    event is processed at least once: see ``claim_after``. Events have the ``data``, ``event`` and
    ``id`` that they had in the stream; ``retry`` and ``comments`` stay behind.

    Example:
        >>> with incoming_from_redis(address, "orders", group="billing") as incoming:
        ...     for event in incoming:  # doctest: +SKIP
        ...         print(event.id, event.data)

    Args:
        redis: The address of a Redis, or a client of redis-py, which stays yours. A socket timeout
            of it has to be longer than half a second.
        stream: The key of the Redis Stream.
        group: The consumer group; it is made if it isn't there.
        consumer: The name of this consumer. One that is the same each time gets first what it had
            and did not acknowledge; by default it is a new one.
        start: Where a new group begins: ``"0"`` with all that is there, ``"$"`` with what comes.
        count: How many entries are read ahead, at most.
        claim_after: After how many seconds entries that somebody has not acknowledged are given to
            others. It has to be longer than one event takes, or that is processed twice.
        max_deliveries: How often an entry is handed out before it is moved to the stream
            ``sse-client:{...}:dead-letters``; None for ever.
        auto_acknowledge: Whether an event counts as processed once the next one is asked for. With
            False, ``acknowledge(event)`` alone says so.

    Raises:
        ImportError: The package ``redis`` is missing (extra ``redis``).
        TypeError, ValueError: An option is wrong, by name.
    """
    check_name("stream", stream)
    for name, value in {"group": group, "start": start, "consumer": consumer}.items():
        if name == "consumer" and value is None:
            continue
        if not isinstance(value, str) or not value:
            raise TypeError(f"{name} must be a str, and not empty")
    check_count("count", count)
    check_count("max_deliveries", max_deliveries, optional=True)
    if not 0 < claim_after < math.inf:
        raise ValueError("claim_after must be a number of seconds above 0")
    return RedisIncoming(
        RedisServer(redis),
        stream,
        group,
        consumer=consumer,
        start=start,
        count=count,
        claim_after=claim_after,
        max_deliveries=max_deliveries,
        auto_acknowledge=auto_acknowledge,
    )
