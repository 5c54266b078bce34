"""Closing in every phase and from any thread, which frees everything.

A fixture checks after each test that nothing is left behind, and waits with timeouts check that
nothing hangs.
"""

from __future__ import annotations

import gc
import math
import signal
import socket
import threading
import weakref

import pytest
from support import (
    PATIENCE,
    Running,
    Signal,
    deaf_listener,
    fill,
    reads_end,
    silent_listener,
    sse_client_for_tests,
)
from systems import needs_posix

from sse_client import (
    SSE,
    ChannelClosed,
    HttpClient,
    ReadyState,
    SessionClosedError,
)
from sse_client.clock import Deadline, acquire
from sse_client.testing import SSEServer


def test_a_blocked_read_ends_and_the_server_sees_the_connection_go(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.send("one")
        session = opening.outcome()
        assert session.incoming.get().data == "one"
        waiting = Running(session.incoming.get)
        session.close()
        assert isinstance(waiting.outcome(), ChannelClosed)
        assert exchange.wait_closed()
        assert session.state is ReadyState.CLOSED
        assert session.error is None


def test_a_blocked_read_over_tls_ends(tls, tls_server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(tls_server.url, verify=tls.ca_bundle))
        exchange = tls_server.accept()
        exchange.send("one")
        session = opening.outcome()
        assert session.incoming.get().data == "one"
        session.close()
        assert exchange.wait_closed()
        assert list(session.incoming) == []


def test_waiting_for_the_header_ends(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)
        assert exchange.wait_closed()


def test_waiting_for_the_header_of_a_reconnection_ends(server):
    server.serve(["one"], then="end")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        exchange = server.accept()
        session.close()
        assert exchange.wait_closed()


def test_waiting_for_the_body_of_an_error_ends(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open(500)
        exchange.write(b"a part")
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)
        assert exchange.wait_closed()


def test_waiting_for_the_body_of_a_redirect_ends(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open(302, {"Location": "/elsewhere"})
        exchange.write(b"a part")
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)
        assert exchange.wait_closed()


def test_connecting_ends():
    with deaf_listener() as port, sse_client_for_tests() as client:
        started = Signal()
        client.install(_Tell, started=started)
        opening = Running(lambda: client.sse(f"http://127.0.0.1:{port}/", timeout=(60, None)))
        started.await_()
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)


class _Tell:
    """A plugin that reports when a request is about to be sent."""

    def __init__(self, started: Signal) -> None:
        self.on_request = started


def test_a_tls_handshake_ends():
    with silent_listener() as (port, accept), sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(f"https://127.0.0.1:{port}/", timeout=(60, None)))
        connection = accept()
        assert connection.recv(1), "the client's hello"
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)
        assert reads_end(connection)


def test_waiting_for_a_proxys_tunnel_ends():
    with silent_listener() as (port, accept), sse_client_for_tests() as client:
        proxies = {"https": f"http://127.0.0.1:{port}"}
        opening = Running(lambda: client.sse("https://127.0.0.1:9/", proxies=proxies))
        connection = accept()
        assert connection.recv(7) == b"CONNECT"
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)
        assert reads_end(connection)


def test_close_returns_while_the_resolver_blocks_and_the_thread_ends_after_it(monkeypatch):
    resolving, answer = threading.Event(), threading.Event()
    ended = Signal()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        resolving.set()
        assert answer.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "no response")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with sse_client_for_tests(on_close=ended) as client:
        opening = Running(lambda: client.sse("http://name.invalid/"))
        assert resolving.wait(PATIENCE)
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)
        assert not ended.is_set()
        answer.set()


def test_the_wait_before_an_attempt_ends(server, sse_clock):
    server.serve(["one"], then="end")
    with sse_client_for_tests(clock=sse_clock, reconnection_time=3600) as client:
        session = client.sse(server.url)
        sse_clock.wait_for_sleepers()
        waiting = Running(lambda: list(session.incoming))
        session.close()
        assert [event.data for event in waiting.outcome()] in ([], ["one"])
    assert len(server.requests) == 1


def test_a_full_channel_without_a_consumer_ends(server):
    with sse_client_for_tests(capacity=2) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        exchange.write(b"data: x\n\n" * 100)
        fill(session.incoming, 2)
        session.close()
        assert exchange.wait_closed()
        with pytest.raises(ChannelClosed):
            session.incoming.get()


