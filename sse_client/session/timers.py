"""When the shared reader looks at which stream: a heap from which streams can be removed."""

from __future__ import annotations

import heapq
import itertools
from typing import Any, Generic, Protocol, TypeVar


class Timed(Protocol):
    """A stream that may have a timer."""

    timer: Timer | None


T = TypeVar("T", bound=Timed)


class Timer:
    """A moment at which to look at a stream.

    Attributes:
        moment: The moment, on the clock's ``monotonic``.
        stream: The stream. None after the timer was cancelled, so that it does not keep the stream.
    """

    __slots__ = ("moment", "stream")

    def __init__(self, moment: float, stream: Timed) -> None:
        self.moment = moment
        self.stream: Any = stream


class Timers(Generic[T]):
    """The timers of all streams, at most one for each. For the shared thread."""

    def __init__(self) -> None:
        #: The numbers decide between equal moments.
        self.heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._cancelled = 0

    @property
    def next_moment(self) -> float | None:
        """The earliest moment, None without a timer. That of a cancelled timer may be earlier."""
        return self.heap[0][0] if self.heap else None

    def set(self, stream: T, moment: float) -> None:
        """Set the timer of a stream, in place of an earlier one."""
        self.cancel(stream)
        stream.timer = timer = Timer(moment, stream)
        heapq.heappush(self.heap, (moment, next(self._numbers), timer))

    def cancel(self, stream: T) -> None:
        """Remove the timer of a stream, if it has one."""
        timer, stream.timer = stream.timer, None
        if timer is None:
            return
        timer.stream = None
        self._cancelled += 1
        if self._cancelled > len(self.heap) // 2:
            self.heap = [entry for entry in self.heap if entry[2].stream is not None]
            heapq.heapify(self.heap)
            self._cancelled = 0

    def take(self, now: float) -> T | None:
        """Remove the earliest timer that is due, and return its stream. None if none is due."""
        while self.heap and self.heap[0][0] <= now:
            stream: T | None = heapq.heappop(self.heap)[2].stream
            if stream is not None:
                stream.timer = None
                return stream
            self._cancelled -= 1
        return None
