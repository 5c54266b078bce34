"""The state and the figures of a relay: kept here, reported into Redis, and read from there."""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.relay.connection import describe, text_of
from sse_client.relay.options import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sse_client.relay.connection import RedisServer


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

#: Which state may follow which. Redis may fail, and reply again, in the middle of anything.
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


class StatusReport:
    """What the holder of a lease tells of itself. For one thread.

    It is not a part of any transaction: figures may be a third of a lease time old.
    """

    def __init__(self, stream: str, owner: str, progress: Progress) -> None:
        self._key = key_of(stream, "status")
        self._owner = owner
        self._progress = progress
        self._before: tuple[float, int] | None = None

    def command(self, waiting: int) -> list[object]:
        """Return the command that reports.

        Args:
            waiting: How many events have arrived and are not written yet.
        """
        progress, now = self._progress, time.monotonic()
        rate = 0.0
        if self._before is not None and now > self._before[0]:
            rate = (progress.written - self._before[1]) / (now - self._before[0])
        self._before = now, progress.written
        report = {
            "owner": self._owner,
            "state": progress.state.value,
            "waiting": waiting,
            "rate": f"{rate:.1f}",
            "errors": progress.losses + progress.redis_errors + progress.failures,
            "last_error": progress.last_error,
        }
        return ["HSET", self._key, *(word for pair in report.items() for word in pair)]

    def send(self, server: RedisServer) -> None:
        """Report on one's own, as when nothing is relayed any more. Blocks for Redis.

        Nobody minds if it doesn't get there.
        """
        with contextlib.suppress(*server.failures):
            server.execute(*self.command(0))


@dataclass(frozen=True)
class StreamStatus:
    """One stream, as Redis knows it.

    Attributes:
        stream: The key of the Redis Stream.
        owner: Who holds the lease, None if nobody does.
        state: What the owner was doing when it last reported; ``starting`` if it has not yet,
            ``nobody`` if there is none.
        length: How many entries the stream holds.
        written: How many entries were ever written.
        lag: How many entries the slowest consumer group has not read; None if it isn't known, as
            before Redis 7.
        waiting: How many events have arrived at the owner and are not written yet.
        rate: Entries a second, of late.
        last_event_id: The position, None before the first event.
        errors: Connections lost and failures, of whoever reported last.
        last_error: The last of them; or that a key of the stream is of another type.
    """

    stream: str
    owner: str | None
    state: str
    length: int
    written: int
    lag: int | None
    waiting: int
    rate: float
    last_event_id: str | None
    errors: int
    last_error: str


def read_status(server: RedisServer, streams: Iterable[str]) -> list[StreamStatus]:
    """Read how these streams are doing, in one round trip for all. Blocks for Redis.

    Raises:
        redis.RedisError: Redis does not reply, or refuses.
    """
    names = list(streams)
    commands: list[tuple[str, ...]] = []
    for name in names:
        commands += [
            ("GET", key_of(name, "lease")),
            ("HMGET", key_of(name, "state"), "id", "sequence"),
            ("HMGET", key_of(name, "status"), *_REPORTED),
            ("XLEN", name),
            ("XINFO GROUPS", name),
        ]
    replies = server.execute_all(commands)
    each = len(commands) // max(1, len(names))
    return [
        _status(server, name, replies[first : first + each])
        for name, first in zip(names, range(0, len(replies), each), strict=True)
    ]


_REPORTED = ("owner", "state", "waiting", "rate", "errors", "last_error")

#: What is taken for a reply that a key of another type has refused.
_NOTHING: tuple[Any, ...] = (None, (None, None), (None,) * len(_REPORTED), 0, None)


def _status(server: RedisServer, name: str, replies: list[Any]) -> StreamStatus:
    refusal = ""
    for index, reply in enumerate(replies[:-1]):
        if isinstance(reply, Exception):
            if not server.is_reply(reply, "WRONGTYPE"):
                raise reply
            # Of the other streams there is something to tell.
            replies[index], refusal = _NOTHING[index], describe(reply)
    lease, state, report, length, groups = replies
    reporter, shown, waiting, rate, errors, last_error = (
        "" if word is None else text_of(word) for word in report
    )
    owner = None if lease is None else text_of(lease).rpartition(" ")[0]
    is_current = owner == reporter
    return StreamStatus(
        stream=name,
        owner=owner,
        state="nobody" if owner is None else shown if is_current else "starting",
        length=int(length),
        written=int(state[1] or 0),
        lag=_lag(groups),
        waiting=int(waiting) if is_current else 0,
        rate=float(rate) if is_current else 0.0,
        last_event_id=None if state[0] is None else text_of(state[0]),
        errors=int(errors or 0),
        last_error=refusal or last_error,
    )


def _lag(groups: object) -> int | None:
    """Return what the slowest group has not read; there may be no stream yet, and no group."""
    if not isinstance(groups, list):
        return None
    lags: list[int] = []
    for group in groups:
        lag = {text_of(key): value for key, value in dict(group).items()}.get("lag")
        if lag is None:
            return None
        lags.append(int(lag))
    return max(lags, default=None)
