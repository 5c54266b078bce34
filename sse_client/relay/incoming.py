"""Reading a Redis Stream as a member of a consumer group, with the events of the event stream.

Redis remembers for each group what was handed to whom and not acknowledged yet. So an entry is
processed at least once: a consumer that dies leaves what it had, and the others claim that once it
was not touched for ``claim_after`` seconds. Only what was in hand at such a moment is processed
again. An entry of which everybody dies would go round for ever: each hand-out is counted, shown as
``deliveries``, and beyond ``max_deliveries`` the entry is moved to a stream of dead letters.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from sse_client.relay.connection import Interrupted, Patience, RedisServer, StopFlag
from sse_client.relay.consumer_group import CLAIM_AFTER, COUNT, GroupOptions, GroupReader
from sse_client.relay.lease import new_owner
from sse_client.relay.options import check_claim_after, check_count, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from sse_client import ServerSentEvent
    from sse_client.relay.connection import RedisAddress
    from sse_client.relay.consumer_group import Entry

logger = logging.getLogger("sse_client")


class RedisIncoming:
    """The events of a consumer group; see ``incoming_from_redis``. For one thread at a time.

    ``close`` may be called from any thread, and ends the iteration.
    """

    def __init__(
        self,
        server: RedisServer,
        stream: str,
        group: str,
        consumer: str | None,
        options: GroupOptions,
        *,
        auto_acknowledge: bool,
    ) -> None:
        self._server = server
        self._named = f"{stream!r} {group!r}"
        self._is_named = consumer is not None
        self._consumer = consumer or new_owner()
        self._group = GroupReader(
            server, stream, group, self._consumer, options, resumes=self._is_named
        )
        self._claim_after = options.claim_after
        self._auto = auto_acknowledge
        self._closing = StopFlag()
        #: Whether a thread is in ``__next__``, which then leaves when it finds this closed.
        self._is_iterating = False
        self._patience = Patience(server, self._closing)
        self._buffer: deque[Entry] = deque()
        self._read_at = 0.0
        #: Handed out and not acknowledged: entry and event, the oldest first.
        self._in_hand: deque[tuple[Entry, ServerSentEvent]] = deque()
        #: Acknowledged here, and not told to Redis yet.
        self._done: list[str] = []
        #: How often the event that was handed out last was handed out to anybody.
        self.deliveries = 0

    def __repr__(self) -> str:
        """Name the stream and the group."""
        return f"<RedisIncoming {self._named}>"

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
        self._is_iterating = True
        try:
            return self._next()
        except StopIteration:
            self._leave()
            raise
        finally:
            self._is_iterating = False

    def _next(self) -> ServerSentEvent:
        try:
            if self._auto:
                self._done += [entry.id for entry, _ in self._in_hand]
                self._in_hand.clear()
            self._tell_done()
            self._keep_buffer()
            while not self._buffer:
                if self._closing.is_set():
                    raise StopIteration
                self._buffer.extend(self._patience.ask(self._group.read))
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
        """End the iteration. What is in hand or read ahead comes to others after ``claim_after``.

        Idempotent. Blocks for Redis only where nobody is waiting for the next event: or else it is
        that thread which gives back the connection, and the name in the group if it was not given.
        """
        self._closing.set()
        if not self._is_iterating:
            self._leave()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; the event in hand counts as not processed."""
        self.close()

    def _leave(self) -> None:
        """Forget a consumer of a name that will not come again, if it has nothing in hand."""
        try:
            if not self._is_named:
                self._group.forget()
        except self._server.failures:
            logger.info("a consumer is left in the group of %r", self)
        finally:
            self._server.close()

    def _tell_done(self) -> None:
        if self._done:
            self._patience.ask(lambda: self._group.acknowledge(self._done))
            self._done.clear()

    def _keep_buffer(self) -> None:
        """Before what was read ahead is handed out: others may have claimed some of it."""
        age = time.monotonic() - self._read_at
        if self._buffer and age > self._claim_after / 2:
            kept = self._patience.ask(lambda: self._group.refresh(self._buffer, age))
            self._buffer = deque(kept)
            self._read_at = time.monotonic()


def incoming_from_redis(
    redis: RedisAddress,
    stream: str,
    *,
    group: str,
    consumer: str | None = None,
    start: str = "0",
    count: int = COUNT,
    claim_after: float = CLAIM_AFTER,
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
            ``sse-client:{...}:dead-letters``; None for ever. Having been read ahead by a consumer
            that died counts as once, unless this is 1: then nothing is read ahead.
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
    check_claim_after(claim_after)
    return RedisIncoming(
        RedisServer(redis),
        stream,
        group,
        consumer,
        GroupOptions(start, count, claim_after, max_deliveries),
        auto_acknowledge=auto_acknowledge,
    )
