"""The limits of time of a stream: for its first event, for the next ones, and for all of it."""

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
    """The options, in seconds; ``SSEConfig`` documents and checks each."""

    first_event: float | None = None
    event: float | None = None
    total: float | None = None
    counts_as_event: Callable[[ServerSentEvent], object] | None = None

    @property
    def header(self) -> float | None:
        """How long the header of a response may take: no event comes before it."""
        return self.event if self.first_event is None else self.first_event


class Timekeeper:
    """By when something must happen on a stream. For the reader thread; never blocks.

    Args:
        limits: The options.
        clock: What the time is measured with. The total time starts now.
        name: What to call the stream in an error; no secret.
    """

    def __init__(self, limits: TimeLimits, clock: Clock, name: str) -> None:
        self._limits = limits
        self._clock = clock
        self._name = name
        self._wait_began = 0.0
        self._event_timeout = limits.header
        #: By when the stream must have ended, on the clock's ``monotonic``; None for never.
        self.total_deadline = None if limits.total is None else clock.monotonic() + limits.total

    @property
    def total_left(self) -> float | None:
        """How long the stream may still take, in seconds; None for any time."""
        if self.total_deadline is None:
            return None
        return max(0.0, self.total_deadline - self._clock.monotonic())

    @property
    def deadline(self) -> float | None:
        """By when the next event must have arrived, or the stream have ended."""
        if self._event_timeout is None:
            return self.total_deadline
        event_deadline = self._wait_began + self._event_timeout
        if self.total_deadline is None:
            return event_deadline
        return min(event_deadline, self.total_deadline)

    def opened(self) -> None:
        """Take note that a connection was opened: its first event is due."""
        self._event_timeout = self._limits.header
        self._wait_began = self._clock.monotonic()

    def delivered(self, events: Iterable[ServerSentEvent], began: float) -> None:
        """Take note of events whose delivery began at a moment, and is over: the next one is due.

        The time that their consumers took is not the server's.
        """
        now = self._clock.monotonic()
        counts = self._limits.counts_as_event
        if counts is None or any(counts(event) for event in events):
            self._event_timeout = self._limits.event
            self._wait_began = now
        else:
            self._wait_began += now - began

    def pause(self, seconds: float) -> None:
        """Leave out a time that was not the server's."""
        self._wait_began += seconds

    def error(self, response: requests.Response) -> IdleTimeoutError | TotalTimeoutError:
        """Return the error of a ``deadline`` that has passed."""
        timeout = self._event_timeout
        if timeout is None or self.deadline == self.total_deadline:
            return self.total_error(response)
        return IdleTimeoutError(
            f"no event came from {self._name} for {timeout:g} s",
            timeout=timeout,
            waited_for="event",
            response=response,
        )

    def total_error(self, response: requests.Response | None = None) -> TotalTimeoutError:
        """Return the error of a ``total_deadline`` that has passed."""
        timeout = self._limits.total or 0.0
        message = f"the stream of {self._name} took longer than total_timeout={timeout:g} s"
        return TotalTimeoutError(message, timeout=timeout, response=response)
