"""The time limits of a stream: for its first event, between events, and for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sse_client.errors import IdleTimeoutError, TotalTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import requests

    from sse_client.clock import Clock
    from sse_client.event_stream.events import ServerSentEvent


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The options, in seconds. ``SSEConfig`` documents and checks them."""

    first_event: float | None = None
    event: float | None = None
    total: float | None = None
    counts_as_event: Callable[[ServerSentEvent], object] | None = None

    @property
    def header(self) -> float | None:
        """How long the header of a response may take, because no event precedes it."""
        return self.event if self.first_event is None else self.first_event


class Timekeeper:
    """Computes the deadlines of a stream. Only the reader thread uses it. Never blocks.

    Args:
        limits: The options.
        clock: Measures the time. The total time starts now.
        name: The name of the stream in an error, without secrets.
    """

    __slots__ = (
        *("_clock", "_event_timeout", "_limits", "_name", "_wait_began", "times_events"),
        "total_deadline",
    )

    def __init__(self, limits: TimeLimits, clock: Clock, name: str) -> None:
        self._limits = limits
        self._clock = clock
        self._name = name
        self._wait_began = 0.0
        self._event_timeout = limits.header
        #: Whether the times of events matter.
        timed = (limits.header, limits.event, limits.counts_as_event)
        self.times_events = any(each is not None for each in timed)
        #: The moment, on the clock's ``monotonic``, by which the stream must have ended, or None.
        self.total_deadline = None if limits.total is None else clock.monotonic() + limits.total

    @property
    def total_left(self) -> float | None:
        """How long the stream may still take, in seconds. None means no limit."""
        if self.total_deadline is None:
            return None
        return max(0.0, self.total_deadline - self._clock.monotonic())

    @property
    def deadline(self) -> float | None:
        """The moment by which the next event must have arrived or the stream have ended."""
        if self._event_timeout is None:
            return self.total_deadline
        event_deadline = self._wait_began + self._event_timeout
        if self.total_deadline is None:
            return event_deadline
        return min(event_deadline, self.total_deadline)

    def opened(self) -> None:
        """Record that a connection was opened, and wait for its first event."""
        self._event_timeout = self._limits.header
        self._wait_began = self._clock.monotonic()

    def delivered(self, events: Iterable[ServerSentEvent], began: float) -> None:
        """Record that events were delivered, and wait for the next one.

        The time since ``began``, when their delivery began, does not count, because consumers used
        it. Without ``times_events`` this has no effect, and need not be called.
        """
        now = self._clock.monotonic()
        counts = self._limits.counts_as_event
        if counts is None or any(counts(event) for event in events):
            self._event_timeout = self._limits.event
            self._wait_began = now
        else:
            self._wait_began += now - began

    def pause(self, seconds: float) -> None:
        """Exclude a time that the server did not cause."""
        self._wait_began += seconds

    def error(self, response: requests.Response) -> IdleTimeoutError | TotalTimeoutError:
        """Return the error of an exceeded ``deadline``."""
        timeout = self._event_timeout
        if timeout is None or self.deadline == self.total_deadline:
            return self.total_error(response)
        return IdleTimeoutError(
            f"no event arrived from {self._name} for {timeout:g} s",
            timeout=timeout,
            waited_for="event",
            response=response,
        )

    def total_error(self, response: requests.Response | None = None) -> TotalTimeoutError:
        """Return the error of an exceeded ``total_deadline``."""
        timeout = self._limits.total or 0.0
        message = f"the stream of {self._name} took longer than total_timeout={timeout:g} s"
        return TotalTimeoutError(message, timeout=timeout, response=response)
