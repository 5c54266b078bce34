"""Judges what the origin and the proxy report: what they saw of the client, by their own clocks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numbered import LEAST_RETRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from follower import Follower

#: How much earlier than the proxy a client may learn of an end, in seconds: its wait has begun.
_TICK = 0.005


@dataclass
class _Seen:
    """What was seen of one stream."""

    follower: Follower
    offered: int = 0
    session: int = 0
    position: int = 0
    not_before: float = 0.0
    dropped_at: float | None = None


class Judge:
    """Judges the requests of each stream.

    The least that any wait may be is known without the client's help: the proxy knows when it has
    dropped a connection, the origin what it has asked for.
    """

    def __init__(self, complain: Callable[[str], object]) -> None:
        self._complain = complain
        self._lock = threading.Lock()  # two children report
        self._streams: dict[str, _Seen] = {}

    def add(self, follower: Follower) -> None:
        self._streams[follower.stream] = _Seen(follower)

    def hear(self, report: dict[str, Any]) -> None:
        """Judge a report."""
        with self._lock:
            seen = self._streams[report.get("stream") or report["lane"]]
            getattr(self, f"_hear_{report['what']}")(seen, report)

    def _hear_offered(self, seen: _Seen, report: dict[str, Any]) -> None:
        seen.offered = max(seen.offered, report["number"])

    def _hear_request(self, seen: _Seen, report: dict[str, Any]) -> None:
        name, session, position = seen.follower.stream, report["session"], report["position"]
        if position > seen.offered:
            self._complain(f"stream {name}: asked for more than {position}, which never was")
        if session == seen.session and position < seen.position:
            self._complain(f"stream {name}: went back from {seen.position} to {position}")
        if session < seen.session:
            return  # the last of a session that was closed, held up on its way
        if session > seen.session:
            seen.not_before = 0.0
        early = seen.not_before - report["at"]
        if early > _TICK:
            self._complain(f"stream {name}: a request {early:.3f} s before Retry-After")
        seen.session, seen.position = session, position
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
