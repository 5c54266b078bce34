"""Time and chance as a session sees them: one object, so that a test can put its own in place."""

from __future__ import annotations

import queue
import random
import time
from typing import Protocol, runtime_checkable


class Doorbell:
    """Wakes the one thread that waits on it. May be rung from anywhere, a finaliser included.

    That is why it is no ``threading.Event``, whose lock isn't reentrant. A waiter may wake without
    a reason, and has to look again.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()
        #: Another object after each ring: whoever was waiting is about to look again.
        self.last_ring: object = None

    def ring(self) -> None:
        """Wake the waiting thread, or let its next wait return at once. Never blocks."""
        if self._rings.empty():  # else it will look anyway, after this
            self._rings.put(None)
        self.last_ring = object()

    def wait(self, timeout: float | None = None) -> None:
        """Block until it rings, or ``timeout`` seconds have passed."""
        try:
            self._rings.get(timeout=timeout)
            while True:  # Any number of rings is one reason to look.
                self._rings.get_nowait()
        except queue.Empty:
            pass


@runtime_checkable
class Clock(Protocol):
    """What the waits of a session run on. All methods are for any thread."""

    def monotonic(self) -> float:
        """Return the seconds since some moment; it never goes back."""
        ...

    def time(self) -> float:
        """Return the seconds since 1970 (UTC), to compare with the dates of HTTP."""
        ...

    def random(self) -> float:
        """Return a number from 0 up to 1, which says how much of the jitter a wait gets."""
        ...

    def wait_until(self, doorbell: Doorbell, deadline: float) -> None:
        """Block until ``monotonic`` has reached the deadline, or the doorbell rings."""
        ...


class SystemClock:
    """The time of the system, and its chance."""

    # As they are: the first is asked for each batch of events.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)

    def wait_until(self, doorbell: Doorbell, deadline: float) -> None:
        """Block until ``monotonic`` has reached the deadline, or the doorbell rings."""
        doorbell.wait(max(0.0, deadline - time.monotonic()))


SYSTEM_CLOCK = SystemClock()
