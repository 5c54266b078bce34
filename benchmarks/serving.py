"""The server of the benchmarks: a separate process on 127.0.0.1 with prepared responses.

``/bulk/FRAMING/EVENTS`` sends a backlog as fast as possible. ``/paced/FRAMING/EVENTS`` sends an
event that contains the time every few milliseconds. ``/hold`` sends an event and keeps the stream
open, and ``/go`` sends another event on each of these streams.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import socket
import threading
import time
import zlib
from typing import TYPE_CHECKING

from workloads import all_workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from types import TracebackType

#: Seconds between two paced events.
PACE = 0.005

_SEND_SIZE = 64 * 1024

#: The size of a paced event, which does not depend on the time in it.
_PACED_SIZE = 180

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_UNFRAMED = _HEAD + b"\r\n"
_GZIP = _HEAD + b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Server:
    """The server process, from ``with`` to its end. It has its own core if there are two."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._port, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(theirs, cores()[0]), daemon=True)

    def __enter__(self) -> Callable[[str], str]:
        """Start it, and return a function that converts a path to a URL."""
        self._process.start()
        port: int = self._port.recv()
        return lambda path: f"http://127.0.0.1:{port}{path}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def apart_from_server() -> Iterator[bool]:
    """Run this process on another core than the server. Return whether that is possible."""
    _, core = cores()
    if core is None:
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def backlog(count: int) -> list[bytes]:
    """Return the blocks that ``/bulk`` sends."""
    return list(itertools.islice(itertools.cycle(all_workloads(0.01)[0].blocks), count))


def cores() -> tuple[int, int] | tuple[None, None]:
    """Return the core of the server and that of the client, if there are two."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def _serve(port: Connection, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                path = _read_path(connection)
                if path == "/hold":
                    connection.sendall(_CHUNKED + _chunk(b"data: welcome\n\n"))
                    held.append(connection)
                elif path == "/go":
                    held = [each for each in held if _sends(each, _chunk(b"data: go\n\n"))]
                    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                    connection.close()
                else:
                    threading.Thread(target=_respond, args=(connection, path), daemon=True).start()
            except OSError:
                connection.close()


def _read_path(connection: socket.socket) -> str:
    request = b""
    while b"\r\n\r\n" not in request:
        received = connection.recv(_SEND_SIZE)
        if not received:
            raise ConnectionError
        request += received
    return request.split(b" ", 2)[1].decode()


def _sends(connection: socket.socket, content: bytes) -> bool:
    """Send something, and return whether the client is still there."""
    try:
        connection.sendall(content)
    except OSError:
        connection.close()
        return False
    return True


def _respond(connection: socket.socket, path: str) -> None:
    _, kind, framing, count = path.split("/")
    with connection, contextlib.suppress(OSError):
        if kind == "bulk":
            for piece in _bulk(framing, int(count)):
                connection.sendall(piece)
        else:
            _PACED[framing](connection, int(count))
        connection.shutdown(socket.SHUT_WR)


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _cut(content: bytes) -> list[bytes]:
    return [content[at : at + _SEND_SIZE] for at in range(0, len(content), _SEND_SIZE)]


@functools.cache
def _bulk(framing: str, count: int) -> list[bytes]:
    """Return the pieces to send."""
    blocks = backlog(count)
    if framing == "chunks":
        return [_CHUNKED, *_cut(b"".join(map(_chunk, blocks)) + _LAST_CHUNK)]
    if framing == "coalesced":
        return [_CHUNKED, *map(_chunk, _cut(b"".join(blocks))), _LAST_CHUNK]
    if framing == "close":
        return [_UNFRAMED, *_cut(b"".join(blocks))]
    if framing == "singly":
        return [_CHUNKED, *map(_chunk, blocks), _LAST_CHUNK]
    raise ValueError(framing)


def _paced(count: int) -> Iterator[bytes]:
    """Yield an event every few milliseconds, with the current time."""
    due = time.monotonic()
    for _ in range(count):
        due += PACE
        time.sleep(max(0.0, due - time.monotonic()))
        yield f"data: {time.monotonic_ns()} ".encode().ljust(_PACED_SIZE - 2, b".") + b"\n\n"


def _paced_chunked(connection: socket.socket, count: int) -> None:
    connection.sendall(_CHUNKED)
    for event in _paced(count):
        connection.sendall(_chunk(event))
    connection.sendall(_LAST_CHUNK)


def _paced_length(connection: socket.socket, count: int) -> None:
    connection.sendall(_HEAD + b"Content-Length: %d\r\n\r\n" % (count * _PACED_SIZE))
    for event in _paced(count):
        connection.sendall(event)


def _paced_close(connection: socket.socket, count: int) -> None:
    connection.sendall(_UNFRAMED)
    for event in _paced(count):
        connection.sendall(event)


def _paced_gzip(connection: socket.socket, count: int) -> None:
    connection.sendall(_GZIP)
    packer = zlib.compressobj(wbits=31)
    for event in _paced(count):
        packed = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
        connection.sendall(_chunk(packed))
    connection.sendall(_chunk(packer.flush()) + _LAST_CHUNK)


_PACED: dict[str, Callable[[socket.socket, int], None]] = {
    "chunked": _paced_chunked,
    "length": _paced_length,
    "close": _paced_close,
    "gzip": _paced_gzip,
}
