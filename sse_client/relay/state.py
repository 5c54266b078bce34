"""What a relay is doing, and its figures."""

from __future__ import annotations

import enum
import logging
import threading
from dataclasses import dataclass

from sse_client.relay.connection import describe

logger = logging.getLogger("sse_client")


class RelayState(enum.Enum):
    """What a relay is doing."""

    STANDBY = "standby"  # somebody else holds the lease
    CONNECTING = "connecting"  # it holds the lease, and opens the stream
    RELAYING = "relaying"
    WAITING = "waiting for redis"
    FAILED = "failed"
    CLOSED = "closed"


_ALIVE = frozenset(
    {RelayState.STANDBY, RelayState.CONNECTING, RelayState.RELAYING, RelayState.WAITING}
)
_OVER = frozenset({RelayState.FAILED, RelayState.CLOSED})

#: Which state may follow which. Redis may fail, and answer again, in the middle of anything.
MOVES: dict[RelayState, frozenset[RelayState]] = {
    **dict.fromkeys(_ALIVE, _ALIVE | _OVER),
    **dict.fromkeys(_OVER, frozenset()),
}


@dataclass(frozen=True)
class RelayStatistics:
    """The figures of a relay since it was made.

    Attributes:
        written: Entries.
        batches: Round trips that wrote them.
        repeated: Events that a server sent again and that were left out.
        leases: How often it took the lease.
        losses: How often the connection to the stream was lost, or could not be opened.
        redis_errors: Failures of Redis that were waited for.
        last_error: The last failure, in words; ``""`` if there was none.
        last_event_id: The ID of the last event that was written, None if none was.
    """

    written: int = 0
    batches: int = 0
    repeated: int = 0
    leases: int = 0
    losses: int = 0
    redis_errors: int = 0
    last_error: str = ""
    last_event_id: str | None = None


class Progress:
    """The state and the figures while they change. Thread-safe: each figure has one writer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two states
        self._state = RelayState.STANDBY
        self._behind_waiting = RelayState.STANDBY
        self.written = self.batches = self.repeated = self.leases = 0
        self.losses = self.redis_errors = 0
        self.failures = 0
        self.last_error = ""
        self.last_event_id: str | None = None

    @property
    def state(self) -> RelayState:
        """The current state."""
        return self._state

    def move(self, state: RelayState) -> None:
        """Change the state: the one place that does. What is over stays over.

        While Redis is waited for, the state of the stream is the one to come back to.
        """
        with self._lock:
            if state not in MOVES[self._state]:
                return
            if self._state is RelayState.WAITING and state in {
                RelayState.CONNECTING,
                RelayState.RELAYING,
            }:
                self._behind_waiting = state
            elif state is RelayState.WAITING:
                if self._state is not RelayState.WAITING:
                    self._behind_waiting = self._state
                    self._state = state
            else:
                self._state = state

    def redis_fails(self, error: Exception | None) -> None:
        """Note a failure of Redis that is waited for, or with None that it is over."""
        if error is not None:
            self.redis_errors += 1
            self.last_error = describe(error)
            self.move(RelayState.WAITING)
            return
        with self._lock:
            if self._state is RelayState.WAITING:
                self._state = self._behind_waiting

    def lost(self, error: Exception | None) -> None:
        """Note that the connection to the stream was lost; with None, that the server ended it."""
        self.losses += 1
        if error is not None:
            self.last_error = describe(error)

    def failed(self, error: Exception) -> None:
        """Note that relaying has ended with an error; it may be tried again."""
        self.failures += 1
        self.last_error = describe(error)

    def wrote(self, count: int, last_event_id: str) -> None:
        """Count a batch."""
        self.written += count
        self.batches += 1
        self.last_event_id = last_event_id

    def statistics(self) -> RelayStatistics:
        """Return the figures up to now."""
        return RelayStatistics(
            written=self.written,
            batches=self.batches,
            repeated=self.repeated,
            leases=self.leases,
            losses=self.losses,
            redis_errors=self.redis_errors,
            last_error=self.last_error,
            last_event_id=self.last_event_id,
        )
