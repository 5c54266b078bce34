"""The clock and the random source of a session: one object, so that a test can replace it."""

from __future__ import annotations

import math
import random
import threading
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable


#: The identifier of the main thread. It is wrong in a child that another thread has forked.
_MAIN_THREAD = threading.main_thread().ident

#: The main thread's first and longest single wait, in seconds.
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0


def must_wait_in_steps() -> bool:
    """Return whether the calling thread must wait in steps to handle signals.

    Only the main thread handles signals. On Windows a signal does not interrupt a wait for a lock.
    Elsewhere it does not interrupt any wait if it arrives while the thread releases the
    interpreter's lock to begin the wait. So the main thread waits in steps: a short one first, then
    up to a second each.
    """
    return threading.get_ident() == _MAIN_THREAD


def acquire(lock: threading.Lock, timeout: float) -> bool:
    """Acquire a lock within ``timeout`` seconds, and let signals be handled in the meantime.

    Returns:
        Whether it was acquired.
    """
    if must_wait_in_steps():
        longest = FIRST_WAIT
        while timeout > longest:
            if lock.acquire(timeout=longest):
                return True
            timeout -= longest
            longest = min(2 * longest, LONGEST_WAIT)
    if timeout > threading.TIMEOUT_MAX:
        return lock.acquire()
    return lock.acquire(timeout=max(0.0, timeout))


class Doorbell:
    """Wakes the one thread that waits on it. Any thread, finaliser or signal handler may ring it.

    It is a lock that ringing releases, so several rings may cause a single wake-up. It is not a
    ``threading.Event``, whose lock is not reentrant, nor a ``queue.SimpleQueue``, whose C version
    blocks all greenlets of a process. Wake-ups may be spurious, so the waiting thread rechecks its
    condition.
    """

    __slots__ = ("_silence", "last_ring", "listener")

    def __init__(self) -> None:
        # ``threading.Lock`` is looked up each time, because a greenlet library may replace it.
        self._silence = threading.Lock()
        self._silence.acquire()
        #: A new object after each ring, so that a ring can be detected without waiting.
        self.last_ring: object = None
        #: Called for each ring on the ringing thread. It must not block.
        self.listener: Callable[[], object] | None = None

    def ring(self) -> None:
        """Wake the waiting thread, or let its next wait return at once. Never blocks."""
        self.last_ring = object()
        if self._silence.locked():
            try:  # noqa: SIM105  # this runs for each event that arrives alone
                self._silence.release()
            except RuntimeError:
                pass  # another thread was faster
        listener = self.listener  # another thread may remove it now
        if listener is not None:
            listener()

    def wait(self, timeout: float | None = None) -> None:
        """Block until it rings or ``timeout`` seconds have passed."""
        acquire(self._silence, math.inf if timeout is None else timeout)


@runtime_checkable
class Clock(Protocol):
    """Measures the waits of a session. All methods can be called from any thread."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary moment. It never decreases."""
        ...

    def time(self) -> float:
        """Return the seconds since 1970 (UTC), for comparison with HTTP dates."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1): the fraction of the jitter to add to a wait."""
        ...

    def wait_until(self, doorbell: Doorbell, deadline: float) -> None:
        """Block until ``monotonic`` has reached the deadline, or the doorbell rings."""
        ...


class SystemClock:
    """The system's clock and random source."""

    # Without wrappers, because the first one is called for each batch of events.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)

    def wait_until(self, doorbell: Doorbell, deadline: float) -> None:
        """Block until ``monotonic`` has reached the deadline, or the doorbell rings."""
        doorbell.wait(Deadline(deadline, self).seconds_left())


SYSTEM_CLOCK = SystemClock()


class Deadline:
    """A moment on a clock's ``monotonic`` that several waits may share as their limit.

    It is immutable, so any thread may use it.

    Args:
        moment: The value of ``monotonic`` at the deadline.
        clock: The clock. Waits on a socket or a lock need the default, the system's clock.

    Attributes:
        moment: The same value, for ``Clock.wait_until``.
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
        """Return the seconds that remain, never a negative number."""
        return max(0.0, self.moment - self._clock.monotonic())
