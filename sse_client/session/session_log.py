"""Writes the log records of a session to the logger ``sse_client``.

Each record has the fields ``sse_name``, ``sse_state``, ``sse_attempt`` and ``sse_delay`` for
programs.

A failed attempt is logged at INFO. An outage is logged at WARNING after a minute, and again after
each tenfold of that. There is no timer: the length of the outage is checked at each failed attempt.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sse_client.http.headers import problem_of_last_event_id

if TYPE_CHECKING:
    from sse_client.clock import Clock
    from sse_client.session.reconnection import Verdict
    from sse_client.session.state import StreamState

logger = logging.getLogger("sse_client")

#: The length of an outage at its first warning, in seconds, and the factor for the next one.
LONG_OUTAGE = 60.0
_WARNING_FACTOR = 10.0


def record_fields(
    name: str, state: str | None = None, attempt: int | None = None, delay: float | None = None
) -> dict[str, object]:
    """Return the ``extra`` of a record. The names have a prefix, because ``name`` is reserved."""
    return {"sse_name": name, "sse_state": state, "sse_attempt": attempt, "sse_delay": delay}


class SessionLog:
    """Logs for one session. Only the reader thread uses it.

    Args:
        name: The name of the stream, without secrets.
        state: The state of the session.
        clock: Measures outages.
    """

    __slots__ = (
        *("_clock", "_is_down", "_name", "_next_warning", "_outage_began", "_state"),
        "_unsent_id",
    )

    def __init__(self, name: str, state: StreamState, clock: Clock) -> None:
        self._name = name
        self._state = state
        self._clock = clock
        #: The beginning of the last outage, and its length at the next warning.
        self._outage_began = 0.0
        self._next_warning = LONG_OUTAGE
        #: Whether no connection has been opened since the last failure.
        self._is_down = False
        #: The hash of the last event ID in a warning. The ID itself may take megabytes.
        self._unsent_id: int | None = None

    def sending(self, last_event_id: str) -> None:
        """Warn about an event ID that cannot be sent, once per ID."""
        problem = problem_of_last_event_id(last_event_id)
        if problem is None or hash(last_event_id) == self._unsent_id:
            return
        self._unsent_id = hash(last_event_id)
        self._log(
            logging.WARNING,
            "%s: the last event ID cannot be sent, because %s; the server may send events again",
            problem,
        )

    def opened(self) -> None:
        """Log that a connection is open, and how long the outage was if it was long."""
        outage = self._long_outage()
        self._is_down = False
        if outage is None:
            self._log(logging.DEBUG, "%s: open")
        else:
            self._log(logging.INFO, "%s: open after an outage of %.0f s", outage)

    def failed(self, loss: Exception | None, verdict: Verdict) -> None:
        """Log that a connection was lost or an attempt failed, and the wait before the next."""
        if verdict.outage_began != self._outage_began:
            self._outage_began = verdict.outage_began
            self._next_warning = LONG_OUTAGE
        self._is_down = True
        lasted = self._clock.monotonic() - self._outage_began
        is_due = lasted >= self._next_warning
        while self._next_warning <= lasted:
            self._next_warning *= _WARNING_FACTOR
        self._log(
            logging.WARNING if is_due else logging.INFO,
            "%s: %s; reconnecting in %.3g s%s",
            loss or "it ended",
            verdict.delay,
            f"; the outage has lasted for {lasted:.0f} s" if is_due else "",
            attempt=verdict.attempt,
            delay=verdict.delay,
        )

    def replaced_id(self) -> None:
        """Log that the stream continues after another event ID than the refused one."""
        self._log(
            logging.INFO, "%s: the last event ID was refused; continuing after another event ID"
        )

    def closed(self, error: Exception | None) -> None:
        """Log that the session has ended, and how long its last outage was if it was long."""
        outage = self._long_outage()
        reason = f" with {type(error).__name__}" if error else ""
        if outage is None:
            self._log(logging.DEBUG, "%s: closed%s", reason)
        else:
            self._log(logging.INFO, "%s: closed%s after an outage of %.0f s", reason, outage)

    def hook_raised(self) -> None:
        """Log the exception of a hook, which is being handled."""
        self._log(logging.ERROR, "%s: a hook raised an error", exc_info=True)

    def plugin_raised(self) -> None:
        """Log the exception of a plugin's observer, which is being handled."""
        self._log(logging.ERROR, "%s: an observer raised an error", exc_info=True)

    def no_event_id(self, returned: object) -> None:
        """Log that ``on_cursor_expired`` returned something that is not an event ID."""
        kind = type(returned).__name__
        self._log(logging.ERROR, "%s: on_cursor_expired returned %r, not an event ID", kind)

    def _long_outage(self) -> float | None:
        """Return the length of a long outage, or None if there is none."""
        if not self._is_down:
            return None
        lasted = self._clock.monotonic() - self._outage_began
        return lasted if lasted >= LONG_OUTAGE else None

    def _log(
        self,
        level: int,
        message: str,
        *arguments: object,
        attempt: int | None = None,
        delay: float | None = None,
        exc_info: bool = False,
    ) -> None:
        if not logger.isEnabledFor(level):
            return  # as usual, and there may be thousands of streams
        fields = record_fields(self._name, self._state.ready_state.name, attempt, delay)
        logger.log(level, message, self._name, *arguments, extra=fields, exc_info=exc_info)
