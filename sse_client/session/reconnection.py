"""When to reconnect, and how long to wait before it: arithmetic alone, on an injected clock.

An outage begins when a connection is lost, and is over once an event has arrived on a later one, or
that one has held for ``reset_after``. Attempts, back-off and deadline count within one outage, so a
server that accepts and closes at once is an outage, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from sse_client.errors import (
    ConnectionFailedError,
    CursorExpiredError,
    ReconnectionExhaustedError,
    SSEClientError,
    StreamInterruptedError,
    UnexpectedStatusError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Reconnect = Literal["always", "on_error", "never"]

#: A ``retry`` or ``Retry-After`` is honoured up to an hour: a mistyped one must not end a stream.
MAX_SERVER_DELAY = 3600.0

#: What the back-off grows from when the reconnection time is 0, so that a dead server with
#: ``retry: 0`` is asked often, but not in a loop.
_MIN_BACKOFF_BASE = 0.05

#: Statuses that are worth another attempt: overload, rate limits, gateways, time-outs.
DEFAULT_RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class ReconnectionPolicy:
    """The options of reconnection, in seconds; ``SSEConfig`` documents and checks each."""

    reconnection_time: float = 3.0
    max_reconnection_attempts: int | None = None
    reconnect: Reconnect = "always"
    reconnection_backoff: float = 2.0
    max_reconnection_time: float = 30.0
    reconnection_jitter: float = 0.25
    reconnection_deadline: float | None = None
    retry_statuses: frozenset[int] = DEFAULT_RETRY_STATUSES
    retry_first_connection: bool = False
    reset_after: float = 5.0

    def is_worth_retrying(self, error: Exception) -> bool:
        """Whether another attempt could end otherwise than with this error."""
        if isinstance(error, ConnectionFailedError):
            return not error.permanent
        if isinstance(error, CursorExpiredError):
            return False
        if isinstance(error, UnexpectedStatusError):
            return error.status_code in self.retry_statuses
        return isinstance(error, StreamInterruptedError)


class Verdict(NamedTuple):
    """What comes next: an attempt after ``delay`` seconds, or, if None, the end with ``error``."""

    delay: float | None
    error: Exception | None = None


class Reconnection:
    """The course of one session's outages. For one thread at a time; never sleeps.

    Args:
        policy: The options.
        clock: A monotonic clock, in seconds.
        random: A source of numbers from 0 up to 1.
    """

    def __init__(
        self, policy: ReconnectionPolicy, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._random = random
        self._server_time: float | None = None
        self._ever_opened = False
        self._opened_at: float | None = None
        self._event_arrived = False
        self._outage_began: float | None = None
        self._attempts = 0

    def opened(self) -> None:
        """Take note that a connection was opened."""
        self._settle()
        self._ever_opened = True
        self._opened_at = self._clock()
        self._event_arrived = False

    def event_arrived(self) -> None:
        """Take note that an event arrived on the open connection."""
        self._event_arrived = True

    def set_server_time(self, milliseconds: int) -> None:
        """Let a ``retry`` of the stream replace the reconnection time."""
        # The one place where the wire's milliseconds become seconds.
        self._server_time = min(milliseconds / 1000, MAX_SERVER_DELAY)

    def after(self, error: Exception | None) -> Verdict:
        """Decide what follows a lost connection or a failed attempt.

        Args:
            error: What went wrong, None for a stream that ended.
        """
        now = self._clock()
        self._settle()
        if self._outage_began is None:
            self._outage_began = now

        policy = self._policy
        limit = policy.max_reconnection_attempts
        is_final = policy.reconnect == "never" or limit == 0
        if error is None:
            if is_final or policy.reconnect == "on_error":
                return Verdict(None)
        else:
            is_first = not (self._ever_opened or policy.retry_first_connection)
            if is_final or is_first or not policy.is_worth_retrying(error):
                return Verdict(None, error)
        if limit is not None and self._attempts >= limit:
            return Verdict(None, self._exhausted(error, "the limit of attempts is reached"))
        delay = self._delay(error)
        deadline = policy.reconnection_deadline
        if deadline is not None and now + delay - self._outage_began > deadline:
            return Verdict(None, self._exhausted(error, "the next would come after the deadline"))
        self._attempts += 1
        return Verdict(delay)

    def _settle(self) -> None:
        """End the outage if the connection that is over was a good one."""
        if self._opened_at is not None:
            held = self._clock() - self._opened_at >= self._policy.reset_after
            self._opened_at = None
            if self._event_arrived or held:
                self._outage_began = None
                self._attempts = 0

    def _delay(self, error: Exception | None) -> float:
        policy = self._policy
        base = policy.reconnection_time if self._server_time is None else self._server_time
        delay = base
        if self._attempts:
            try:
                growth = policy.reconnection_backoff**self._attempts
            except OverflowError:
                growth = float("inf")
            grown = max(base, _MIN_BACKOFF_BASE) * growth
            delay = max(base, min(grown, policy.max_reconnection_time))
        if isinstance(error, UnexpectedStatusError) and error.retry_after is not None:
            delay = max(delay, min(error.retry_after, MAX_SERVER_DELAY))
        # Only ever added: both the server's wishes and ours are the least to wait.
        return delay + delay * policy.reconnection_jitter * self._random()

    def _exhausted(self, cause: Exception | None, why: str) -> ReconnectionExhaustedError:
        last = cause if isinstance(cause, SSEClientError) else None
        error = ReconnectionExhaustedError(
            f"gave up after {self._attempts} failed reconnection attempts ({why}): "
            f"{cause or 'the stream ended each time'}",
            attempts=self._attempts,
            last_cause=last,
        )
        error.__cause__ = cause
        return error
