"""The status of streams: the holders of leases write it into the target, and others read it there.

``read_status`` reads it from Redis.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.relay.connection import text_of
from sse_client.relay.failures import describe
from sse_client.relay.lease import milliseconds
from sse_client.relay.options import key_of
from sse_client.relay.scripts import NOW, REPORT
from sse_client.relay.unheld import UNHELD_LEASE_TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sse_client.relay.connection import RedisServer
    from sse_client.relay.progress import Progress


@dataclass(frozen=True)
class OwnFigures:
    """The figures that the holder of a lease knows without the target.

    Attributes:
        state: The state of the relay.
        waiting: The number of events that have arrived and are not written yet.
        rate: Entries per second, between the last two reports.
        errors: The number of lost connections and failures.
        last_error: The last of them.
    """

    state: str
    waiting: int
    rate: float
    errors: int
    last_error: str


class StatusReport:
    """The report of the holder of a lease. For one thread, except ``figures``.

    It is not a part of any transaction: figures may be a third of a lease time old.

    Args:
        stream: The key of the Redis Stream.
        owner: The name of the holder.
        progress: The figures.
        lease_time: The lease time in seconds.
    """

    def __init__(self, stream: str, owner: str, progress: Progress, lease_time: float) -> None:
        self._key = key_of(stream, "status")
        self._owner = owner
        self._progress = progress
        self._lease_time = lease_time
        self._before: tuple[float, int] | None = None
        self._rate = 0.0

    def figures(self, waiting: int) -> OwnFigures:
        """Return the current figures. Thread-safe.

        Args:
            waiting: The number of events that have arrived and are not written yet.
        """
        progress = self._progress
        return OwnFigures(
            progress.shown_state, waiting, self._rate, progress.errors, progress.last_error
        )

    def fields(self, waiting: int) -> dict[str, object]:
        """Return the report by field, and measure the rate since the last one."""
        written, now = self._progress.written, time.monotonic()
        if self._before is not None and now > self._before[0]:
            self._rate = (written - self._before[1]) / (now - self._before[0])
        self._before = now, written
        figures = self.figures(waiting)
        return {
            "owner": self._owner,
            "lease_time": milliseconds(self._lease_time),
            **vars(figures),
            "rate": f"{figures.rate:.1f}",
        }

    def command(self, waiting: int) -> list[object]:
        """Return the command that reports to Redis; see ``fields``."""
        words = [word for pair in self.fields(waiting).items() for word in pair]
        # The text of the script, because a pipeline can't send it after a NOSCRIPT.
        return ["EVAL", REPORT.text, 1, self._key, *words]

    def send(self, server: RedisServer) -> None:
        """Report in a separate round trip, for example when nothing is relayed any longer.

        Blocks for Redis. A failure is ignored.
        """
        with contextlib.suppress(*server.failures):
            server.execute(*self.command(0))


@dataclass(frozen=True)
class StreamStatus:
    """The status of one stream in the target.

    Attributes:
        stream: The name of the stream.
        owner: The holder of the lease, None if nobody holds it.
        state: The state of the owner when it last reported; ``starting`` if it has not reported
            yet, ``nobody`` if there is no owner.
        length: The number of entries in the stream.
        written: The number of entries that were ever written.
        lag: The number of entries that the slowest consumer group has not read; None if it is
            unknown, for example before Redis 7.0.
        waiting: The number of events that have arrived at the owner and are not written yet.
        rate: Entries per second, between the last two reports.
        last_event_id: The position, None before the first event.
        errors: The number of lost connections and failures of the relay that reported last.
        last_error: The last of them; or that a key of the stream has a wrong type.
        reported: The age of the last report in seconds, by Redis's clock; None if there is none.
        stale: Whether the owner's last report is older than a lease time, although it should report
            three times as often: the figures are out of date.
        unheld: Whether nobody has held the lease for two lease times, or ever.
        trimmed: The number of entries that were trimmed before a group read them, of all groups.
            Their consumers count them, from Redis 7.0 on.
        dead_letters: The number of entries that were moved to the dead letters.
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
    reported: float | None
    stale: bool
    unheld: bool
    trimmed: int
    dead_letters: int


def read_status(server: RedisServer, streams: Iterable[str]) -> list[StreamStatus]:
    """Read the status of these streams, in one round trip for all. Blocks for Redis.

    Raises:
        redis.RedisError: Redis does not reply, or refuses.
    """
    names = list(streams)
    commands: list[tuple[object, ...]] = []
    for name in names:
        commands += [
            ("GET", key_of(name, "lease")),
            ("HMGET", key_of(name, "state"), "id", "sequence"),
            ("HMGET", key_of(name, "status"), *_REPORTED),
            ("XLEN", name),
            ("XINFO GROUPS", name),
            ("EVAL", NOW.text, 1, name),
            ("HGETALL", key_of(name, "groups")),
            ("XLEN", key_of(name, "dead-letters")),
        ]
    replies = server.execute_all(commands)
    each = len(commands) // max(1, len(names))
    return [
        _status(server, name, replies[first : first + each])
        for name, first in zip(names, range(0, len(replies), each), strict=True)
    ]


_REPORTED = ("owner", "state", "waiting", "rate", "errors", "last_error", "at", "lease_time")

#: The values for replies that Redis refuses because a key has a wrong type.
_NOTHING: tuple[Any, ...] = (None, (None, None), (None,) * len(_REPORTED), 0)


def _status(server: RedisServer, name: str, replies: list[Any]) -> StreamStatus:
    refusal = ""
    for index, reply in enumerate(replies[: len(_NOTHING)]):
        if isinstance(reply, Exception):
            if not server.is_reply(reply, "WRONGTYPE"):
                raise reply
            # The other streams are shown as usual.
            replies[index], refusal = _NOTHING[index], describe(reply)
    lease, state, report, length, groups, now, counts, letters = replies
    reporter, shown, waiting, rate, errors, last_error, at, lease_time = (
        "" if word is None else text_of(word) for word in report
    )
    owner = None if lease is None else text_of(lease).rpartition(" ")[0]
    is_current = owner == reporter
    # Without the right to read Redis's clock, the age of a report is unknown.
    is_known = bool(at) and not isinstance(now, Exception)
    age = max(0.0, (int(now) - int(at)) / 1000) if is_known else None
    life = int(lease_time or 0) / 1000
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
        reported=age,
        stale=is_current and age is not None and age > life,
        unheld=owner is None and (age is None or age > UNHELD_LEASE_TIMES * life),
        trimmed=_trimmed(counts),
        dead_letters=letters if isinstance(letters, int) else 0,
    )


def _trimmed(counts: object) -> int:
    """Return the number of entries that were trimmed before a group read them."""
    if not isinstance(counts, dict):
        return 0
    found = {text_of(name): int(value) for name, value in counts.items()}
    return sum(value for name, value in found.items() if name.startswith("trimmed "))


def _lag(groups: object) -> int | None:
    """Return the lag of the slowest group; there may be no stream yet, and no group."""
    if not isinstance(groups, list):
        return None
    lags: list[int] = []
    for group in groups:
        lag = {text_of(key): value for key, value in dict(group).items()}.get("lag")
        if lag is None:
            return None
        lags.append(int(lag))
    return max(lags, default=None)
