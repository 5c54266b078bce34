"""The records of the streams of servers with a thread per connection, by key."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The interval between heartbeats of a quiet stream, in seconds. A blocking server detects that its
#: client has gone only when it writes.
HEARTBEAT = 0.05


class Ledger:
    """The record of the streams of one key."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self._acknowledged = 0
        self._ended = 0
        self._changed = threading.Condition()

    def begin(self, method: str, headers: Mapping[str, str]) -> int:
        """Record a request for a stream. Return the number of the first event to send."""
        names = {name.lower(): value for name, value in headers.items()}
        self.requests.append({":method": method, **names})
        return int(names.get("last-event-id", 0)) + 1

    def acknowledge(self, number: int) -> None:
        with self._changed:
            self._acknowledged = number
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def wait_until_ended(self, streams: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended >= streams)

    def numbers(self, first: int, query: Mapping[str, str]) -> Iterator[bytes]:
        """Yield some numbers per connection, then end as requested."""
        last = min(int(query["last"]), first + int(query.get("each", query["last"])) - 1)
        for count in range(first, last + 1):
            yield number(count)
        if query.get("then") == "break":
            raise StreamBreakError
        while query.get("then") == "hold":
            yield from self._wait_for(lambda: False, HEARTBEAT)

    def paced(self, first: int, query: Mapping[str, str]) -> Iterator[bytes]:
        """Yield each number after the previous one was acknowledged."""
        for count in range(first, int(query["last"]) + 1):
            pause = None if "quiet" in query else HEARTBEAT
            yield from self._wait_for(functools.partial(self._is_acknowledged, count - 1), pause)
            yield number(count)

    def _is_acknowledged(self, number: int) -> bool:
        return self._acknowledged >= number

    def _wait_for(self, condition: Callable[[], bool], pause: float | None) -> Iterator[bytes]:
        """Yield a heartbeat every ``pause`` seconds, if any, until the condition holds."""
        while True:
            with self._changed:
                if self._changed.wait_for(condition, pause):
                    return
            yield b":\n\n"

    def answer(self, path: str, query: Mapping[str, str]) -> Any:
        """Respond to a question with JSON, or raise KeyError if it is unknown."""
        if path == "/acknowledge":
            return self.acknowledge(int(query["number"]))
        if path == "/ended":
            return self.wait_until_ended(int(query["streams"]))
        if path == "/requests":
            return self.requests
        raise KeyError(path)


class StreamBreakError(Exception):
    """Breaks off the connection."""


class Ledgers:
    """A ledger for each key."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> Ledger:
        with self._lock:
            return self._ledgers.setdefault(key, Ledger())


def number(count: int) -> bytes:
    return b"id: %d\nevent: number\ndata: number %d\n\n" % (count, count)
