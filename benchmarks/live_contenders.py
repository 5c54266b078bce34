"""The ways to follow live streams that are compared. Each runs in its own process.

``python benchmarks/live_contenders.py NAME URL STREAMS`` opens the streams and writes a line of
JSON when all are open. Then it waits for a line of three numbers: the first and the last nanosecond
in which events are counted, and the number of events sent in total. The last line that it writes
contains the figures. Until that line it only follows the streams. Its processor time is read from
outside.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import selectors
import socket
import statistics
import sys
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from live_server import raise_file_limit

from sse_client import SSE, EventStreamParser, HttpClient, iter_events, merge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from sse_client import ServerSentEvent, SSESession

    #: When an event reached the consumer, in nanoseconds, and its data.
    Arrived = list[tuple[int, str]]

#: How long to wait for streams to open and for events to arrive, in seconds.
_PATIENCE = 60.0

_READ_SIZE = 64 * 1024

_now = time.monotonic_ns


class Skipped(Exception):  # noqa: N818  # not an error, but a reason
    """The contender cannot be measured here."""


def _merge(url: str, count: int, arrived: Arrived) -> None:
    sessions = _open_sessions(url, count)

    def consume() -> None:
        with merge(sessions) as merged:
            for _, event in merged:
                arrived.append((_now(), event.data))

    start(consume)


def _thread(url: str, count: int, arrived: Arrived) -> None:
    for session in _open_sessions(url, count):
        start(_consume, session.incoming, arrived)


def _open_sessions(url: str, count: int) -> list[SSESession[Any]]:
    client = HttpClient().install(SSE, reconnect="never")
    return [client.sse(url) for _ in range(count)]


def _consume(events: Iterable[Any], arrived: Arrived) -> None:
    for event in events:
        arrived.append((_now(), event.data))


def _iter_events(url: str, count: int, arrived: Arrived) -> None:
    def follow() -> None:
        with requests.get(url, stream=True, timeout=_PATIENCE) as response:
            _consume(iter_events(response), arrived)

    for _ in range(count):
        start(follow)


def _launchdarkly(url: str, count: int, arrived: Arrived) -> None:
    new_client = importlib.import_module("ld_eventsource").SSEClient

    def follow() -> None:
        with new_client(url) as client:
            _consume(client.events, arrived)

    for _ in range(count):
        start(follow)


def _async(url: str, count: int, arrived: Arrived) -> None:
    client: Any = HttpClient().install(SSE, reconnect="never")
    if not hasattr(client, "sse_async"):
        raise Skipped("HttpClient.sse_async is missing")

    async def follow() -> None:
        async with client.sse_async(url) as session:
            async for event in session.incoming:
                arrived.append((_now(), event.data))

    _start_loop(lambda: _all_of(follow, count))


def _aiohttp(url: str, count: int, arrived: Arrived) -> None:
    aiohttp = importlib.import_module("aiohttp")

    async def follow_all() -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        ) as session:

            async def follow() -> None:
                feed = EventStreamParser().feed
                async with session.get(url) as response:
                    async for chunk in response.content.iter_any():
                        for event in feed(chunk):
                            arrived.append((_now(), event.data))

            await _all_of(follow, count)

    _start_loop(follow_all)


def _httpx_sse(url: str, count: int, arrived: Arrived) -> None:
    httpx = importlib.import_module("httpx")
    connect = importlib.import_module("httpx_sse").aconnect_sse
    limits = httpx.Limits(max_connections=None)

    async def follow_all() -> None:
        async with httpx.AsyncClient(timeout=None, trust_env=False, limits=limits) as client:

            async def follow() -> None:
                async with connect(client, "GET", url) as source:
                    async for event in source.aiter_sse():
                        arrived.append((_now(), event.data))

            await _all_of(follow, count)

    _start_loop(follow_all)


def _httpx2(url: str, count: int, arrived: Arrived) -> None:
    httpx2 = importlib.import_module("httpx2")
    limits = httpx2.Limits(max_connections=None)

    async def follow_all() -> None:
        async with httpx2.AsyncClient(timeout=None, trust_env=False, limits=limits) as client:

            async def follow() -> None:
                async with client.sse(url) as source:
                    async for event in source:
                        arrived.append((_now(), event.data))

            await _all_of(follow, count)

    _start_loop(follow_all)


async def _all_of(follow: Callable[[], Awaitable[None]], count: int) -> None:
    await asyncio.gather(*(follow() for _ in range(count)))


def _start_loop(main: Callable[[], Any]) -> None:
    start(lambda: asyncio.run(main()))


class BareStream:
    """A stream without a client: a socket, the chunked coding removed, and our parser.

    It relies on its server: the response is valid, and its head arrives with the first event.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port or 80), _PATIENCE)
        self.socket.sendall(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % address.path.encode())
        self.socket.settimeout(None)
        self._rest = self.socket.recv(_READ_SIZE).partition(b"\r\n\r\n")[2]
        self._feed = EventStreamParser().feed

    def read(self) -> list[ServerSentEvent]:
        """Read once, and return the events that have arrived."""
        received = self.socket.recv(_READ_SIZE)
        if not received:
            raise ConnectionError("the stream has ended")
        return self._events_of(received)

    def first(self) -> list[ServerSentEvent]:
        """Return the events that arrived with the head."""
        return self._events_of(b"")

    def _events_of(self, received: bytes) -> list[ServerSentEvent]:
        content, self._rest = content_of(self._rest + received)
        return self._feed(content)