@pytest.mark.parametrize("hook", ["on_open", "on_comment", "on_disconnect"])
def test_a_hook_can_close_the_session(server, hook):
    with sse_client_for_tests(**{hook: lambda session, *_: session.close()}) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        if hook == "on_comment":
            exchange.comment("close")
        if hook == "on_disconnect":
            exchange.drop()
        assert list(session.incoming) == []
        assert exchange.wait_closed()
    assert len(server.requests) == 1


def test_closing_in_on_close_does_nothing(server):
    closed = Signal()

    def on_close(session: object) -> None:
        session.close()  # type: ignore[attr-defined]
        closed(session)

    server.serve(["one"], then="stall")
    with sse_client_for_tests(on_close=on_close) as client:
        session = client.sse(server.url)
        session.close()
        closed.await_()
        assert closed.calls == [(session,)]


def test_closing_twice_is_closing_once(server):
    server.serve(["one"], then="stall")
    closed = Signal()
    with sse_client_for_tests(on_close=closed) as client:
        session = client.sse(server.url)
        session.close()
        session.close()
        client.close()
        client.close()
    assert len(closed.calls) == 1


def test_two_threads_can_close_at_once(server):
    server.serve(["one"], then="stall")
    barrier = threading.Barrier(2)
    with sse_client_for_tests() as client:
        session = client.sse(server.url)

        def close() -> None:
            barrier.wait(PATIENCE)
            session.close()

        closing = [Running(close), Running(close)]
        assert [each.outcome() for each in closing] == [None, None]
        assert session.state is ReadyState.CLOSED


def test_no_event_is_delivered_after_close(server):
    server.serve([str(number) for number in range(10)], then="stall")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        fill(session.incoming, 10)
        assert next(session.incoming).data == "0"
        session.close()
        assert list(session.incoming) == []
        assert session.incoming.qsize() == 0
        with pytest.raises(ChannelClosed):
            session.incoming.get_nowait()


def test_no_event_is_delivered_after_the_client_was_closed(server):
    server.serve([str(number) for number in range(10)], then="stall")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        fill(session.incoming, 10)
        client.close()
        assert list(session.incoming) == []


