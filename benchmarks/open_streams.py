"""Many open streams: the memory and threads that each takes, and the time to close all.

Each case runs in its own process, so that cases do not affect each other.
"""

from __future__ import annotations

import functools
import gc
import importlib
import multiprocessing
import os
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving import Server

from sse_client import SSE, HttpClient, IncomingChannel

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

COUNTS = (1, 200, 1000)

OURS_ONE_BY_ONE = "sse_client, closed one by one"
OURS_TOGETHER = "sse_client, client.close()"
_PEER = "launchdarkly-eventsource, a thread each"

#: The goals: the maximum KiB per stream, and the maximum seconds to close all streams.
GREATEST_SIZE = 49.0
GREATEST_CLOSE = {200: 0.1, 1000: 1.0}

#: The number of events that each stream delivers: one on opening, the others on demand.
_EVENTS = 3

#: How long to wait for anything that is stuck, in seconds.
_PATIENCE = 30.0


@dataclass
class Streams:
    """The figures for a number of open streams.

    Attributes:
        size: The growth of the process, in KiB per stream. None if it is not known.
        threads: Threads that were added per stream.
        close_seconds: From the first call to close until all threads have ended.
        threads_left: Threads that were left a moment later.
        files_left: File descriptors that were left. None if that is not known.
    """

    contender: str
    count: int
    size: float | None
    threads: float
    close_seconds: float
    threads_left: int
    files_left: int | None

    def goals(self) -> list[bool]:
        """Return, for each goal, whether it is met."""
        if self.contender == _PEER:
            return []
        goals = [self.threads <= 1, self.threads_left == 0]
        if self.count > 1 and self.size is not None:
            goals.append(self.size <= GREATEST_SIZE)
        if self.count in GREATEST_CLOSE:
            goals.append(self.close_seconds <= GREATEST_CLOSE[self.count])
        return goals


@dataclass
class OpenStreams:
    """The figures of all cases."""

    cases: list[Streams]


def measure(*, quick: bool, tell: Callable[[str], None]) -> OpenStreams:
    """Measure each contender with each number of streams."""
    cases: list[Streams] = []
    context = multiprocessing.get_context("spawn")
    with Server() as url_for:
        for count in COUNTS[:2] if quick else COUNTS:
            for name in _CONTENDERS:
                tell(f"streams: {count}, {name}")
                receiver, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=_measure_one,
                    args=(theirs, name, count, url_for("/hold"), url_for("/go")),
                )
                process.start()
                theirs.close()
                try:
                    if receiver.poll(4 * _PATIENCE) and isinstance(
                        case := receiver.recv(), Streams
                    ):
                        cases.append(case)
                except EOFError:
                    print(f"{count} streams, {name}: failed")
                finally:
                    process.kill()
                    process.join()
    return OpenStreams(cases)


def _measure_one(receiver: Connection, name: str, count: int, url: str, go: str) -> None:
    _raise_file_limit()
    opened = _CONTENDERS[name]
    _, close = opened(url, go, 1)  # imports and objects that are created once do not count
    close()
    gc.collect()
    memory, threads, files = memory_in_use(), threading.active_count(), _open_files()
    kept, close = opened(url, go, count)
    gc.collect()
    grown, added = memory_in_use(), threading.active_count() - threads
    began = time.perf_counter()
    close()
    close_seconds = time.perf_counter() - began
    del kept
    gc.collect()
    left = _open_files()
    receiver.send(
        Streams(
            name,
            count,
            None if memory is None or grown is None else (grown - memory) / 1024 / count,
            added / count,
            close_seconds,
            threading.active_count() - threads,
            None if left is None or files is None else left - files,
        )
    )


#: The objects to keep, and a function that closes them and waits until they are closed.
_Opened = tuple[object, "Callable[[], None]"]


def _open_ours(url: str, go: str, count: int, *, together: bool) -> _Opened:
    client = HttpClient().install(SSE, reconnect="never")
    sessions = [client.sse(url) for _ in range(count)]
    channels: list[IncomingChannel] = [session.incoming for session in sessions]
    _take(channels)
    for _ in range(_EVENTS - 1):
        _send_to_all(go)
        _take(channels)

    def close() -> None:
        if not together:
            for session in sessions:
                session.close()
        client.close()

    return sessions, close


def _take(channels: list[IncomingChannel]) -> None:
    for channel in channels:
        channel.get(timeout=_PATIENCE)


def _open_launchdarkly(url: str, go: str, count: int) -> _Opened:
    new_client = importlib.import_module("ld_eventsource").SSEClient
    arrived = threading.Semaphore(0)
    clients = [new_client(url) for _ in range(count)]

    def consume(number: int) -> None:
        for _ in clients[number].events:
            arrived.release()

    readers = [threading.Thread(target=consume, args=(n,), daemon=True) for n in range(count)]
    for reader in readers:
        reader.start()
    _wait_for(arrived, count)
    for _ in range(_EVENTS - 1):
        _send_to_all(go)
        _wait_for(arrived, count)

    def close() -> None:
        for client in clients:
            client.close()
        deadline = time.monotonic() + _PATIENCE
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))

    return readers, close


def _wait_for(arrived: threading.Semaphore, count: int) -> None:
    for _ in range(count):
        if not arrived.acquire(timeout=_PATIENCE):
            raise TimeoutError("an event has not arrived")


def _send_to_all(go: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(go, timeout=_PATIENCE):
        pass


_CONTENDERS: dict[str, Callable[[str, str, int], _Opened]] = {
    OURS_TOGETHER: functools.partial(_open_ours, together=True),
    OURS_ONE_BY_ONE: functools.partial(_open_ours, together=False),
    _PEER: _open_launchdarkly,
}


def _raise_file_limit() -> None:
    if sys.platform != "win32":
        resource = importlib.import_module("resource")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def memory_in_use() -> int | None:
    """Return the bytes of memory that the process has in use."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int | None:
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return None
