"""How much a channel may hold, in events and in bytes, and what happens beyond."""

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

#: About a thousand events: enough for a consumer's hiccup, little enough to fall behind visibly.
DEFAULT_CAPACITY = 1024

#: For streams of large events, of which a thousand would be too many. Counted as received.
DEFAULT_CAPACITY_BYTES = 64 * 1024 * 1024


class Bounds:
    """Decides what of a batch may go in. For whoever holds the channel's mutex; never blocks.

    Bytes are counted by batch and by the offering side alone: how many events had been put in when
    a batch was complete, and its bytes. What left the queue is known from its length, which
    consumers may lessen meanwhile.

    Args:
        events: The channel's queue.
        capacity: The most events that it holds; 0 is no bound, as of a ``queue.Queue``.
        capacity_bytes: The most bytes.
        overflow: What happens when it is full.
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
        #: How many events that were in were dropped for later ones.
        self.pushed_out = 0
        self._refused = 0
        #: How many have been put in.
        self.put_count = 0
        self._batches: list[tuple[int, int]] = []  # from ``_first_batch`` on; a deque has 700 bytes
        self._first_batch = 0
        self._batch_bytes = 0

    @property
    def dropped(self) -> int:
        """How many events were dropped because there was no room."""
        return self.pushed_out + self._refused

    def admit(
        self, events: Sequence[ServerSentEvent], size: int
    ) -> tuple[Sequence[ServerSentEvent], Sequence[ServerSentEvent]]:
        """Return those of a batch of ``size`` bytes that go in now, and those that do not.

        With ``"drop_oldest"`` room is made for them first.
        """
        # Not another event once the bytes are exceeded, unless there is nothing else.
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
        """Return whether those that did not go in are dropped, instead of having to wait.

        Raises:
            ChannelOverflowError: With ``overflow="error"``.
        """
        if not rest or self._overflow == "drop_newest":
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
        if first * 2 >= len(batches):  # not each time: what is left moves up
            del batches[:first]
            first = 0
        self._first_batch = first

    def _drop_oldest(self, count: int, size: int) -> int:
        """Make room for ``count`` events of ``size`` bytes; return for how many there is some."""
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