def test_draining_delivers_what_has_arrived(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        exchange.write(b"data: x\n\n" * 10)
        session = opening.outcome()
        fill(session.incoming, 10)
        session.close(drain=True)
        assert exchange.wait_closed()
        assert len(list(session.incoming)) == 10
        assert session.error is None


def test_draining_delivers_also_what_had_no_room(server):
    with sse_client_for_tests(capacity=2) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        exchange.write(b"data: x\n\n" * 10)
        session = opening.outcome()
        fill(session.incoming, 2)
        session.close(drain=True)
        assert len(list(session.incoming)) == 10


def test_closing_a_drained_session_drops_what_is_left(server):
    server.serve(["one"], then="stall")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        fill(session.incoming, 1)
        session.close(drain=True)
        session.close()
        assert list(session.incoming) == []


def test_the_block_closes_the_session(server):
    server.serve(["one"], then="stall")
    with sse_client_for_tests() as client:
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
        assert session.state is ReadyState.CLOSED


def test_an_abandoned_session_closes_itself_with_a_warning(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        opening.result = None
        gone = weakref.ref(session)
        with pytest.warns(ResourceWarning, match="unclosed SSE session to 127.0.0.1"):  # noqa: PT031  # one act
            del session
            gc.collect()
        assert gone() is None
        assert exchange.wait_closed()


def test_nobody_is_told_of_the_end_of_an_abandoned_session(server):
    closed = Signal()
    with sse_client_for_tests(on_close=closed) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        opening.result = None
        reader = session._reader
        with pytest.warns(ResourceWarning, match="unclosed SSE session"):  # noqa: PT031  # one act
            del session
            gc.collect()
        assert exchange.wait_closed()
        reader.join(PATIENCE)
    assert not closed.is_set()


def test_a_session_abandoned_with_a_full_channel_closes_itself(server):
    with sse_client_for_tests(capacity=2) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.write(b"data: x\n\n" * 10)
        session = opening.outcome()
        opening.result = None
        fill(session.incoming, 2)
        with pytest.warns(ResourceWarning, match="unclosed SSE session"):  # noqa: PT031  # one act
            del session
            gc.collect()
        assert exchange.wait_closed()


def test_a_session_in_a_reference_cycle_closes_itself(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        opening.result = None
        session.cycle = session
        with pytest.warns(ResourceWarning, match="unclosed SSE session"):  # noqa: PT031  # one act
            del session
            gc.collect()
        assert exchange.wait_closed()


def test_the_channel_alone_keeps_the_session(server):
    opened = Signal()
    with sse_client_for_tests(on_open=opened, on_comment=opened) as client:
        opening = Running(lambda: client.sse(server.url).incoming)
        exchange = server.accept()
        exchange.send("one")
        channel = opening.outcome()
        opened.await_()
        opened.calls.clear()
        opened.clear()
        assert channel.get().data == "one"
        gc.collect()
        exchange.comment("still there")
        opened.await_()
        session, text = opened.calls.pop()
        assert text == "still there"
        assert session.incoming is channel
        session.close()
        assert list(channel) == []
        assert exchange.wait_closed()


def test_a_loop_over_the_channel_of_an_unnamed_session_goes_on(server):
    server.serve(["one", "two"], then="stall")
    with sse_client_for_tests() as client:
        seen = []
        for event in client.sse(server.url).incoming:
            seen.append(event.data)
            gc.collect()
            if len(seen) == 2:
                client.close()
    assert seen == ["one", "two"]


def test_a_session_can_be_closed_by_a_finaliser(server):
    server.serve(["one"], then="stall")

    class Owner:
        def __init__(self, session: object) -> None:
            self.session = session
            self.cycle = self

        def __del__(self) -> None:
            self.session.close()

    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        Owner(session)
        gc.collect()
        assert session.state is ReadyState.CLOSED


def test_shutting_the_channel_down_ends_the_session(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        session.incoming.shutdown()
        exchange.send("too late")
        assert exchange.wait_closed()
        assert list(session.incoming) == []
        session._reader.join(PATIENCE)
        assert session.error is None


def test_a_thread_that_cannot_start_leaves_nothing(monkeypatch):
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with HttpClient().install(SSE) as client:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            client.sse("http://127.0.0.1:9/")


def test_an_interrupt_while_opening_closes_the_session(server, monkeypatch):
    # Ctrl-C interrupts the main thread while it waits for the first connection.
    def interrupted(lock: threading.Lock, timeout: float) -> bool:
        if threading.current_thread() is threading.main_thread() and timeout == math.inf:
            server.accept()
            raise KeyboardInterrupt
        return acquire(lock, timeout)

    with sse_client_for_tests() as client:
        monkeypatch.setattr("sse_client.channel.waiting.acquire", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.sse(server.url)
        monkeypatch.undo()


@needs_posix
def test_a_signal_just_before_a_wait_is_handled_all_the_same(server, monkeypatch):
    # A signal that another thread receives does not interrupt the wait of the main thread either.
    class ArrivedError(Exception):
        pass

    def handle(*_: object) -> None:
        raise ArrivedError

    server.serve(then="stall")
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            is_waiting = threading.Event()
            raising = Running(
                lambda: is_waiting.wait(PATIENCE) and signal.raise_signal(signal.SIGUSR1)
            )

            def wait(lock: threading.Lock, timeout: float) -> bool:
                is_waiting.set()
                return acquire(lock, timeout)

            monkeypatch.setattr("sse_client.channel.waiting.acquire", wait)
            deadline = Deadline.after(PATIENCE)
            with pytest.raises(ArrivedError):
                session.incoming.get(timeout=PATIENCE)
            assert not deadline.has_passed
            monkeypatch.undo()
            assert raising.outcome() is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_many_sessions_close_together():
    with SSEServer(handler=lambda exchange: exchange.open() or exchange.stall()) as server:
        with sse_client_for_tests() as client:
            sessions = [client.sse(server.url) for _ in range(50)]
            client.close()
            assert {session.state for session in sessions} == {ReadyState.CLOSED}
        names = [thread.name for thread in threading.enumerate()]
        assert not [name for name in names if name.startswith("sse-client:")]


def test_ctrl_c_while_the_channel_is_closed_still_ends_the_stream(server, monkeypatch):
    server.serve(["one"], then="stall")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        assert session.incoming.get().data == "one"

        def interrupted():
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(session.incoming, "close", interrupted)
            with pytest.raises(KeyboardInterrupt):
                session.close()
        assert list(session.incoming) == []
