"""Reading a Redis Stream as a member of a consumer group, with the events of the event stream.

Redis keeps a list of the entries of each group that were delivered and not acknowledged yet, with
their consumers. So each entry is processed at least once: the others claim the entries of a
consumer that died when they have been idle for ``claim_after`` seconds. Only entries that were in
progress at that moment are processed twice. An entry that kills each consumer would be delivered
again and again. Therefore each delivery is counted, shown as ``deliveries``, and after
``max_deliveries`` the entry is moved to a stream of dead letters.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from typing import TYPE_CHECKING

from sse_client import ChannelClosed
from sse_client.relay.claims import MARGIN, Member
from sse_client.relay.connection import RedisServer
from sse_client.relay.consumer_group import BLOCK, CLAIM_AFTER, COUNT, GroupOptions, GroupReader
from sse_client.relay.held_lease import new_owner
from sse_client.relay.options import check_claim_after, check_count, check_name
from sse_client.relay.own_process import OwnProcess
from sse_client.relay.patience import Interrupted, Patience
from sse_client.relay.stop_flag import StopFlag

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

    ``close`` may be called from any thread, and ends the iteration. The object belongs to the
    process that created it: a forked child would process the same entries.
    """

    def __init__(
        self,
        redis: RedisAddress,
        stream: str,
        group: str,
        consumer: str | None,
        options: GroupOptions,
        *,
        auto_acknowledge: bool,
        acknowledge_every: int,
    ) -> None:
        self._process = OwnProcess()
        self._consumer = consumer or new_owner()
        self._server = server = RedisServer(redis, self._consumer)
        self._named = f"{stream!r} {group!r}"
        self._is_named = consumer is not None
        member = Member(server, stream, group, self._consumer)
        self._group = GroupReader(member, options, resumes=self._is_named)
        self._claim_after = options.claim_after
        self._auto = auto_acknowledge
        self._acknowledge_every = acknowledge_every
        self._closing = StopFlag()
        #: Whether a thread is in ``__next__`` or ``get_batch``. It cleans up when this is closed.
        self._is_iterating = False
        self._patience = Patience(server, self._closing)
        self._buffer: deque[Entry] = deque()
        self._read_at = 0.0
        #: Handed out and not acknowledged: entry and event, the oldest first.
        self._in_hand: deque[tuple[Entry, ServerSentEvent]] = deque()
        #: Processed, and not acknowledged in Redis yet.
        self._done: list[str] = []
        #: The number of times that the last event was delivered to any consumer.
        self.deliveries = 0

    def __repr__(self) -> str:
        """Name the stream and the group."""
        return f"<RedisIncoming {self._named}>"

    @property
    def consumer(self) -> str:
        """The name of this consumer in the group."""
        return self._consumer

    def __iter__(self) -> Iterator[ServerSentEvent]:
        """Return itself: all iterators share the events."""
        return self

    def __next__(self) -> ServerSentEvent:
        """Acknowledge the previous event, unless you acknowledge explicitly, and wait for the next.

        Raises:
            RelayError: Redis refuses permanently.
            SessionClosedError: It belongs to the process from which this one was forked.
            StopIteration: It was closed.
        """
        self._process.require(self)
        self._is_iterating = True
        try:
            return self._next()
        except StopIteration:
            self._leave()
            raise
        finally:
            self._is_iterating = False

    def _next(self) -> ServerSentEvent:
        self._come_back(self._acknowledge_every)
        self._fill(None)
        return self._hand_out()

    def get_batch(self, max_events: int, timeout: float | None = None) -> list[ServerSentEvent]:
        """Wait for the next event, and return it with those that are available after it.

        The whole batch is acknowledged in one round trip when this thread asks for more, unless you
        acknowledge explicitly. After a crash the whole batch is processed again.

        Example:
            >>> while batch := incoming.get_batch(500, timeout=5.0):  # doctest: +SKIP
            ...     database.insert(batch)

        Args:
            max_events: The maximum number of events.
            timeout: How long to wait for the first event, in seconds; None waits until this is
                closed.

        Returns:
            At least one event.

        Raises:
            ChannelClosed: It was closed.
            queue.Empty: There was no event within ``timeout``.
            RelayError: Redis refuses permanently.
            SessionClosedError: It belongs to the process from which this one was forked.
            TypeError, ValueError: ``max_events`` is not a positive int, ``timeout`` is negative.
        """
        check_count("max_events", max_events)
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must not be negative")
        self._process.require(self)
        deadline = None if timeout is None else time.monotonic() + timeout
        self._is_iterating = True
        try:
            self._come_back(1)
            batch = self._take_batch(max_events) if self._fill(deadline, max_events) else []
        except StopIteration:
            self._leave()
            raise ChannelClosed from None
        finally:
            self._is_iterating = False
        if not batch:
            raise queue.Empty
        return batch

    def _take_batch(self, most: int) -> list[ServerSentEvent]:
        return [self._hand_out() for _ in range(min(most, len(self._buffer)))]

    @property
    def _is_late(self) -> bool:
        """Whether an entry that was read is due to be acknowledged or refreshed.

        The next event may take the whole of ``claim_after``, and ``MARGIN`` is what others add.
        """
        return time.monotonic() - self._read_at > self._claim_after * MARGIN

    def _come_back(self, least: int) -> None:
        """Acknowledge the events handed out, if there are ``least`` or no time is left."""
        if self._auto:
            self._done += [entry.id for entry, _ in self._in_hand]
            self._in_hand.clear()
        if len(self._done) >= least or not self._buffer or self._is_late:
            try:
                self._tell_done()
            except Interrupted:
                raise StopIteration from None

    def _fill(self, deadline: float | None, most: int = 0) -> bool:
        """Wait for an entry; return whether there is one.

        Raises:
            StopIteration: It was closed.
        """
        try:
            self._keep_buffer()
            while not self._buffer and not self._closing.is_set():
                left = BLOCK if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return False
                block = min(BLOCK, left)
                read = self._patience.ask(lambda: self._group.read(most, block))  # noqa: B023  # at once
                self._buffer.extend(read)
                self._read_at = time.monotonic()
        except Interrupted:
            raise StopIteration from None
        if self._closing.is_set():
            raise StopIteration
        return True

    def _hand_out(self) -> ServerSentEvent:
        entry = self._buffer.popleft()
        event = entry.event()
        self.deliveries = entry.deliveries
        self._in_hand.append((entry, event))
        return event

    def acknowledge(self, *events: ServerSentEvent) -> None:
        """Acknowledge events, so that they are not delivered again. Blocks for Redis.

        All are acknowledged in one round trip. An event that equals the received one also works. If
        several received events are equal, the oldest is acknowledged.

        Raises:
            ValueError: One was not received here, or was acknowledged before; the others are
                acknowledged.
            RelayError: Redis refuses permanently.
            SessionClosedError: It belongs to the process from which this one was forked.
        """
        self._process.require(self)
        unknown = [event for event in events if not self._note_done(event)]
        try:
            self._tell_done()
        except Interrupted:
            logger.info("closed before an event could be acknowledged: it will be delivered again")
        if unknown:
            raise ValueError("event was not received here, or was acknowledged already")

    def _note_done(self, event: ServerSentEvent) -> bool:
        for index, (entry, given) in enumerate(self._in_hand):
            if given == event:
                del self._in_hand[index]
                self._done.append(entry.id)
                return True
        return False

    def close(self) -> None:
        """End the iteration. The other consumers get the events that were read ahead at once.

        They get the events in progress after ``claim_after``.

        Idempotent. If a thread waits for the next event, that thread closes the connection and
        removes a generated consumer name from the group; otherwise this call does so, and blocks
        for Redis. In a forked child neither happens.
        """
        self._closing.set()
        if not self._is_iterating and self._process.is_current:
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
        """Close it; the event in progress counts as not processed."""
        self.close()

    def _leave(self) -> None:
        """Return entries that were read ahead, and remove a consumer with a generated name."""
        try:
            if self._done:
                self._group.acknowledge(self._done)
                self._done.clear()
            self._group.give_back(self._buffer)
            self._buffer.clear()
            if not self._is_named:
                self._group.forget()  # unless it has pending entries
        except self._server.failures:
            logger.info("a consumer could not be removed from the group of %r", self)
        finally:
            self._server.close()

    def _tell_done(self) -> None:
        if self._done:
            self._patience.ask(lambda: self._group.acknowledge(self._done))
            self._done.clear()

    def _keep_buffer(self) -> None:
        """Refresh entries that were read ahead, so that each has the whole of ``claim_after``."""
        if self._buffer and self._is_late:
            kept = self._patience.ask(lambda: self._group.refresh(self._buffer))
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
    acknowledge_every: int = 1,
) -> RedisIncoming:
    """Read the events that a relay has written, shared with the other consumers of a group.

    Iteration blocks for the next event, and continues when Redis recovers from a failure. Each
    event is processed at least once: see ``claim_after``. Events have the ``data``, ``event`` and
    ``id`` that they had in the event stream; ``retry`` and ``comments`` are not relayed.

    Example:
        >>> with incoming_from_redis(address, "orders", group="billing") as incoming:
        ...     for event in incoming:  # doctest: +SKIP
        ...         print(event.id, event.data)

    Args:
        redis: The address of a Redis, or a client of redis-py, which this does not close. Its
            socket timeout must be longer than half a second.
        stream: The key of the Redis Stream.
        group: The consumer group. It is created if it does not exist.
        consumer: The name of this consumer; by default a new one. With a fixed name, the entries
            that it did not acknowledge in its last run come first.
        start: Where a new group starts: ``"0"`` with all existing entries, ``"$"`` with new ones.
        count: The maximum number of entries that are read ahead.
        claim_after: After how many seconds without an acknowledgement an entry goes to another
            consumer. This must be longer than the work on one event, or on one batch; otherwise
            events are processed twice.
        max_deliveries: How often an entry is delivered before it is moved to the stream
            ``sse-client:{...}:dead-letters``; None for no limit. An entry that was read ahead by a
            consumer that died counts as delivered. With 1 nothing is read ahead.
        auto_acknowledge: Whether an event counts as processed when the next one is requested. With
            False only ``acknowledge(event)`` acknowledges.
        acknowledge_every: How many processed events a loop acknowledges in one round trip, while
            more have been read ahead. They are acknowledged earlier if a twentieth of
            ``claim_after`` has passed since they were read. After a crash up to this many events
            are processed again. ``get_batch`` acknowledges each batch, whatever this is.

    Raises:
        ImportError: The package ``redis`` is missing (extra ``redis``).
        TypeError, ValueError: An option is wrong; the message names it.
    """
    check_name("stream", stream)
    for name, value in {"group": group, "start": start, "consumer": consumer}.items():
        if name == "consumer" and value is None:
            continue
        if not isinstance(value, str) or not value:
            raise TypeError(f"{name} must be a str, and not empty")
    check_count("count", count)
    check_count("acknowledge_every", acknowledge_every)
    check_count("max_deliveries", max_deliveries, optional=True)
    check_claim_after(claim_after)
    return RedisIncoming(
        redis,
        stream,
        group,
        consumer,
        GroupOptions(start, count, claim_after, max_deliveries),
        auto_acknowledge=auto_acknowledge,
        acknowledge_every=acknowledge_every,
    )
