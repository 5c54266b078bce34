"""How the two sides of a channel wait for each other, while consumers take events without a lock.

Consumers take events without the channel's mutex: ``deque.popleft`` is atomic, and what an event
needs is far less than what a lock costs. So whoever holds the mutex may see the queue shrink, but
never grow. Whoever waits for room first says so in ``want_room`` and then looks again: a consumer
either took its event before that look, or sees the flag behind it, takes the mutex and wakes. That
needs the memory of an interpreter with a global lock; without one, consumers take the mutex.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from sse_client.clock import Doorbell

E = TypeVar("E")

_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

#: How long a waiter may sleep before it looks again by itself, in seconds.
_LOOK_AGAIN = 1.0


def taker(mutex: threading.RLock, events: deque[E]) -> Callable[[], E]:
    """Return what takes an event, or raises IndexError if there is none. Never waits for one."""
    return events.popleft if _HAS_GIL else partial(_take_locked, mutex, events)


def _take_locked(mutex: threading.RLock, events: deque[E]) -> E:
    with mutex:
        return events.popleft()


def deadline_of(*, block: bool, timeout: float | None) -> float | None:
    """Return until when to wait, on the monotonic clock; None for as long as it takes."""
    if not block:
        return float("-inf")
    return None if timeout is None else time.monotonic() + timeout


def wait_for_change(
    condition: threading.Condition,
    deadline: float | None,
    too_late: type[queue.Empty | queue.Full],
) -> None:
    """Wait until the condition is notified, or for a while; raise if it is too late already."""
    left = _LOOK_AGAIN if deadline is None else deadline - time.monotonic()
    if left <= 0:
        raise too_late
    # Not for long: a signal handler that closes the session on this very thread, between the
    # look before this and the wait, notifies nobody.
    condition.wait(min(left, _LOOK_AGAIN))


class RoomWaiters:
    """Who waits for room: the reader thread, by its doorbell, and callers of ``put``.

    For whoever holds the mutex, but for ``want_room`` and ``tell``, which are for consumers.

    Args:
        mutex: The channel's.
        events: The channel's queue.
        bell: What the reader thread waits on.
    """

    __slots__ = ("_bell", "_events", "_mutex", "_not_full", "_putters", "_ring_at", "want_room")

    def __init__(self, mutex: threading.RLock, events: deque[Any], bell: Doorbell) -> None:
        self._mutex = mutex
        self._events = events
        self._bell = bell
        self._ring_at: int | None = None  # once no more events than that are left
        self._putters = 0  # how many threads wait in ``put``
        self._not_full: threading.Condition | None = None
        #: Whether to ``tell`` of each event that is taken.
        self.want_room = False

    @property
    def not_full(self) -> threading.Condition:
        """What callers of ``put`` wait on, made once it is wanted."""
        with self._mutex:
            if self._not_full is None:
                self._not_full = threading.Condition(self._mutex)
            return self._not_full

    def tell(self) -> None:
        """Wake who has room now that an event was taken. Takes the mutex."""
        with self._mutex:
            if self._ring_at is not None and len(self._events) <= self._ring_at:
                self._bell.ring()  # first: Ctrl-C may come between
                self._ring_at = None
            if self._putters:
                self.not_full.notify()
            self.want_room = self._ring_at is not None or self._putters > 0

    def ring_at_half(self) -> None:
        """Have the doorbell ring once half of the events were taken."""
        self._ring_at = len(self._events) // 2
        self.want_room = True
        if len(self._events) <= self._ring_at:
            self._bell.ring()  # enough was taken meanwhile

    def wait_while(self, is_full: Callable[[], bool], deadline: float | None) -> None:
        """Wait for room for one event.

        Raises:
            queue.Full: There was none by the deadline.
        """
        self._putters += 1
        self.want_room = True
        try:
            while is_full():
                wait_for_change(self.not_full, deadline, queue.Full)
        finally:
            self._putters -= 1

    def wake_all(self) -> None:
        """Wake all of them, as there will be no room any more."""
        self._bell.ring()
        if self._putters:
            self.not_full.notify_all()
