"""The limits of a channel, in events and in bytes, and what happens at them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Literal

from sse_client.errors import ChannelOverflowError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from sse_client.event_stream.events import ServerSentEvent

Overflow = Literal["block", "drop_oldest", "drop_newest", "error"]

#: Enough for a short pause of a consumer, and few enough that a permanent delay shows.
DEFAULT_CAPACITY = 1024

#: For streams of large events, of which a thousand would take too much memory.
DEFAULT_CAPACITY_BYTES = 64 * 1024 * 1024


class Bounds:
    """Decides which events of a batch are admitted. The caller holds the channel's mutex.

    Never blocks. Only the putting side counts bytes. For each batch it keeps the total number of
    events put in by the end of the batch, and the bytes of the batch. The length of the queue shows
    which batches have been taken. Consumers may shorten the queue at any time.

    Args:
        events: The channel's queue.
        capacity: The maximum number of events. 0 means no limit, as for a ``queue.Queue``.
        capacity_bytes: The maximum number of bytes.
        overflow: What happens when the channel is full.
    """

    __slots__ = (
        *("_batch_bytes", "_batches", "_capacity", "_events", "_first_batch", "_overflow"),
        *("_refused", "capacity_bytes", "pushed_out", "put_count"),
    )

    def __init__(
        self,
        events: deque[ServerSentEvent],
        capacity: int,
        capacity_bytes: int,
        overflow: Overflow,
    ) -> None:
        self._events = events
        self._capacity = capacity if capacity > 0 else sys.maxsize
        self.capacity_bytes = capacity_bytes
        self._overflow = overflow
        #: The number of events that were removed to make room for later ones.
        self.pushed_out = 0
        self._refused = 0
        #: The number of events put in so far.
        self.put_count = 0
        self._batches: list[tuple[int, int]] = []  # from ``_first_batch``; a deque takes 700 bytes
        self._first_batch = 0
        self._batch_bytes = 0

    @property
    def dropped(self) -> int:
        """The number of events dropped for lack of room."""
        return self.pushed_out + self._refused

    def admit_into_empty(self, count: int, size: int) -> bool:
        """Admit a whole batch of ``size`` bytes and count it, if the empty queue has room for it.

        The queue is empty before most events, because consumers usually keep up.
        """
        if count > self._capacity or size > self.capacity_bytes:
            return False
        self.put_count += count
        self._batches = [(self.put_count, size)] if size else []
        self._first_batch = 0
        self._batch_bytes = size
        return True

    def admit(
        self, events: Sequence[ServerSentEvent], size: int
    ) -> tuple[Sequence[ServerSentEvent], Sequence[ServerSentEvent]]:
        """Split a batch of ``size`` bytes into the events that have room and the rest.

        With ``"drop_oldest"``, make room first.
        """
        # If the bytes are exceeded, no event is admitted unless the queue is empty.
        self._forget_taken_batches()
        free = self._capacity - len(self._events)
        if self._batch_bytes + size > self.capacity_bytes and self._events:
            free = 0
        if self._overflow == "drop_oldest" and free < len(events):
            free = self._drop_oldest(len(events), size)
            self._refused += len(events) - free
            events = events[len(events) - free :]
        accepted, rest = (events, ()) if free >= len(events) else (events[:free], events[free:])
        if size and accepted:
            self._batches.append((self.put_count + len(accepted), size))
            self._batch_bytes += size
        return accepted, rest

    def refuse(self, rest: Sequence[ServerSentEvent]) -> bool:
        """Return whether events without room are dropped. Otherwise they have to wait.

        Raises:
            ChannelOverflowError: With ``overflow="error"``.
        """
        if self._overflow == "drop_newest":
            self._refused += len(rest)
            return True
        if self._overflow == "error":
            raise ChannelOverflowError(
                f"the consumer did not keep up: the channel is full "
                f"(capacity={self._capacity}, capacity_bytes={self.capacity_bytes})",
                capacity=self._capacity,
                capacity_bytes=self.capacity_bytes,
            )
        return False

    def _forget_taken_batches(self) -> None:
        taken = self.put_count - len(self._events)
        batches, first = self._batches, self._first_batch
        while first < len(batches) and batches[first][0] <= taken:
            self._batch_bytes -= batches[first][1]
            first += 1
        if first * 2 >= len(batches):  # not each time, because it moves the rest
            del batches[:first]
            first = 0
        self._first_batch = first

    def _drop_oldest(self, count: int, size: int) -> int:
        """Make room for ``count`` events of ``size`` bytes. Return how many of them fit."""
        count = min(count, self._capacity)
        while self._events and (
            len(self._events) + count > self._capacity
            or self._batch_bytes + size > self.capacity_bytes
        ):
            with contextlib.suppress(IndexError):  # a consumer took the last one just now
                self._events.popleft()
                self.pushed_out += 1
            self._forget_taken_batches()
        return count
