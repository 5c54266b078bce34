"""The applications of ``docs/howto/asyncio.md``, under uvicorn in this process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pages import ROOT, read_blocks
from support import PATIENCE, Running, reads_end, sse_client_for_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sse_client.testing import Exchange

pytestmark = [pytest.mark.ci, pytest.mark.interop, pytest.mark.slow]

PAGE = ROOT / "docs" / "howto" / "asyncio.md"
_, FAN_OUT, ONE_EACH = [block for block in read_blocks(PAGE) if block.language == "python"]

#: A large event, and the number of such events that fill the buffers between two sockets.
LARGE = "x" * 65536
MANY = 300


class Upstream:
    """Keeps the open streams, so that the test can send events."""

    def __init__(self, server):
        self._streams: list[Exchange] = []
        self._changed = threading.Condition()
        server.handler = self._handle

    def _handle(self, exchange):
        exchange.open()
        with self._changed:
            self._streams.append(exchange)
            self._changed.notify_all()
        exchange.stall()

    def streams(self, count: int) -> list[Exchange]:
        """Wait until ``count`` streams are open, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._streams) >= count, PATIENCE)
            return self._streams[:]


class Application:
    """An application of the page, while uvicorn runs it in a thread."""

    def __init__(self, names: dict[str, Any]) -> None:
        import uvicorn

        self.names = names
        config = uvicorn.Config(
            names["app"], port=0, log_level="error", timeout_graceful_shutdown=1, lifespan="on"
        )
        self._server = uvicorn.Server(config)
        self._running = Running(self._server.run)
        await_(lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}/events"

    def stop(self) -> None:
        self._server.should_exit = True
        assert self._running.outcome() is None

    @contextlib.contextmanager
    def idle_client(self) -> Iterator[socket.socket]:
        """Request the events, and read none of them."""
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.settimeout(PATIENCE)
            connection.connect(self.address)
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            yield connection


def await_(is_due: Callable[[], object]) -> None:
    deadline, pause = time.monotonic() + PATIENCE, threading.Event()
    while not is_due():
        assert time.monotonic() < deadline, "it never came"
        pause.wait(0.005)


def stands_still(count: Callable[[], int]) -> bool:
    """Wait until a number has stayed the same for a moment: everything is blocked by then."""
    before, same, pause = -1, 0, threading.Event()
    while same < 20:
        now = count()
        before, same = now, same + 1 if now == before else 0
        pause.wait(0.01)
    return True


@pytest.fixture
def upstream(server):
    return Upstream(server)


@pytest.fixture
def run(server, upstream):
    """Run an application of the page, and stop it at the end of the block."""
    # Not at the top, because each process of a run imports each module, and these take half a
    # second.
    pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    with contextlib.ExitStack() as stack:

        def start(block, **replaced):
            application = Application(block.run(server.url, replaced))
            stack.callback(application.stop)
            return application

        yield start


@pytest.fixture
def follow():
    """Open a stream, and close it at the end of the block."""
    with sse_client_for_tests() as client, contextlib.ExitStack() as stack:
        yield lambda url: stack.enter_context(client.sse(url))


class TestFanOut:
    def test_hands_each_event_to_each_client(self, run, upstream, follow):
        application = run(FAN_OUT)
        (stream,) = upstream.streams(1)
        sessions = [follow(application.url) for _ in range(2)]
        await_(lambda: len(application.names["listeners"]) == 2)
        for data in ("one", "two"):
            stream.send(data)
        for session in sessions:
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
        assert len(upstream.streams(1)) == 1

    def test_a_client_that_leaves_takes_its_listener_along_and_no_event(
        self, run, upstream, follow
    ):
        application = run(FAN_OUT)
        (stream,) = upstream.streams(1)
        leaving, staying = follow(application.url), follow(application.url)
        listeners = application.names["listeners"]
        await_(lambda: len(listeners) == 2)
        stream.send("1")
        assert leaving.incoming.get().data == "1"
        leaving.close()
        for number in range(2, 6):
            stream.send(str(number))
        await_(lambda: len(listeners) == 1)
        assert [staying.incoming.get().data for _ in range(5)] == ["1", "2", "3", "4", "5"]

    def test_a_client_that_reads_nothing_delays_no_other(self, run, upstream, follow):
        application = run(FAN_OUT)
        (stream,) = upstream.streams(1)
        session = follow(application.url)
        listeners = application.names["listeners"]
        await_(lambda: len(listeners) == 1)
        (other,) = listeners
        with application.idle_client():
            await_(lambda: len(listeners) == 2)
            (slow,) = listeners - {other}
            for number in range(MANY):
                stream.send(f"{number} {LARGE}")
                assert session.incoming.get().data.split()[0] == str(number)
            assert slow.full()

    def test_stops_while_clients_are_connected(self, run, upstream):
        application = run(FAN_OUT)
        (stream,) = upstream.streams(1)
        with application.idle_client() as connection:
            await_(lambda: application.names["listeners"])
            application.stop()
            assert reads_end(connection)
        assert stream.wait_closed(PATIENCE)


class TestOneEach:
    def test_a_client_that_leaves_closes_its_session(self, run, upstream, follow):
        application = run(ONE_EACH)
        session = follow(application.url)
        (stream,) = upstream.streams(1)
        stream.send("one")
        assert session.incoming.get().data == "one"
        session.close()
        assert stream.wait_closed(PATIENCE)
        await_(lambda: not application.names["client"]._unclosed())

    def test_a_client_that_reads_nothing_holds_its_own_stream_back_and_misses_nothing(
        self, run, upstream
    ):
        address = '"http://127.0.0.1:8080/events"'
        application = run(ONE_EACH, **{address: f"{address}, capacity=4"})
        with application.idle_client() as connection:
            (stream,) = upstream.streams(1)

            def send() -> None:
                for number in range(MANY):
                    stream.send(f"{number} {LARGE}")
                stream.end()

            sending = Running(send)
            (reader,) = application.names["client"]._unclosed()
            assert stands_still(lambda: reader.stream.statistics.events)
            assert reader.stream.statistics.events < MANY
            assert sending._thread.is_alive()
            received = bytearray()
            while b"data: %d x" % (MANY - 1) not in received[-2 * len(LARGE) :]:
                received += connection.recv(1 << 20)
            assert sending.outcome() is None
        positions = [received.index(b"data: %d x" % number) for number in range(MANY)]
        assert positions == sorted(positions)

    def test_stops_while_clients_are_connected(self, run, upstream):
        application = run(ONE_EACH)
        with application.idle_client() as connection:
            (stream,) = upstream.streams(1)
            application.stop()
            assert reads_end(connection)
        assert stream.wait_closed(PATIENCE)