def content_of(coded: bytes) -> tuple[bytes, bytes]:
    """Return the content of all complete chunks, and the bytes after them."""
    at = 0
    content = []
    while (end := coded.find(b"\r\n", at)) >= 0:
        begin, size = end + 2, int(coded[at:end], 16)
        if len(coded) < begin + size + 2:
            break
        content.append(coded[begin : begin + size])
        at = begin + size + 2
    return content[0] if len(content) == 1 else b"".join(content), coded[at:]


def _floor_threads(url: str, count: int, arrived: Arrived) -> None:
    """Run the minimum: a thread for each stream, a shared queue and a consumer."""
    queue: SimpleQueue[ServerSentEvent] = SimpleQueue()
    for _ in range(count):
        start(_read_all, url, queue.put)
    start(_consume, _items(queue), arrived)


def _floor_bare(url: str, count: int, arrived: Arrived) -> None:
    for _ in range(count):
        start(_read_all, url, lambda event: arrived.append((_now(), event.data)))


def _read_all(url: str, put: Callable[[ServerSentEvent], None]) -> None:
    stream = BareStream(url)
    events = stream.first()
    while True:
        for event in events:
            put(event)
        events = stream.read()


def _items(queue: SimpleQueue[ServerSentEvent]) -> Iterator[ServerSentEvent]:
    while True:
        yield queue.get()


def _floor_selector(url: str, count: int, arrived: Arrived) -> None:
    queue: SimpleQueue[ServerSentEvent] = SimpleQueue()
    start(_select, [(BareStream(url), queue.put) for _ in range(count)])
    start(_consume, _items(queue), arrived)


def _floor_selector_threads(url: str, count: int, arrived: Arrived) -> None:
    streams = []
    for _ in range(count):
        queue: SimpleQueue[ServerSentEvent] = SimpleQueue()
        streams.append((BareStream(url), queue.put))
        start(_consume, _items(queue), arrived)
    start(_select, streams)


def _floor_selector_bare(url: str, count: int, arrived: Arrived) -> None:
    def take(event: ServerSentEvent) -> None:
        arrived.append((_now(), event.data))

    start(_select, [(BareStream(url), take) for _ in range(count)])


def _select(streams: list[tuple[BareStream, Callable[[ServerSentEvent], None]]]) -> None:
    """Read all the streams in one thread."""
    selector = selectors.DefaultSelector()
    for stream, put in streams:
        for event in stream.first():
            put(event)
        selector.register(stream.socket, selectors.EVENT_READ, (stream.read, put))
    while True:
        for key, _ in selector.select():
            read, put = key.data
            for event in read():
                put(event)


MAKERS: dict[str, Callable[[str, int, Arrived], None]] = {
    "merge": _merge,
    "thread": _thread,
    "iter_events": _iter_events,
    "async": _async,
    "launchdarkly": _launchdarkly,
    "aiohttp": _aiohttp,
    "httpx-sse": _httpx_sse,
    "httpx2": _httpx2,
    "floor-threads": _floor_threads,
    "floor-bare": _floor_bare,
    "floor-selector": _floor_selector,
    "floor-selector-threads": _floor_selector_threads,
    "floor-selector-bare": _floor_selector_bare,
}

_failures: list[str] = []


def start(target: Callable[..., object], *arguments: object) -> threading.Thread:
    """Start a thread."""
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def main() -> None:
    """Follow the streams, as the lines on standard input request."""
    name, url, streams = sys.argv[1:]
    count = int(streams)
    raise_file_limit()
    threading.excepthook = lambda failed: _failures.append(repr(failed.exc_value))
    arrived: Arrived = []
    began = time.perf_counter()
    try:
        MAKERS[name](url, count, arrived)
    except (ImportError, Skipped) as reason:
        _tell(skipped=str(reason))
        return
    if not _wait_for(arrived, count):
        _tell(failed=_failures[:1] or f"{len(arrived)} of {count} streams are open")
        return
    open_seconds = time.perf_counter() - began
    gc.collect()
    gc.freeze()
    _tell(open_seconds=open_seconds, threads=threading.active_count() - 1)
    first, last, total = map(int, sys.stdin.readline().split())
    _wait_for(arrived, total)
    gaps = gaps_in([data for _, data in arrived], count)
    delays = [now - int(data.split(" ", 1)[0]) for now, data in arrived if first <= now < last]
    if gaps or len(arrived) != total:
        events = f"{len(arrived)} of {total} events have arrived, {gaps} gaps"
        _tell(failed=_failures[:1] or events)
    elif not delays:
        _tell(failed="no event was received while it was measured")
    else:
        delays.sort()
        _tell(
            events=len(delays),
            median=statistics.median(delays) / 1e6,
            p99=delays[int(len(delays) * 0.99)] / 1e6,
        )


def _tell(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def _wait_for(arrived: Arrived, count: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while len(arrived) < count:
        if _failures or time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def gaps_in(received: Iterable[str], count: int) -> int:
    """Return how many events do not have the number after that of the stream's previous event."""
    expected = [0] * count
    gaps = 0
    for data in received:
        _, stream, sequence, _ = data.split(" ", 3)
        number = int(stream)
        gaps += int(sequence) != expected[number]
        expected[number] = int(sequence) + 1
    return gaps


if __name__ == "__main__":
    main()
