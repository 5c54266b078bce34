"""The server of the live streams: one process that sends events on each stream at a fixed rate.

The streams take turns at equal intervals, each alone or several at the same instant. Each event
contains the time just before it was sent, the number of its stream and its sequence number.
The first event of a stream is sent when the stream is opened. The others follow once ``pace`` is
called.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import socket
import statistics
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType

#: The size of each event with its blank line, in bytes.
EVENT_SIZE = 120

#: Seconds between two checks whether the events must stop.
_TICK = 0.005

#: How long to wait for a process that is stuck, in seconds.
_PATIENCE = 60.0

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True)
class Paced:
    """The figures of the server from ``pace`` to ``stop``.

    Attributes:
        sent: The number of events.
        late: Milliseconds by which events were sent late, the 99th percentile.
        busy: The share of a core that the server used.
    """

    sent: int
    late: float
    busy: float


class LiveServer:
    """The server process, from ``with`` to its end.

    Args:
        core: The core that the process runs on. None means any.
    """

    def __init__(self, core: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._control, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, core), daemon=True)

    def __enter__(self) -> LiveServer:
        """Start it."""
        self._process.start()
        self._port = self._receive()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.kill()
        self._process.join()

    @property
    def url(self) -> str:
        """The URL at which any number of streams can be opened."""
        return f"http://127.0.0.1:{self._port}/live"

    def pace(self, rate: float, together: int = 1) -> None:
        """Begin to send ``rate`` events per second on each stream, ``together`` at an instant."""
        self._control.send((rate, together))

    def stop(self) -> Paced:
        """Stop sending events."""
        self._control.send(None)
        sent, late, busy = self._receive()
        return Paced(sent, late, busy)

    def reset(self) -> None:
        """Close all streams."""
        self._control.send(None)
        self._receive()

    def _receive(self) -> Any:  # noqa: ANN401
        if not self._control.poll(_PATIENCE):
            raise TimeoutError("the server of the live streams does not respond")
        return self._control.recv()


def raise_file_limit() -> int:
    """Raise the number of files that this process may open to the maximum, and return it."""
    if sys.platform == "win32":
        return 8192
    resource = importlib.import_module("resource")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return int(most) if most != resource.RLIM_INFINITY else sys.maxsize


def _serve(control: Connection, core: int | None) -> None:
    raise_file_limit()
    if core is not None:
        os.sched_setaffinity(0, {core})
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        control.send(listener.getsockname()[1])
        while True:
            ready = wait([listener, control])
            if listener in ready:
                with contextlib.suppress(OSError):
                    held.append(_accept(listener, len(held)))
            if control in ready:
                pace = control.recv()
                if pace is None:
                    for connection in held:
                        connection.close()
                    held.clear()
                    control.send(None)
                else:
                    control.send(_pace(held, *pace, control))


def _accept(listener: socket.socket, number: int) -> socket.socket:
    """Read the request of a stream, and send its first event."""
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        received = connection.recv(65536)
        if not received:
            connection.close()
            raise ConnectionError
        request += received
    connection.sendall(_HEAD + _event(number, 0))
    connection.settimeout(0)
    return connection


def _event(number: int, sequence: int) -> bytes:
    data = b"id: %d\ndata: %d %d %d " % (sequence, time.monotonic_ns(), number, sequence)
    return b"%x\r\n%b\n\n\r\n" % (EVENT_SIZE, data.ljust(EVENT_SIZE - 2, b"."))


def _pace(
    held: list[socket.socket], rate: float, together: int, control: Connection
) -> tuple[int, float, float]:
    """Send events until ``stop``. An event that a stream does not accept at once is a gap."""
    late: list[int] = []
    interval = 1e9 / (rate * len(held))
    count = len(held)
    sent = 0
    now = time.monotonic_ns
    began, began_cpu = now(), time.process_time()
    looked = began
    while True:
        while (due := began + int((sent - sent % together) * interval)) <= (instant := now()):
            number = sent % count
            with contextlib.suppress(OSError):
                held[number].send(_event(number, 1 + sent // count))
            late.append(instant - due)
            sent += 1
            if instant - looked > _TICK * 1e9:
                break
        if instant - looked > _TICK * 1e9:
            looked = instant
            if control.poll():
                control.recv()
                break
        time.sleep(min(max(0.0, (due - now()) / 1e9), _TICK))
    busy = (time.process_time() - began_cpu) / ((now() - began) / 1e9)
    return sent, statistics.quantiles(late, n=100)[-1] / 1e6 if sent > 1 else 0.0, busy
