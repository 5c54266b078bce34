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
        doorbell.wait(Deadline(deadline, self).seconds_left())


SYSTEM_CLOCK = SystemClock()


class Deadline:
    """A moment on a clock's ``monotonic``, up to which several waits may last together.

    It is immutable, and may be used by any thread.

    Args:
        moment: The seconds that the clock will show then.
        clock: The clock. Waits on a socket or a lock need the default, the system's clock.

    Attributes:
        moment: The same, for ``Clock.wait_until``.
    """

    __slots__ = ("_clock", "moment")

    def __init__(self, moment: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self.moment = moment
        self._clock = clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """Return the deadline that is this many seconds from now."""
        return cls(clock.monotonic() + seconds, clock)

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self._clock.monotonic() >= self.moment

    def seconds_left(self) -> float:
        """Return the seconds that the next wait may last. They are never negative."""
        return max(0.0, self.moment - self._clock.monotonic())
