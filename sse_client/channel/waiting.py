"""How the two sides of a channel wait for each other, while consumers take events without a lock.

Consumers take events without the channel's mutex: ``deque.popleft`` is atomic. So a thread that
holds the mutex may see the queue shrink, but never grow. A thread that waits for room first says so
in ``wake_at`` and then looks again. A consumer has then either taken its event before that look, or
it sees ``wake_at`` after it, takes the mutex and wakes the waiting threads. That needs the memory
model of an interpreter with a global lock; without one, consumers take the mutex.

This is the one trick of the channel, and it earns its place: with the mutex around each event the
whole way takes 1.2 to 1.6 times the processor time, by the framing (``benchmarks/whole_way.py``).
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from sse_client.clock import Doorbell

HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

#: How long a waiter may sleep before it looks again by itself, in seconds.
_LOOK_AGAIN = 1.0

#: Fewer events than any queue holds: no thread waits for room.
_NEVER = -1


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
    # look before this and the wait, notifies no thread that waits already.
    condition.wait(min(left, _LOOK_AGAIN))


class RoomWaiters:
    """The threads that wait for room: the reader thread, by its doorbell, and callers of ``put``.

    All methods but ``wake`` are for a thread that holds the channel's mutex.

    Args:
        mutex: The channel's.
        events: The channel's queue.
        bell: What the reader thread waits on.
    """

    __slots__ = ("_bell", "_condition", "_events", "_mutex", "wake_at")

    def __init__(self, mutex: threading.RLock, events: deque[Any], bell: Doorbell) -> None:
        self._mutex = mutex
        self._events = events
        self._bell = bell
        self._condition: threading.Condition | None = None
        #: A consumer calls ``wake`` once no more events than this are left.
        self.wake_at = _NEVER

    @property
    def condition(self) -> threading.Condition:
        """What callers of ``put`` and ``join`` wait on. Few do, so it is made for them."""
        if self._condition is None:
            self._condition = threading.Condition(self._mutex)
        return self._condition

    def wake(self) -> None:
        """Wake all of them. A thread that still has no room asks again. Takes the mutex."""
        with self._mutex:
            self._bell.ring()
            self.notify()
            self.wake_at = _NEVER  # last: Ctrl-C may come between

    def notify(self) -> None:
        """Wake those that wait on the condition."""
        if self._condition is not None:
            self._condition.notify_all()

    def ring_at_half(self) -> None:
        """Have the doorbell ring once half of the events were taken."""
        half = len(self._events) // 2
        self.wake_at = max(self.wake_at, half)
        if len(self._events) <= half:
            self._bell.ring()  # enough was taken meanwhile

    def wait_while(self, is_full: Callable[[], bool], deadline: float | None) -> None:
        """Wait for room for one event.

        Raises:
            queue.Full: There was none by the deadline.
        """
        while is_full():
            self.wake_at = max(self.wake_at, len(self._events) - 1)
            if is_full():  # still, now that a consumer sees it
                wait_for_change(self.condition, deadline, queue.Full)
