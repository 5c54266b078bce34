"""A clock that stands still until the test moves it.

Lock: `ManualClock._changed` guards the time and who waits for it. A sleeper waits on the doorbell
that its thread brought, which others may ring, too: so that a session which is told to close wakes
whatever the clock says.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Doorbell

#: The first second of the year 2000 (UTC): dates that are counted from it can be read.
_THE_YEAR_2000 = 946_684_800.0

#: Decimal places of a second. What is less apart is the same moment: sums of floats are not exact.
_PLACES = 6


@dataclass(eq=False)
class _Sleeper:
    deadline: float
    doorbell: Doorbell
    last_ring: object

    @property
    def is_asleep(self) -> bool:
        """Whether nobody has rung: else it is about to look around, and waits for nothing."""
        return self.doorbell.last_ring is self.last_ring


def _least() -> float:
    return 0.0


class ManualClock:
    """A clock for tests, which stands still until `advance` moves it.

    ``HttpClient(clock=clock)`` has its streams wait on it before a reconnection, and measure with
    it: how long a connection has held (``reset_after``) and an outage has lasted
    (``reconnection_deadline``), and how far off the date of a ``Retry-After`` is. With an
    `InMemoryServer` on the same clock read timeouts and ``event_timeout`` run on it, too::

        clock = ManualClock()
        with InMemoryServer(clock=clock) as server, server.client() as client:
            server.serve(["one"], then="reset")
            server.serve(["two"], then="stall")
            with client.sse(server.url) as session:
                assert clock.advance_to_next() == 3.0  # the wait before the reconnection
                assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]

    A real socket waits in real time, and so does whoever waits for the session:
    ``incoming.get(timeout=...)``, ``close(timeout=...)``. Any thread may call any method.

    Args:
        wall_time: The time of day that it begins with, in seconds since 1970 (UTC): the year 2000.
        random: What stands in for chance: returns a number from 0 up to 1. By default 0, so that
            there is no jitter: each wait is the least that it may be.
    """

    def __init__(
        self, *, wall_time: float = _THE_YEAR_2000, random: Callable[[], float] = _least
    ) -> None:
        self._changed = threading.Condition()
        self._now = 0.0
        self._began = wall_time
        self._random = random
        self._sleepers: list[_Sleeper] = []

    def monotonic(self) -> float:
        """Return the seconds by which the clock was moved. Does not block."""
        return self._now

    def time(self) -> float:
        """Return the time of day, in seconds since 1970 (UTC). Does not block."""
        return self._began + self._now

    def random(self) -> float:
        """Return a number of the source that was given, 0 by default. Does not block."""
        return self._random()

    def http_date(self, after: float = 0.0) -> str:
        """Write a time of day as HTTP does (RFC 9110, section 5.6.7), for a ``Retry-After``.

        Args:
            after: How far from now it is, in seconds. HTTP has whole ones.
        """
        return formatdate(self.time() + after, usegmt=True)

    def wait_until(self, doorbell: Doorbell, deadline: float) -> None:
        """Block until the clock was moved to the deadline, or the doorbell rings.

        The session calls it; a test has `wait_for_sleepers`.

        Args:
            doorbell: What wakes the waiting thread.
            deadline: A moment on `monotonic`, in seconds.
        """
        sleeper = _Sleeper(deadline, doorbell, doorbell.last_ring)
        with self._changed:
            if deadline <= self._now:
                return
            self._sleepers.append(sleeper)
            self._changed.notify_all()
        try:
            doorbell.wait()
        finally:
            with self._changed:
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)

    @property
    def pending(self) -> tuple[float, ...]:
        """How long each wait still takes, in seconds, the shortest first. Does not block."""
        with self._changed:
            return tuple(sorted(self._left(sleeper) for sleeper in self._asleep()))

    def wait_for_sleepers(self, count: int = 1, timeout: float = 5.0) -> tuple[float, ...]:
        """Block until so many threads wait for the clock.

        Args:
            count: How many.
            timeout: Real seconds to wait at most.

        Returns:
            How long each wait takes, in seconds, as `pending` does.

        Raises:
            TimeoutError: There were fewer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._asleep()) >= count, timeout):
                found = len(self._asleep())
                raise TimeoutError(f"{found} of {count} sleepers were there within {timeout} s")
            return self.pending

    def advance(self, seconds: float) -> None:
        """Move the clock on, and wake whoever has waited long enough. Does not block.

        Those who then begin to wait, such as the session after one more failed attempt, wait from
        the new time on: `wait_for_sleepers` waits for them.

        Args:
            seconds: How far.

        Raises:
            ValueError: It is below 0, or not finite.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError(f"seconds must be a finite number of at least 0, not {seconds}")
        with self._changed:
            self._move_to(self._now + seconds)

    def advance_to_next(self, timeout: float = 5.0) -> float:
        """Block until some thread waits for the clock, and move it on to the end of that wait.

        Of several waits it is the shortest that ends.

        Args:
            timeout: Real seconds to wait at most.

        Returns:
            How far the clock was moved, in seconds.

        Raises:
            TimeoutError: No thread waits for the clock.
        """
        with self._changed:
            seconds = self.wait_for_sleepers(1, timeout)[0]
            self._move_to(self._now + seconds)
            return seconds

    def __repr__(self) -> str:
        return f"<ManualClock {self._now:g} s, pending {self.pending}>"

    def _asleep(self) -> list[_Sleeper]:
        return [sleeper for sleeper in self._sleepers if sleeper.is_asleep]

    def _left(self, sleeper: _Sleeper) -> float:
        return round(sleeper.deadline - self._now, _PLACES)

    def _move_to(self, moment: float) -> None:
        """Hold the lock for this."""
        self._now = moment
        due = [sleeper for sleeper in self._sleepers if self._left(sleeper) <= 0]
        # Exactly as far as they wanted, or they would wait once more for what is left.
        self._now = max([moment, *(sleeper.deadline for sleeper in due)])
        for sleeper in due:
            # Here, not in its thread: from now on it counts for nobody.
            self._sleepers.remove(sleeper)
            sleeper.doorbell.ring()
