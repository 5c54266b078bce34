"""When to reconnect, and how long to wait before it: arithmetic alone, on an injected clock.

An outage begins when a connection is lost. It is over once an event or an event ID has arrived on a
later connection, or that connection has lasted for ``reset_after``. Attempts, backoff and deadline
count within one outage, so a server that accepts and closes at once is an outage, too. So is one
that sends an event and then breaks the connection, from the third such connection in a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

from sse_client.errors import (
    ChannelOverflowError,
    ConnectionFailedError,
    CursorExpiredError,
    ReconnectionExhaustedError,
    SSEClientError,
    StreamInterruptedError,
    TotalTimeoutError,
    UnexpectedStatusError,
)

Reconnect = Literal["always", "on_error", "never"]

#: Decides about an error and the number of the next attempt: whether to retry, or the wait before
#: it; None leaves the decision to the other options.
RetryIf = Callable[[Exception, int], "bool | float | timedelta | None"]

#: A ``retry`` or ``Retry-After`` is respected up to an hour: a mistyped one must not end a stream.
MAX_SERVER_DELAY = 3600.0

#: The least wait, in seconds, where a wait of 0 would be a loop of requests: the backoff grows from
#: it, and a server's ``retry: 0`` means it once connections have broken early in a row.
_MIN_DELAY = 0.05

#: From this connection on, connections in a row that break early count as failed attempts although
#: events arrived. One or two are ordinary: a server that restarts, a proxy that is reloaded.
_EARLY_BREAKS = 3

#: Statuses that are worth another attempt: overload, rate limits, gateways and their origins.
DEFAULT_RETRY_STATUSES = frozenset(
    {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529, 530}
)


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
    retry_if: RetryIf | None = None
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
        self._was_accepted = False
        self._opened_at: float | None = None
        self._has_progressed = False
        self._early_breaks = 0
        self._outage_began: float | None = None
        self._attempts = 0

    def opened(self) -> None:
        """Take note that a connection was opened: its response was accepted."""
        self._judge_connection(broke=False)
        self._was_accepted = True
        self._opened_at = self._clock()
        self._has_progressed = False

    def progressed(self) -> None:
        """Take note that an event or an event ID arrived on the open connection."""
        self._has_progressed = True

    def set_server_time(self, milliseconds: int) -> None:
        """Let a ``retry`` of the stream replace the reconnection time."""
        # The one place where the wire's milliseconds become seconds.
        self._server_time = min(milliseconds / 1000, MAX_SERVER_DELAY)

    def after(self, error: Exception | None) -> Verdict:
        """Decide what follows a lost connection or a failed attempt.

        Args:
            error: What went wrong, None for a stream that ended.

        Raises:
            TypeError, ValueError: ``retry_if`` returned something that is not a decision.
            Exception: Whatever else ``retry_if`` raised.
        """
        now = self._clock()
        self._judge_connection(broke=error is not None)
        if self._outage_began is None:
            self._outage_began = now

        delay = self._wanted_delay(error)
        if delay is None:
            return Verdict(None, error)
        limit = self._policy.max_reconnection_attempts
        if limit is not None and self._attempts >= limit:
            return Verdict(None, self._exhausted(error, "the limit of attempts is reached"))
        deadline = self._policy.reconnection_deadline
        if deadline is not None and now + delay - self._outage_began > deadline:
            return Verdict(None, self._exhausted(error, "the next would come after the deadline"))
        self._attempts += 1
        return Verdict(delay)

    def _judge_connection(self, *, broke: bool) -> None:
        """Account for the connection that is over, if there was one: it may end the outage."""
        if self._opened_at is None:
            return
        has_lasted = self._clock() - self._opened_at >= self._policy.reset_after
        self._opened_at = None
        self._early_breaks = self._early_breaks + 1 if broke and not has_lasted else 0
        if has_lasted or (self._has_progressed and self._early_breaks < _EARLY_BREAKS):
            self._outage_began = None
            self._attempts = 0

    def _wanted_delay(self, error: Exception | None) -> float | None:
        """Return the wait before the next attempt, None if the options want none."""
        policy = self._policy
        is_repeated = policy.reconnect != "never" or not self._was_accepted
        if policy.max_reconnection_attempts == 0 or not is_repeated:
            return None
        if error is None:
            return self._delay(None) if policy.reconnect == "always" else None
        if isinstance(error, ChannelOverflowError | TotalTimeoutError):
            return None  # limits of the whole session, which no connection changes
        decision = None if policy.retry_if is None else policy.retry_if(error, self._attempts + 1)
        if decision is None:
            is_wanted = self._was_accepted or policy.retry_first_connection
            decision = is_wanted and policy.is_worth_retrying(error)
        if isinstance(decision, bool):
            return self._delay(error) if decision else None
        return _seconds(decision)

    def _delay(self, error: Exception | None) -> float:
        policy = self._policy
        base = policy.reconnection_time
        if self._server_time is not None:
            breaks_early = self._early_breaks >= _EARLY_BREAKS
            base = max(self._server_time, _MIN_DELAY if breaks_early else 0.0)
        delay = base
        if self._attempts:
            try:
                growth = policy.reconnection_backoff**self._attempts
            except OverflowError:
                growth = math.inf
            delay = max(base, min(max(base, _MIN_DELAY) * growth, policy.max_reconnection_time))
        if isinstance(error, UnexpectedStatusError) and error.retry_after is not None:
            delay = max(delay, min(error.retry_after, MAX_SERVER_DELAY))
        # Only ever added: the server's wishes and ours are both lower bounds.
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


def _seconds(decision: object) -> float:
    """Return the wait that ``retry_if`` has chosen."""
    given = decision.total_seconds() if isinstance(decision, timedelta) else decision
    if not isinstance(given, int | float):
        wanted = "True, False, seconds, a timedelta or None"
        raise TypeError(f"retry_if must return {wanted}, not {type(decision).__name__}")
    if not (math.isfinite(given) and given >= 0):
        raise ValueError(f"retry_if must return a finite wait of 0 or more seconds, not {given}")
    return float(given)
