"""Decides whether to reconnect, and computes the wait. It has no I/O and an injected clock.

An outage begins when a connection is lost. It is over once an event or an event ID has arrived on a
later connection, or that connection has lasted for ``reset_after``. Attempts, backoff and deadline
are counted within one outage. So a server that accepts connections and closes them at once is one
outage. From the third consecutive connection on, this also applies to a server that sends an event
and then breaks the connection.
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

#: Takes an error and the number of the next attempt. Returns whether to retry, or the wait before
#: the attempt, or None to leave the decision to the other options.
RetryIf = Callable[[Exception, int], "bool | float | timedelta | None"]

#: A ``retry`` or ``Retry-After`` is respected up to an hour, because a typo must not end a stream.
MAX_SERVER_DELAY = 3600.0

#: The minimum wait, in seconds, if a wait of 0 would cause a busy loop of requests. The backoff
#: grows from it, and it replaces a server's ``retry: 0`` after several connections that broke
#: early.
_MIN_DELAY = 0.05

#: From this consecutive connection on, connections that break early count as failed attempts even
#: if events arrived. One or two are normal: a server restarts, or a proxy is reloaded.
_EARLY_BREAKS = 3

#: Statuses that are worth another attempt: overload, rate limits, gateways and their origins.
DEFAULT_RETRY_STATUSES = frozenset(
    {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529, 530}
)


@dataclass(frozen=True, slots=True)
class ReconnectionPolicy:
    """The options of reconnection, in seconds. ``SSEConfig`` documents and checks them."""

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
        """Whether another attempt could succeed after this error."""
        if isinstance(error, ConnectionFailedError):
            return not error.permanent
        if isinstance(error, CursorExpiredError):
            return False
        if isinstance(error, UnexpectedStatusError):
            return error.status_code in self.retry_statuses
        return isinstance(error, StreamInterruptedError)


class Verdict(NamedTuple):
    """The next step: an attempt after ``delay`` seconds, or the end with ``error`` if that is None.

    ``attempt`` is the number of that attempt in its outage, from 1. ``outage_began`` is the time on
    the clock at which the outage began.
    """

    delay: float | None
    error: Exception | None = None
    attempt: int = 0
    outage_began: float = 0.0


class Reconnection:
    """Tracks the outages of one session. Not thread-safe. Never blocks.

    Args:
        policy: The options.
        clock: A monotonic clock, in seconds.
        random: Returns random numbers in [0, 1).
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
        """Record that a connection was opened, which means that its response was accepted."""
        self._judge_connection(broke=False)
        self._was_accepted = True
        self._opened_at = self._clock()
        self._has_progressed = False

    def progressed(self) -> None:
        """Record that an event or an event ID arrived on the open connection."""
        self._has_progressed = True

    def set_server_time(self, milliseconds: int) -> None:
        """Let a ``retry`` of the stream replace the reconnection time."""
        # Only here are the milliseconds of the wire format converted to seconds.
        self._server_time = min(milliseconds / 1000, MAX_SERVER_DELAY)

    def after(self, error: Exception | None) -> Verdict:
        """Decide what follows a lost connection or a failed attempt.

        Args:
            error: The error, or None if the stream ended.

        Raises:
            TypeError, ValueError: The result of ``retry_if`` is not a valid decision.
            Exception: Any other error of ``retry_if``.
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
            return Verdict(None, self._exhausted(error, "max_reconnection_attempts is reached"))
        deadline = self._policy.reconnection_deadline
        if deadline is not None and now + delay - self._outage_began > deadline:
            return Verdict(None, self._exhausted(error, "reconnection_deadline would pass"))
        self._attempts += 1
        return Verdict(delay, attempt=self._attempts, outage_began=self._outage_began)

    def _judge_connection(self, *, broke: bool) -> None:
        """Evaluate the connection that is over, if there was one. It may have ended the outage."""
        if self._opened_at is None:
            return
        has_lasted = self._clock() - self._opened_at >= self._policy.reset_after
        self._opened_at = None
        self._early_breaks = self._early_breaks + 1 if broke and not has_lasted else 0
        if has_lasted or (self._has_progressed and self._early_breaks < _EARLY_BREAKS):
            self._outage_began = None
            self._attempts = 0

    def _wanted_delay(self, error: Exception | None) -> float | None:
        """Return the wait before the next attempt, or None if the options allow none."""
        policy = self._policy
        is_repeated = policy.reconnect != "never" or not self._was_accepted
        if policy.max_reconnection_attempts == 0 or not is_repeated:
            return None
        if error is None:
            return self._delay(None) if policy.reconnect == "always" else None
        if isinstance(error, ChannelOverflowError | TotalTimeoutError):
            return None  # limits of the whole session, which another connection does not change
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
        # Jitter is only added, because the server's and the user's waits are lower bounds.
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
    """Return the wait that ``retry_if`` returned, in seconds."""
    given = decision.total_seconds() if isinstance(decision, timedelta) else decision
    if not isinstance(given, int | float):
        wanted = "True, False, seconds, a timedelta or None"
        raise TypeError(f"retry_if must return {wanted}, not {type(decision).__name__}")
    if not (math.isfinite(given) and given >= 0):
        raise ValueError(f"retry_if must return a finite wait of 0 or more seconds, not {given}")
    return float(given)
