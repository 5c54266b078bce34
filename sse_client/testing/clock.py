"""A clock that advances only when the test advances it.

`ManualClock._changed` guards the time and the sleepers. A sleeper waits on its thread's doorbell,
which others may also ring, so that closing a session wakes its thread at any time on the clock.
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

#: The first second of the year 2000 (UTC), which makes dates easy to read.
_THE_YEAR_2000 = 946_684_800.0

#: Decimal places of a second. Closer moments are equal, because sums of floats are not exact.
_PLACES = 6


@dataclass(eq=False)
class _Sleeper:
    deadline: float
    doorbell: Doorbell
    last_ring: object

    @property
    def is_asleep(self) -> bool:
        """Whether nobody has rung. Otherwise its thread is about to wake."""
        return self.doorbell.last_ring is self.last_ring


def _least() -> float:
    return 0.0


class ManualClock:
    """A clock for tests, which advances only by `advance` and `advance_to_next`.

    The streams of ``HttpClient(clock=clock)`` use it for their waits before reconnections, and to
    measure connections (``reset_after``), outages (``reconnection_deadline``) and the date of a
    ``Retry-After``. With an `InMemoryServer` on the same clock, read timeouts and ``event_timeout``
    also use it::

        clock = ManualClock()
        with InMemoryServer(clock=clock) as server, server.client() as client:
            server.serve(["one"], then="reset")
            server.serve(["two"], then="stall")
            with client.sse(server.url) as session:
                assert clock.advance_to_next() == 3.0  # the wait before the reconnection
                assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]

    A real socket waits in real time. So do threads that wait for the session, as in
    ``incoming.get(timeout=...)`` and ``close(timeout=...)``. Any thread may call any method.

    Args:
        wall_time: The initial time of day, in seconds since 1970 (UTC). The default is the
            beginning of the year 2000.
        random: Replaces the random source: a function that returns a number in [0, 1). By default
            it returns 0, so that waits have no jitter.
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
        """Return the seconds by which the clock has advanced. Does not block."""
        return self._now

    def time(self) -> float:
        """Return the time of day, in seconds since 1970 (UTC). Does not block."""
        return self._began + self._now

    def random(self) -> float:
        """Return a number from the given source, 0 by default. Does not block."""
        return self._random()

    def http_date(self, after: float = 0.0) -> str:
        """Return a time of day as an HTTP date (RFC 9110, section 5.6.7), for a ``Retry-After``.

        Args:
            after: The offset from now, in seconds. HTTP dates have whole seconds.
        """
        return formatdate(self.time() + after, usegmt=True)

    def wait_until(self, doorbell: Doorbell, deadline: float) -> None:
        """Block until the clock has reached the deadline, or the doorbell rings.

        The session calls this. A test uses `wait_for_sleepers`.

        Args:
            doorbell: Wakes the waiting thread.
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
        """The remaining time of each wait, in seconds, the shortest first. Does not block."""
        with self._changed:
            return tuple(sorted(self._left(sleeper) for sleeper in self._asleep()))

    def wait_for_sleepers(self, count: int = 1, timeout: float = 5.0) -> tuple[float, ...]:
        """Block until at least ``count`` threads wait for the clock.

        Args:
            count: The number of threads.
            timeout: The maximum wait, in real seconds.

        Returns:
            The remaining time of each wait, as in `pending`.

        Raises:
            TimeoutError: There were fewer threads.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._asleep()) >= count, timeout):
                found = len(self._asleep())
                raise TimeoutError(f"only {found} of {count} threads waited within {timeout} s")
            return self.pending

    def advance(self, seconds: float) -> None:
        """Advance the clock, and wake the threads whose waits are over. Does not block.

        A thread that begins to wait afterwards, such as the session after another failed attempt,
        waits from the new time on. `wait_for_sleepers` waits for such threads.

        Args:
            seconds: The seconds by which to advance.

        Raises:
            ValueError: ``seconds`` is below 0 or not finite.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError(f"seconds must be a finite number of at least 0, not {seconds}")
        with self._changed:
            self._move_to(self._now + seconds)

    def advance_to_next(self, timeout: float = 5.0) -> float:
        """Block until a thread waits for the clock, and advance it to the end of that wait.

        If several threads wait, it advances to the end of the shortest wait.

        Args:
            timeout: The maximum wait for such a thread, in real seconds.

        Returns:
            The seconds by which the clock was advanced.

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
        """Set the time, and wake sleepers. Requires the lock."""
        self._now = moment
        due = [sleeper for sleeper in self._sleepers if self._left(sleeper) <= 0]
        # Exactly to their deadlines, otherwise they would wait again for the remainder.
        self._now = max([moment, *(sleeper.deadline for sleeper in due)])
        for sleeper in due:
            # Remove it here, not in its thread, so that it does not count as waiting from now on.
            self._sleepers.remove(sleeper)
            sleeper.doorbell.ring()
