"""Many idle streams in one process: memory, threads, and the time to open and to close them.

Each contender runs in its own process: ``python benchmarks/live_idle.py NAME URL STREAMS``.
"""

from __future__ import annotations

import gc
import json
import selectors
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import requests
from live_contenders import BareStream, start
from live_server import LiveServer, raise_file_limit
from open_streams import memory_in_use

from sse_client import SSE, HttpClient, SSEClientError, iter_events, merge

if TYPE_CHECKING:
    from collections.abc import Callable

#: The number of streams that ``make bench`` opens.
IDLE = 10_000

TITLES = {
    "merge": "sse_client, merge",
    "requests": "requests alone, not read",
    "floor-selector": "floor: a selector, a queue",
}

#: The number of files that a process needs besides those of the streams.
_OTHER_FILES = 200

#: The time after which opening ends with the streams that are open by then, in seconds.
_LONGEST_OPENING = 60.0

_PATIENCE = 120.0


@dataclass(frozen=True)
class Idle:
    """The figures of one contender.

    Attributes:
        count: The number of open streams.
        size: The growth of the process, in KiB per stream. None if it is not known.
        threads: Threads that were added.
        open_ms: Milliseconds to open a stream, one after another.
        close_seconds: Seconds to close all streams, until all threads have ended.
        limited: Why there are fewer streams than requested, or empty.
    """

    title: str
    count: int
    size: float | None
    threads: int
    open_ms: float
    close_seconds: float
    limited: str


def measure_idle(count: int, *, tell: Callable[[str], None]) -> list[Idle]:
    """Measure each contender with ``count`` streams, or as many as this machine allows."""
    found = []
    for name, title in TITLES.items():
        tell(f"live: {count} idle streams, {name}")
        with LiveServer() as server:
            command = [sys.executable, __file__, name, server.url, str(count)]
            try:
                output = subprocess.run(
                    command, stdout=subprocess.PIPE, check=True, timeout=3 * _PATIENCE
                ).stdout
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                print(f"{count} idle streams, {name}: failed: {error}")
                continue
        found.append(Idle(title, **json.loads(output)))
    return found


class _Merge:
    """Our client with one consumer of all sessions."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = HttpClient().install(SSE, reconnect="never")
        self._sessions: list[Any] = []

    def open(self) -> None:
        self._sessions.append(self._client.sse(self._url))

    def follow(self, took: Callable[[], None]) -> None:
        def consume() -> None:
            for _ in merge(self._sessions):
                took()

        self._consumer = start(consume)

    def close(self) -> None:
        self._client.close()
        self._consumer.join(_PATIENCE)


class _Requests:
    """The responses of a ``requests`` session. After its first event none of them is read."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._responses: list[requests.Response] = []

    def open(self) -> None:
        self._responses.append(self._session.get(self._url, stream=True, timeout=_PATIENCE))

    def follow(self, took: Callable[[], None]) -> None:
        for response in self._responses:
            next(iter_events(response))
            took()

    def close(self) -> None:
        for response in self._responses:
            response.close()
        self._session.close()


class _Selector:
    """The floor: one reader thread for all streams, one consumer, and a queue between them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._streams: list[BareStream] = []
        self._selector = selectors.DefaultSelector()
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._waker, self._wakes = socket.socketpair()
        self._selector.register(self._wakes, selectors.EVENT_READ)

    def open(self) -> None:
        stream = BareStream(self._url)
        self._streams.append(stream)
        self._selector.register(stream.socket, selectors.EVENT_READ, stream)
        for event in stream.first():
            self._queue.put(event)

    def follow(self, took: Callable[[], None]) -> None:
        def consume() -> None:
            while self._queue.get() is not None:
                took()

        self._threads = [start(self._read), start(consume)]

    def close(self) -> None:
        self._waker.close()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _read(self) -> None:
        is_open = True
        while is_open:
            for key, _ in self._selector.select():
                if key.data is None:
                    is_open = False
                else:
                    for event in key.data.read():
                        self._queue.put(event)
        self._selector.close()
        self._wakes.close()
        for stream in self._streams:
            stream.socket.close()
        self._queue.put(None)


_CONTENDERS: dict[str, type[_Merge | _Requests | _Selector]] = {
    "merge": _Merge,
    "requests": _Requests,
    "floor-selector": _Selector,
}


def main() -> None:
    """Open the streams, close them, and write the figures as JSON."""
    name, url, streams = sys.argv[1:]
    wanted = int(streams)
    limit = raise_file_limit() - _OTHER_FILES
    limited = f"{limit + _OTHER_FILES} files at most" if limit < wanted else ""
    warm = _CONTENDERS[name](url)  # imports and objects that are created once do not count
    warm.open()
    warm.follow(lambda: None)
    warm.close()
    del warm
    gc.collect()
    memory, threads = memory_in_use(), threading.active_count()
    taken = threading.Semaphore(0)
    contender = _CONTENDERS[name](url)
    began = time.perf_counter()
    count = 0
    while count < min(wanted, limit):
        if time.perf_counter() - began > _LONGEST_OPENING:
            limited = f"{_LONGEST_OPENING:g} s have passed"
            break
        try:
            contender.open()
        except (RuntimeError, MemoryError, OSError, SSEClientError) as error:
            limited = str(error)
            break
        count += 1
    open_seconds = time.perf_counter() - began
    contender.follow(taken.release)
    for _ in range(count):
        if not taken.acquire(timeout=_PATIENCE):
            raise TimeoutError("an event has not arrived")
    gc.collect()
    grown, added = memory_in_use(), threading.active_count() - threads
    began = time.perf_counter()
    contender.close()
    close_seconds = time.perf_counter() - began
    figures = {
        "count": count,
        "size": None if memory is None or grown is None else (grown - memory) / 1024 / count,
        "threads": added,
        "open_ms": open_seconds / count * 1000,
        "close_seconds": close_seconds,
        "limited": limited,
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
