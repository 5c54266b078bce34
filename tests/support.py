"""Helpers for several tests: clients, and ways to wait for another thread without a clock."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sse_client import SSE, HttpClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from sse_client import IncomingChannel
    from sse_client.testing import ManualClock

#: How long a test waits, in seconds. It is far longer than needed, so that only a hang fails.
PATIENCE = 40.0


@contextmanager
def sse_client_for_tests(
    session: requests.Session | None = None, *, clock: ManualClock | None = None, **options: Any
) -> Iterator[HttpClient]:
    """A client that reconnects at once by default."""
    defaults = {"reconnection_time": 0.0, "reconnection_jitter": 0.0}
    with HttpClient(session, clock=clock).install(SSE, **{**defaults, **options}) as client:
        yield client


class Running:
    """A call in its own thread, with a way to wait for its outcome."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:
            self.error = error

    def outcome(self) -> Any:
        """Wait for the end. Return the result or the error."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it hangs"
        return self.result if self.error is None else self.error


class Signal(threading.Event):
    """An event that is set as a hook, and that records the arguments of the hook."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> None:
        self.calls.append(args)
        self.set()

    def await_(self) -> None:
        assert self.wait(PATIENCE), "it never came"


def fill(channel: IncomingChannel, count: int) -> None:
    """Wait until the channel has ``count`` events."""
    await_channel(channel, lambda: channel.qsize() >= count)


def await_channel(channel: IncomingChannel, is_due: Callable[[], object]) -> None:
    """Wait for a condition of the channel that an event or the end brings about."""
    deadline = time.monotonic() + PATIENCE
    while not is_due():
        assert channel._takers.wait(is_due, deadline), "it never came"
    channel._pass_on()  # wake the consumer for which the wake-up was meant


@contextmanager
def deaf_listener() -> Iterator[int]:
    """A port whose backlog is full, so that connecting to it blocks."""
    fillers = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            yield port
        finally:
            for filler in fillers:
                filler.close()


@contextmanager
def silent_listener() -> Iterator[tuple[int, Callable[[], socket.socket]]]:
    """A port that accepts connections and sends nothing, and a function that accepts one."""
    accepted: list[socket.socket] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        listener.settimeout(PATIENCE)

        def accept() -> socket.socket:
            connection, _ = listener.accept()
            connection.settimeout(PATIENCE)
            accepted.append(connection)
            return connection

        try:
            yield listener.getsockname()[1], accept
        finally:
            for connection in accepted:
                connection.close()


def reads_end(connection: socket.socket) -> bool:
    """Read until the other side has gone."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True
