"""The current state and figures of a relay."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass

from sse_client.relay.failures import describe


class RelayState(enum.Enum):
    """The state of a relay."""

    STANDBY = "standby"  # another relay holds the lease
    CONNECTING = "connecting"  # it holds the lease, and opens the stream
    RELAYING = "relaying"
    WAITING = "waiting for redis"  # or for another target, see ``Progress.shown_state``
    FAILED = "failed"
    CLOSED = "closed"


_ALIVE = frozenset(
    {RelayState.STANDBY, RelayState.CONNECTING, RelayState.RELAYING, RelayState.WAITING}
)
_OVER = frozenset({RelayState.FAILED, RelayState.CLOSED})

#: The states that may follow each state. The target may fail, and reply again, at any time.
MOVES: dict[RelayState, frozenset[RelayState]] = {
    **dict.fromkeys(_ALIVE, _ALIVE | _OVER),
    **dict.fromkeys(_OVER, frozenset()),
}


@dataclass(frozen=True)
class RelayStatistics:
    """The figures of a relay since it was created.

    Attributes:
        written: The number of entries written.
        batches: The number of round trips that wrote them.
        repeated: The number of events that the server repeated and that were left out.
        leases: The number of times that it took the lease.
        losses: The number of times that the connection to the stream was lost, or failed to open.
        redis_errors: The number of failures of Redis after which it tried again.
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
    """The current state and figures. Thread-safe: only one thread writes each figure.

    Args:
        target: The name of the target.
    """

    def __init__(self, target: str = "Redis") -> None:
        self._target = target
        self._lock = threading.Lock()  # guards the two states
        self._state = RelayState.STANDBY
        self._after_waiting = RelayState.STANDBY
        self.written = self.batches = self.repeated = self.leases = 0
        self.losses = self.target_errors = 0
        self.failures = 0
        #: The number of entries that were ever written, as the target reported last.
        self.sequence = 0
        self.last_error = ""
        self.last_event_id: str | None = None

    @property
    def state(self) -> RelayState:
        """The current state."""
        return self._state

    @property
    def shown_state(self) -> str:
        """The current state in words."""
        state = self._state
        return self.waiting_for(self._target) if state is RelayState.WAITING else state.value

    @staticmethod
    def waiting_for(target: str) -> str:
        """Return the state in words in which a relay waits for the target with this name."""
        return f"waiting for {target.lower()}"

    def move(self, state: RelayState) -> None:
        """Change the state; no other method does. A final state does not change.

        While the relay waits for the target, this sets the state to which it returns afterwards.
        """
        with self._lock:
            if state not in MOVES[self._state]:
                return
            if self._state is RelayState.WAITING and state in {
                RelayState.CONNECTING,
                RelayState.RELAYING,
            }:
                self._after_waiting = state
            elif state is RelayState.WAITING:
                if self._state is not RelayState.WAITING:
                    self._after_waiting = self._state
                    self._state = state
            else:
                self._state = state

    def target_fails(self, error: Exception | None) -> None:
        """Note a temporary failure of the target, or with None that it is over."""
        if error is not None:
            self.target_errors += 1
            self.last_error = describe(error)
            self.move(RelayState.WAITING)
            return
        with self._lock:
            if self._state is RelayState.WAITING:
                self._state = self._after_waiting

    def lost(self, error: Exception | None) -> None:
        """Note that the connection to the stream was lost; with None, the server ended it."""
        self.losses += 1
        if error is not None:
            self.last_error = describe(error)

    def failed(self, error: Exception) -> None:
        """Note that relaying has ended with an error. It may be tried again."""
        self.failures += 1
        self.last_error = describe(error)

    def wrote(self, count: int, last_event_id: str, sequence: int) -> None:
        """Count a batch. ``sequence`` is the number of entries that were ever written, with it."""
        self.sequence = sequence
        self.written += count
        self.batches += 1
        self.last_event_id = last_event_id

    def statistics(self) -> RelayStatistics:
        """Return the current figures."""
        return RelayStatistics(
            written=self.written,
            batches=self.batches,
            repeated=self.repeated,
            leases=self.leases,
            losses=self.losses,
            redis_errors=self.target_errors,
            last_error=self.last_error,
            last_event_id=self.last_event_id,
        )

    @property
    def errors(self) -> int:
        """The number of failures, of the stream and of the target."""
        return self.losses + self.target_errors + self.failures
