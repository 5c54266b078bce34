"""Judges the client by the reports of the origin and the proxy, with their own clocks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from follower import READ_TIMEOUT
from numbered import LEAST_RETRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from follower import Follower

#: How much earlier than the proxy a client may learn of an end, in seconds: its wait has begun.
_TICK = 0.005


@dataclass
class _Seen:
    """The observations of one stream."""

    follower: Follower
    offered: int = 0
    session: int = 0
    position: int = 0
    requested_at: float = 0.0
    not_before: float = 0.0
    dropped_at: float | None = None


class Judge:
    """Judges the requests of each stream.

    The minimum of each wait is known without the client: the proxy knows when it dropped a
    connection, and the origin knows the time it asked for.
    """

    def __init__(self, complain: Callable[[str], object]) -> None:
        self._complain = complain
        self._lock = threading.Lock()  # two child processes report
        self._streams: dict[str, _Seen] = {}

    def add(self, follower: Follower) -> None:
        self._streams[follower.stream] = _Seen(follower)

    def hear(self, report: dict[str, Any]) -> None:
        """Check a report."""
        with self._lock:
            seen = self._streams[report.get("stream") or report["lane"]]
            getattr(self, f"_hear_{report['what']}")(seen, report)

    def _hear_offered(self, seen: _Seen, report: dict[str, Any]) -> None:
        seen.offered = max(seen.offered, report["number"])

    def _hear_request(self, seen: _Seen, report: dict[str, Any]) -> None:
        name, session, position = seen.follower.stream, report["session"], report["position"]
        if position > seen.offered:
            self._complain(f"stream {name}: asked for events after {position}, a future one")
        if session == seen.session and position < seen.position:
            self._complain(f"stream {name}: went back from {seen.position} to {position}")
        if session < seen.session:
            return  # the last request of a session that was closed, delayed on its way
        if session > seen.session:
            seen.not_before = 0.0
        early = seen.not_before - report["at"]
        # On a busy machine the client may have given up waiting for the header, and not know
        # Retry-After.
        if early > _TICK and report["at"] - seen.requested_at < READ_TIMEOUT:
            self._complain(f"stream {name}: a request {early:.3f} s before Retry-After")
        seen.session, seen.position, seen.requested_at = session, position, report["at"]
        seen.not_before = report["at"] + report["asks"] if report["asks"] else 0.0

    def _hear_dropped(self, seen: _Seen, report: dict[str, Any]) -> None:
        if not seen.follower.is_excused:
            seen.dropped_at = report["at"]

    def _hear_accepted(self, seen: _Seen, report: dict[str, Any]) -> None:
        if seen.dropped_at is not None and not seen.follower.is_excused:
            early = seen.dropped_at + LEAST_RETRY / 1000 - report["at"]
            if early > _TICK:
                name = seen.follower.stream
                self._complain(f"stream {name}: a connection {early:.3f} s too early")
        seen.dropped_at = None
