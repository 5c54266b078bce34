"""The thread that many streams share, and its guarantees for each of them."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import select
import selectors
import socket
import threading
import warnings
from types import ModuleType, SimpleNamespace

import pytest
import requests
from support import PATIENCE, Running, Signal, await_channel, fill, sse_client_for_tests

from sse_client import (
    SSE,
    HttpClient,
    IdleTimeoutError,
    ReadyState,
    SessionClosedError,
    StreamInterruptedError,
    TotalTimeoutError,
    merge,
)
from sse_client.clock import Deadline
from sse_client.http import aborting, stream_body
from sse_client.http.arrived_body import ArrivedBody
from sse_client.http.request import RequestDescription
from sse_client.http.response_head import BoundedFile
from sse_client.http.stream_body import StreamBody
from sse_client.session import greenlets, launches, merging, poller, reader, shared_reader
from sse_client.session.followed_stream import FollowedStream
from sse_client.session.merge_bell import LockBell
from sse_client.session.poller import new_poller
from sse_client.session.shared_reader import SharedReader, can_share
from sse_client.session.shared_stream import ParkedStream, Phase
from sse_client.testing import SSEServer

SHARED = "sse-client:reader"


def names() -> list[str]:
    """The threads of the package."""
    return sorted(each.name for each in threading.enumerate() if each.name.startswith("sse-client"))


def await_thread(*expected: str) -> None:
    """Wait for the ending threads, and for those that they start before they end."""
    deadline = Deadline.after(PATIENCE)
    while (found := names()) != sorted(expected) and not deadline.has_passed:
        for thread in threading.enumerate():
            if thread.name in found and thread.name not in expected:
                with contextlib.suppress(RuntimeError):  # it is just being started
                    thread.join(deadline.seconds_left())
    assert names() == sorted(expected)


def referred_to(root: object, kind: type) -> list[object]:
    """The objects of a kind to which an object refers, even indirectly, but not through modules."""

    def is_of_module(value):
        is_globals = isinstance(value, dict) and "__builtins__" in value
        return is_globals or isinstance(value, type | ModuleType)

    seen, found, new = {id(root)}, [], [root]
    while new:
        kept = {id(each): each for each in gc.get_referents(*new)}
        new = [each for key, each in kept.items() if key not in seen and not is_of_module(each)]
        seen.update(kept)
        found += [each for each in new if isinstance(each, kind)]
    return found


def await_that(is_so):
    """Wait for a condition that nothing signals, such as the end of a turn of the shared thread."""
    deadline = Deadline.after(PATIENCE)
    while not is_so():
        assert not deadline.has_passed


#: The sessions of a test, so that none is abandoned before it is closed.
opened = []


@pytest.fixture(autouse=True)
def _keep():
    opened.clear()
    yield
    opened.clear()


@pytest.fixture
def client(_keep):
    with sse_client_for_tests(reconnect="never") as client:
        yield client


class Stream:
    """A session, and the server's end of it."""

    def __init__(self, server, client, begin=lambda exchange: exchange.open(), **options):
        opening = Running(lambda: client.sse(server.url, **options))
        self.exchange = server.accept()
        begin(self.exchange)
        outcome = opening.outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        self.session = outcome
        opened.append(outcome)

    def next(self):
        return self.session.incoming.get(timeout=PATIENCE).data


# Threads.


def test_open_streams_have_one_thread_and_none_when_they_are_closed(server, client):
    streams = [Stream(server, client) for _ in range(10)]
    await_thread(SHARED)
    for number, stream in enumerate(streams):
        stream.exchange.send(str(number))
    assert [stream.next() for stream in streams] == [str(number) for number in range(10)]
    for stream in streams[1:]:
        stream.session.close()
    assert names() == [SHARED]
    streams[0].session.close()
    assert names() == []
    Stream(server, client).session.close()
    assert names() == []


def test_a_quiet_stream_keeps_no_read_buffer_no_hooks_of_ours_and_no_makers_of_requests(
    server, client
):
    with contextlib.closing(requests.Session()) as http:
        hook = http.hooks["response"]
        hook.append(seen := lambda response, **_: None)
        client = HttpClient(session=http).install(SSE, reconnect="never")
        opened.append(client)
        stream = Stream(server, client)
        stream.exchange.send("one")
        assert stream.next() == "one"
        assert stream.session.response.request.hooks == {"response": [seen]}
        connection = stream.session._reader._connection
        assert not referred_to(connection, BoundedFile)
        assert not referred_to(connection, RequestDescription)
        client.close()


def test_each_client_has_its_own(server):
    with sse_client_for_tests() as first, sse_client_for_tests() as second:
        for each in (first, second):
            Stream(server, each)
        await_thread(SHARED, SHARED)


@pytest.mark.parametrize(
    "options",
    [
        {"own_thread": True},
        {"on_comment": print},
        {"end_of_stream": lambda event: False},
        {"error_event": lambda event: False},
        {"counts_as_event": lambda event: True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_calls_a_function_has_a_thread_of_its_own(server, client, options):
    stream = Stream(server, client, **options)
    stream.exchange.send("one")
    assert stream.next() == "one"
    assert names() == ["sse-client:127.0.0.1"]


def test_encoded_content_has_a_thread_of_its_own(server, client):
    stream = Stream(
        server,
        client,
        lambda exchange: exchange.open(content_encoding="gzip"),
        headers={"Accept-Encoding": "gzip"},
    )
    stream.exchange.send("one")
    assert stream.next() == "one"
    assert names() == ["sse-client:127.0.0.1"]


@pytest.mark.parametrize("options", [{"end_of_stream": "end"}, {"error_event": "error"}])
def test_what_compares_a_word_does_not(server, client, options):
    stream = Stream(server, client, **options)
    await_thread(SHARED)
    stream.exchange.send("one")
    assert stream.next() == "one"


def test_one_that_cannot_be_taken_over_leaves_no_thread(server, client, monkeypatch):
    def refuse(body):
        raise OSError("out of descriptors")

    monkeypatch.setattr(StreamBody, "without_blocking", refuse)
    stream = Stream(server, client)
    with pytest.raises(OSError, match="out of descriptors"):
        stream.next()
    await_thread()


class TestWithout:
    """Without a shared thread, each stream has its own."""

    def check(self, server, client):
        stream = Stream(server, client)
        await_thread("sse-client:127.0.0.1")
        stream.exchange.send("one")
        assert stream.next() == "one"
        stream.session.close()

    def test_descriptors(self, server, client, monkeypatch):
        def refuse():
            raise OSError("too many open files")

        without = SimpleNamespace(socketpair=refuse, socket=socket.socket)
        monkeypatch.setattr(shared_reader, "socket", without)
        self.check(server, client)

    def test_threads(self, server, client, monkeypatch):
        start = threading.Thread.start

        def refuse(thread):
            if thread.name == SHARED:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        self.check(server, client)

    @pytest.mark.parametrize("replaced", ["selector", "socket", "select alone"])
    def test_what_a_library_of_greenlets_replaces(self, server, monkeypatch, replaced):
        class Selector(selectors.DefaultSelector):
            __module__ = "greenlets"

        class Socket(socket.socket):
            __module__ = "greenlets"

        with monkeypatch.context() as patched:
            if replaced == "socket":
                patched.setattr(greenlets, "socket", SimpleNamespace(socket=Socket))
            else:
                new = Selector if replaced == "selector" else selectors.SelectSelector
                usual = SimpleNamespace(
                    DefaultSelector=new, SelectSelector=selectors.SelectSelector
                )
                patched.setattr(shared_reader, "selectors", usual)
            assert not can_share()
            with HttpClient().install(SSE, reconnect="never") as client:
                self.check(server, client)


class TestAProcessThatMayStartNoMoreThreads:
    """As in a container at its limit of processes: streams that lose their connection wait."""

    @pytest.fixture
    def client(self, _keep):
        with sse_client_for_tests() as client:
            yield client

    @pytest.fixture
    def limit(self, client, monkeypatch):
        """Set once the client's streams have reached the limit. Clearing it lifts the limit."""
        start, limit = threading.Thread.start, SimpleNamespace(met=Signal(), holds=False)

        def refuse(thread):
            if limit.holds and thread.name == "sse-client:127.0.0.1":
                limit.met.set()
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        yield limit
        limit.holds = False

    @pytest.fixture
    def streams(self, server, client, limit):
        streams = [Stream(server, client) for _ in range(4)]
        await_thread(SHARED)
        limit.holds = True
        return streams

    def test_delays_no_other_stream(self, server, streams, limit, caplog):
        caplog.set_level(logging.INFO, "sse_client")
        *lost, other = streams
        for stream in lost:
            stream.exchange.drop()
        for _ in range(2):  # another attempt
            limit.met.await_()
            limit.met.clear()
        other.exchange.send("one")
        assert other.next() == "one"
        assert len(server.requests) == 4
        assert {stream.session.state for stream in lost} <= {ReadyState.OPEN, ReadyState.CONNECTING}
        limit.holds = False
        for number in range(3):
            exchange = server.accept()
            exchange.open()
            exchange.send(str(number))
        assert sorted(stream.next() for stream in lost) == ["0", "1", "2"]
        await_thread(SHARED)
        (record,) = [each for each in caplog.records if "no thread" in each.getMessage()]
        assert (record.levelname, record.sse_name) == ("WARNING", "127.0.0.1")

    def test_sees_a_request_that_comes_during_a_failing_start(
        self, client, streams, limit, monkeypatch
    ):
        target, start = streams[0].session._reader, threading.Thread.start
        monkeypatch.setattr(launches, "RETRY_TIME", 3600.0)

        def stop_first(thread):
            if getattr(thread._target, "__self__", None) is target:
                monkeypatch.setattr(threading.Thread, "start", start)
                target.stop()
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", stop_first)
        streams[0].exchange.drop()
        assert Running(lambda: target.join(3600)).outcome() is None

    def test_closes_a_stream_that_waits(self, client, streams, limit):
        streams[0].exchange.drop()
        limit.met.await_()
        streams[0].session.close()
        assert names() == [SHARED]
        assert streams[0].session.state is ReadyState.CLOSED
        client.close()
        assert names() == []

    def test_reconnects_a_stream_at_once_when_it_is_asked_to(self, server, streams, limit):
        streams[0].exchange.drop()
        limit.met.await_()
        limit.holds = False
        streams[0].session.reconnect()
        exchange = server.accept()
        exchange.open()
        exchange.send("one")
        assert streams[0].next() == "one"

    def test_forgets_a_stream_that_is_abandoned(self, server, streams, limit):
        streams[0].exchange.drop()
        limit.met.await_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            opened.clear()
            del streams[:]
            gc.collect()
        await_thread()


class TestAStreamWhoseTotalTimePassesWhileItWaitsForAThread:
    """It ends at once, not at its turn."""

    def ends(self, stream):
        with pytest.raises(TotalTimeoutError):
            stream.session.incoming.get(timeout=PATIENCE)

    @pytest.mark.parametrize("hook", [False, True])
    def test_ends_while_the_attempts_of_others_hang(self, server, monkeypatch, hook):
        monkeypatch.setattr(launches, "PLACES", 1)
        monkeypatch.setattr(launches, "INTERVAL", 3600.0)
        closed = Signal()
        hooks = {"on_close": closed} if hook else {}
        with sse_client_for_tests() as client:
            hanging = Stream(server, client)
            stream = Stream(server, client, total_timeout=1.5, **hooks)
            hanging.exchange.drop()
            server.accept()  # of its next attempt, which gets no response
            stream.exchange.drop()
            self.ends(stream)
            if hook:
                closed.await_()
            assert client._shared._timers.next_moment is None
            assert stream.session.statistics.attempts == 1

    def test_ends_without_a_thread_if_it_calls_no_function(self, server, monkeypatch):
        start = threading.Thread.start
        refuses = threading.Event()

        def refuse(thread):
            if refuses.is_set() and thread.name == "sse-client:127.0.0.1":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with sse_client_for_tests(reconnection_time=60.0) as client:
            lost = Signal()
            stream = Stream(server, client, total_timeout=1.5, on_disconnect=lambda *_: lost.set())
            stream.exchange.drop()
            lost.await_()
            await_thread(SHARED)
            refuses.set()
            self.ends(stream)

    def test_waits_for_its_turn_if_no_thread_can_be_started_for_its_hook(self, server, monkeypatch):
        start = threading.Thread.start
        refuses, refused, closed = threading.Event(), Signal(), Signal()

        def refuse(thread):
            if refuses.is_set() and thread.name == "sse-client:127.0.0.1":
                refused.set()
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with sse_client_for_tests(reconnection_time=0.05) as client:
            stream = Stream(server, client, total_timeout=1.5, on_close=closed)
            await_thread(SHARED)
            refuses.set()
            stream.exchange.drop()
            await_that(lambda: client._shared._timers.next_moment is not None)
            await_that(lambda: client._shared._timers.next_moment is None)  # the time has passed
            refused.await_()
            refuses.clear()
            closed.await_()
            self.ends(stream)


def test_a_few_threads_start_per_turn_however_fast_the_attempts_are():
    reader, resumed = SharedReader(), []

    def resume(*, has_turn):
        resumed.append(has_turn)
        reader.end_turn()
        return True

    owner = SimpleNamespace(name="a.example", resume=resume)
    for _ in range(1000):
        reader._launches.add(ParkedStream(owner, 0.0))
    reader._launch()
    assert 0 < len(resumed) < launches.PLACES


def test_after_the_end_of_the_main_thread_a_stream_waits_on_its_own_thread(server, monkeypatch):
    """From then on Python 3.12 starts no threads."""
    with sse_client_for_tests(reconnection_time=0.05) as client:
        plain = Stream(server, client)
        stream = Stream(server, client, on_comment=lambda *_: None)
        await_thread(SHARED, "sse-client:127.0.0.1")
        start = threading.Thread.start

        def refuse(thread):
            if thread.name == "sse-client:127.0.0.1":
                raise RuntimeError("can't create new thread at interpreter shutdown")
            start(thread)

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            patched.setattr(reader, "main_thread_has_ended", lambda: True)
            stream.exchange.drop()
            exchange = server.accept()
            exchange.open()
            exchange.send("again")
            assert stream.next() == "again"
            plain.exchange.send("one")
            assert plain.next() == "one"


class TestAStreamThatWaitsToReconnect:
    """It does not need its own thread."""

    @pytest.fixture
    def lost(self, server):
        """A stream that has lost its connection, and waits for a minute."""
        with sse_client_for_tests(reconnection_time=60.0, reconnection_jitter=0.0) as client:
            waits = Signal()
            stream = Stream(server, client, on_disconnect=lambda *_: waits.set())
            stream.client, stream.server = client, server
            stream.exchange.drop()
            waits.await_()
            await_thread(SHARED)
            yield stream

    def come_back(self, server, stream):
        exchange = server.accept()
        exchange.open()
        exchange.send("again")
        assert stream.next() == "again"
        await_thread(SHARED)

    def test_has_none(self, lost):
        assert lost.session.state is ReadyState.CONNECTING
        assert lost.session.statistics.delay == 60.0

    def test_reconnects_when_the_time_has_come(self, server):
        with sse_client_for_tests(reconnection_time=0.05) as client:
            streams = [Stream(server, client) for _ in range(3)]
            for stream in streams:
                stream.exchange.drop()
            for _ in streams:
                exchange = server.accept()
                exchange.open()
                exchange.send("again")
            assert [stream.next() for stream in streams] == ["again"] * 3
            assert streams[0].session.statistics.delay is None

    def test_goes_on_waiting_if_it_is_woken_for_nothing(self, server, lost):
        lost.session.incoming.room.ring()
        other = Stream(server, lost.client)  # the shared thread has handled the first one by then
        other.exchange.send("one")
        assert other.next() == "one"
        assert lost.session.state is ReadyState.CONNECTING
        assert len(server.requests) == 2

    def test_reconnects_when_it_is_asked_to(self, server, lost):
        lost.session.reconnect()
        self.come_back(server, lost)

    def test_can_be_closed(self, lost):
        lost.session.close()
        assert names() == []
        assert lost.session.state is ReadyState.CLOSED

    def test_can_be_closed_with_its_client(self, lost):
        lost.client.close()
        assert names() == []

    def test_keeps_nothing_of_the_lost_connection(self, lost, server):
        assert lost.session._reader._outcome.loss is None
        lost.session.reconnect()
        self.come_back(server, lost)
        assert lost.session._reader._outcome is None

    def test_leaves_no_timer_behind_when_it_is_closed(self, lost):
        other = Stream(lost.server, lost.client)
        lost.session.close()
        other.exchange.send("one")
        assert other.next() == "one"
        assert lost.client._shared._timers.next_moment is None

    def test_can_be_stopped_after_a_signal_handler_has_interrupted_a_poke(self, lost, monkeypatch):
        class Interrupt(BaseException):
            pass

        def interrupt():
            monkeypatch.setattr(shared, "_wake", wake)
            raise Interrupt

        other = Stream(lost.server, lost.client)
        other.exchange.send("one")
        assert other.next() == "one"
        shared = lost.client._shared
        await_that(lambda: not shared._is_waking)
        wake = shared._wake
        monkeypatch.setattr(shared, "_wake", interrupt)
        with pytest.raises(Interrupt):
            other.session.incoming.room.ring()
        lost.session._reader.stop()
        finished = lost.session._reader._state.wait_until_finished
        assert Running(lambda: finished(Deadline.after(3600))).outcome() is None

    def test_can_be_abandoned(self, lost):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            opened.clear()
            del lost.session
            gc.collect()
        await_thread()

    def test_ends_when_its_total_time_has_passed(self, server):
        with sse_client_for_tests(reconnection_time=60.0, total_timeout=0.5) as client:
            stream = Stream(server, client)
            stream.exchange.drop()
            with pytest.raises(TotalTimeoutError):
                stream.session.incoming.get(timeout=PATIENCE)

    def test_has_a_thread_if_the_shared_one_cannot_start(self, server, monkeypatch):
        with sse_client_for_tests(reconnection_time=60.0) as client:
            waits = Signal()

            def refuse(self, _):
                waits.set()
                return False

            stream = Stream(server, client)
            await_thread(SHARED)
            monkeypatch.setattr(SharedReader, "follow", refuse)
            stream.exchange.drop()
            waits.await_()
            await_thread("sse-client:127.0.0.1")
            stream.session.close()

    def test_does_not_wait_for_the_attempts_of_others(self, server, monkeypatch):
        monkeypatch.setattr(launches, "PLACES", 1)
        with sse_client_for_tests() as client:
            streams = [Stream(server, client) for _ in range(3)]
            for stream in streams:
                stream.exchange.drop()
            hanging = [server.accept() for _ in streams]
            for exchange in hanging:
                exchange.open()


# What arrives.


def test_a_stream_is_read_as_on_a_thread_of_its_own(server, client):
    text = b"id: 1\ndata: a\n\n" * 5000
    server.serve([text], then="end")
    session = client.sse(server.url)
    assert sum(1 for _ in session.incoming) == 5000
    assert session.error is None
    assert session.statistics.bytes == len(text)


def test_a_selector_may_wake_the_thread_for_nothing(server, client):
    stream = Stream(server, client)
    await_thread(SHARED)
    for each in ("one", "two"):
        stream.exchange.send(each)
        assert stream.next() == each
        (shared,) = opened[0]._reader._doorbell.listener.args
        read = Running(shared._body.read)
        assert read.outcome() is None


def test_tls_hides_nothing_from_the_selector(tls, tls_server):
    # A record holds 16 KiB, of which a single read may leave a part undecrypted.
    def handle(exchange):
        exchange.open()
        for number in range(200):
            exchange.write(b"data: %d %s\n\n" % (number, b"x" * 3000))
        exchange.stall()

    tls_server.handler = handle
    with sse_client_for_tests() as client:
        session = client.sse(tls_server.url, verify=str(tls.ca_bundle))
        found = [session.incoming.get(timeout=PATIENCE).data.split()[0] for _ in range(200)]
    assert found == [str(number) for number in range(200)]


@pytest.mark.parametrize("count", [1, 200], ids=["one record", "several records"])
def test_tls_does_not_hide_what_came_in_one_record_with_the_header(tls, tls_server, count):
    # The first event is larger than the buffer of the header, and the channel has room for one
    # event.
    sizes = [5000, *[200] * (count - 1)]
    events = b"".join(b"data: %d %s\n\n" % (n, b"x" * size) for n, size in enumerate(sizes))

    def handle(exchange):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        exchange.write_raw(head + events)
        exchange.stall()

    tls_server.handler = handle
    with sse_client_for_tests() as client:
        session = client.sse(tls_server.url, verify=str(tls.ca_bundle), capacity=1)
        found = [session.incoming.get(timeout=PATIENCE).data.split()[0] for _ in range(count)]
    assert found == [str(number) for number in range(count)]


def test_one_that_floods_does_not_keep_another_waiting(server, client):
    def flood(exchange):
        exchange.open()
        with contextlib.suppress(OSError, RuntimeError):  # closed by the client
            while True:
                exchange.write(b"data: fast\n\n" * 100)

    slow = Stream(server, client)
    with SSEServer(flood) as flooding:
        fast = client.sse(flooding.url, capacity=1000)
        came = Signal()

        def consume():
            for event in fast.incoming:
                came.set()
                assert event.data == "fast"

        consuming = Running(consume)
        came.await_()
        for number in range(20):
            slow.exchange.send(str(number))
            assert slow.next() == str(number)
        fast.close()
        assert consuming.outcome() is None


def test_one_whose_channel_is_full_holds_up_its_server_alone(server, client):
    full, other = Stream(server, client, capacity=2), Stream(server, client)
    full.exchange.write(b"".join(b"data: %d\n\n" % number for number in range(10)))
    fill(full.session.incoming, 2)
    other.exchange.send("here")
    assert other.next() == "here"
    assert [full.next() for _ in range(10)] == [str(number) for number in range(10)]
    full.exchange.send("again")
    assert full.next() == "again"


def test_a_system_without_epoll_waits_in_another_way(server, client, monkeypatch):
    monkeypatch.delattr(select, "epoll", raising=False)
    full, other = Stream(server, client, capacity=2), Stream(server, client)
    await_thread(SHARED)
    full.exchange.write(b"".join(b"data: %d\n\n" % number for number in range(10)))
    fill(full.session.incoming, 2)
    other.exchange.send("here")
    assert other.next() == "here"
    assert [full.next() for _ in range(10)] == [str(number) for number in range(10)]
    for stream in (full, other):
        stream.session.close()
    assert names() == []


def test_the_end_comes_after_what_waits_for_room(server, client):
    server.serve([b"data: 1\n\ndata: 2\n\ndata: 3\n\n"], then="end")
    session = client.sse(server.url, capacity=1)
    assert [event.data for event in session.incoming] == ["1", "2", "3"]


def test_the_mark_of_the_end_comes_after_what_waits_for_room(server, client):
    server.serve([b"data: 1\n\ndata: 2\n\ndata: end\n\n"], then="stall")
    session = client.sse(server.url, capacity=1, end_of_stream="end")
    assert [event.data for event in session.incoming] == ["1", "2"]
    assert session.error is None


def test_a_failure_comes_after_what_waits_for_room(server, client):
    server.serve([b"data: 1\n\ndata: 2\n\nevent: error\ndata: no\n\n"], then="stall")
    session = client.sse(server.url, capacity=1, error_event="error")
    assert next(session.incoming).data == "1"
    assert next(session.incoming).data == "2"
    with pytest.raises(Exception, match="reported an error"):
        next(session.incoming)


# Time limits.


@pytest.mark.parametrize(
    ("options", "error", "waited_for"),
    [
        ({"timeout": (10, 1.0)}, IdleTimeoutError, "bytes"),
        ({"event_timeout": 1.0}, IdleTimeoutError, "event"),
        ({"first_event_timeout": 1.0}, IdleTimeoutError, "event"),
        ({"total_timeout": 1.0}, TotalTimeoutError, None),
        ({"timeout": (10, 60), "event_timeout": 1.0}, IdleTimeoutError, "event"),
    ],
    ids=str,
)
def test_a_limit_ends_a_silent_stream(server, client, options, error, waited_for):
    # Each of them also limits the opening, which takes some time on a busy machine.
    stream = Stream(server, client, **options)
    with pytest.raises(error) as caught:
        stream.next()
    assert getattr(caught.value, "waited_for", None) == waited_for
    assert stream.exchange.wait_closed()


def test_the_total_time_ends_a_wait_for_room(server, client):
    stream = Stream(server, client, capacity=1, total_timeout=1.0)
    stream.exchange.write(b"data: 1\n\ndata: 2\n\n")
    await_channel(stream.session.incoming, lambda: stream.session.incoming.qsize() == 2)
    assert [stream.next(), stream.next()] == ["1", "2"]
    with pytest.raises(TotalTimeoutError):
        stream.next()


def test_what_arrives_moves_the_limits_on(server, client):
    limits = {"timeout": (10, 1.3), "first_event_timeout": 1.2, "event_timeout": 1.0}
    stream = Stream(server, client, **limits)
    for _ in range(15):
        stream.exchange.wait_closed(0.1)
        stream.exchange.send("beat")
    assert [stream.next() for _ in range(15)] == ["beat"] * 15


# The end.


def test_the_end_of_the_connection_is_noticed(server, client):
    stream = Stream(server, client)
    stream.exchange.send("one")
    assert stream.next() == "one"
    stream.exchange.drop()
    with pytest.raises(StreamInterruptedError):
        stream.next()
    assert stream.session.state is ReadyState.CLOSED


def test_a_response_that_the_user_closes_ends_like_a_stream(server, client):
    stream = Stream(server, client)
    await_thread(SHARED)
    stream.session.response.close()
    assert list(stream.session.incoming) == []
    assert stream.exchange.wait_closed()


def test_a_body_without_bytes_has_ended(server, client):
    # Although the connection stays open for the next request.
    stream = Stream(
        server, client, lambda exchange: exchange.open(framing="length", content_length=0)
    )
    assert list(stream.session.incoming) == []
    assert stream.session.error is None


def test_a_response_that_the_user_closes_before_it_is_read_ends_like_a_stream(
    server, client, monkeypatch
):
    class Closed(ArrivedBody):
        def __init__(self, response, plain, raise_if_aborted):
            super().__init__(response, plain, raise_if_aborted)
            response.close()

    monkeypatch.setattr(stream_body, "ArrivedBody", Closed)
    stream = Stream(server, client)
    assert list(stream.session.incoming) == []
    assert stream.session.error is None
    assert stream.exchange.wait_closed()


def test_a_response_that_a_child_closes_stays_open_in_its_parent(server, client, monkeypatch):
    stream = Stream(server, client)
    stream.exchange.send("one")
    assert stream.next() == "one"
    # What the child does, run in this process, because coverage does not follow a fork.
    with monkeypatch.context() as patched:
        patched.setattr(aborting, "os", SimpleNamespace(getpid=lambda: 0))
        stream.session.response.close()
    stream.exchange.send("two")
    assert stream.next() == "two"


def test_it_reconnects(server):
    server.serve(["one"], then="drop")
    server.serve(["two"], then="stall")
    with sse_client_for_tests() as client, client.sse(server.url) as session:
        assert [session.incoming.get(timeout=PATIENCE).data for _ in range(2)] == ["one", "two"]


@pytest.mark.parametrize("capacity", [1, 100])
def test_it_reconnects_when_it_is_asked_to(server, capacity):
    server.serve(["one", "two", "three"], then="stall")
    server.serve(["four"], then="stall")
    with sse_client_for_tests(capacity=capacity) as client, client.sse(server.url) as session:
        fill(session.incoming, 1)
        session.reconnect()
        found = []
        while "four" not in found:
            found.append(session.incoming.get(timeout=PATIENCE).data)
    # Events that the old connection had not delivered by then do not arrive.
    assert found in (["one", *rest, "four"] for rest in ([], ["two"], ["two", "three"]))


@pytest.mark.parametrize("drain", [False, True])
def test_one_that_is_full_is_closed(server, client, drain):
    stream = Stream(server, client, capacity=1)
    stream.exchange.write(b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
    fill(stream.session.incoming, 1)
    stream.session.close(drain=drain)
    found = [event.data for event in stream.session.incoming]
    assert found == (["1", "2", "3"] if drain else [])
    assert names() == []


def test_one_that_is_abandoned_is_closed(server, client):
    stream = Stream(server, client)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        stream.session = None
        opened.clear()
        gc.collect()
    assert stream.exchange.wait_closed()
    await_thread()


def test_the_hook_at_the_end_runs_on_another_thread(server, client):
    where = []
    closed = Signal()
    stream = Stream(
        server,
        client,
        on_close=lambda session: (where.append(threading.current_thread().name), closed(session)),
    )
    stream.session.close()
    closed.await_()
    assert where == ["sse-client:127.0.0.1"]


def test_without_another_thread_the_shared_one_does_it(server, client, monkeypatch):
    closed = Signal()
    stream = Stream(server, client, on_close=closed)
    await_thread(SHARED)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        stream.session.close()
        closed.await_()


def test_many_are_closed_by_the_client(server):
    with sse_client_for_tests() as client:
        streams = [Stream(server, client) for _ in range(30)]
        client.close()
        assert names() == []
        assert {stream.session.state for stream in streams} == {ReadyState.CLOSED}


def test_it_can_be_merged(server, client):
    streams = [Stream(server, client) for _ in range(5)]
    with merge([stream.session for stream in streams]) as merged:
        for turn in range(3):
            for number, stream in enumerate(streams):
                stream.exchange.send(f"{turn} {number}")
                session, event = next(merged)
                assert (session, event.data) == (stream.session, f"{turn} {number}")


class TestSeveralStreamsThatAreReadInATurn:
    """They wake the consumer of a merge together."""

    @pytest.fixture
    def rings(self, monkeypatch):
        """Something for each ring of a merge's bell."""
        rings = []

        class Bell(LockBell):
            def ring(self):
                rings.append("ring")
                super().ring()

        monkeypatch.setattr(merging, "new_merge_bell", Bell)
        return rings

    @pytest.fixture
    def merged(self, server, client, rings):
        """Some streams, merged, all of which have an event for the next turn."""
        streams = [Stream(server, client) for _ in range(5)]
        for stream in streams:
            stream.exchange.send("first")
        shared = client._shared
        with merge([stream.session for stream in streams]) as merged:
            assert [next(merged)[1].data for _ in streams] == ["first"] * 5
            is_held, go_on = Signal(), Signal()
            look = shared._look_at_poked

            def hold(stream):
                is_held.set()
                go_on.await_()
                look(stream)

            shared._look_at_poked = hold
            streams[0].session.incoming.room.ring()
            is_held.await_()
            for stream in streams:
                stream.exchange.send("second")
            rings.clear()
            merged.go_on = go_on
            yield merged
            go_on.set()

    def test_ring_together(self, merged, rings, monkeypatch):
        monkeypatch.setattr(shared_reader, "_LONGEST_DELAY", 3600.0)
        merged.go_on.set()
        assert [next(merged)[1].data for _ in range(5)] == ["second"] * 5
        assert len(rings) < 5

    def test_ring_one_by_one_if_reading_takes_long(self, merged, rings, monkeypatch):
        monkeypatch.setattr(shared_reader, "_LONGEST_DELAY", 0.0)
        merged.go_on.set()
        assert [next(merged)[1].data for _ in range(5)] == ["second"] * 5
        assert len(rings) == 5

    def test_ring_although_reading_another_one_fails(self, merged, rings, monkeypatch):
        monkeypatch.setattr(shared_reader, "_LONGEST_DELAY", 3600.0)
        monkeypatch.setattr(threading, "excepthook", lambda _: None)
        read, count = SharedReader._read, []

        def fail(self, stream):
            count.append(stream)
            if len(count) == 3:
                raise ValueError
            read(self, stream)

        monkeypatch.setattr(SharedReader, "_read", fail)
        merged.go_on.set()
        assert [next(merged)[1].data for _ in range(5)] == ["second"] * 5
        assert len(rings) < 5


def test_a_finaliser_on_the_shared_thread_does_not_wait_for_it(server, client, monkeypatch):
    stream, other = Stream(server, client), Stream(server, client)
    await_thread(SHARED)
    read = SharedReader._read

    def closing(self, shared_stream):
        other.session.close(timeout=3600)  # like a finaliser
        read(self, shared_stream)

    monkeypatch.setattr(SharedReader, "_read", closing)
    stream.exchange.send("one")
    assert stream.next() == "one"
    with pytest.raises(SessionClosedError):
        other.session.reconnect()


def poke_of(stream):
    """Wait until the shared thread has the stream. Return what lets that thread check it."""
    room = stream.session.incoming.room
    await_that(lambda: room.listener is not None)
    return room.listener


def test_poking_a_stream_that_has_left_is_nothing(server, client):
    stream = Stream(server, client)
    poke = poke_of(stream)
    other = Stream(server, client)
    stream.session.close()
    poke()
    other.exchange.send("one")
    assert other.next() == "one"
    other.session.close()
    assert names() == []
    poke()
    third = Stream(server, client)
    third.exchange.send("one")
    assert third.next() == "one"


def test_an_error_of_a_wake_up_loses_no_other():
    reader, woken = SharedReader(), []

    def fail():
        raise MemoryError

    reader.wakes.update({fail: None, lambda: woken.append("consumer"): None})
    with pytest.raises(MemoryError):
        reader._wake_consumers()
    reader._wake_consumers()
    assert woken == ["consumer"]


def test_poking_streams_that_wait_for_the_thread_wakes_it_once(monkeypatch):
    reader, wakes = SharedReader(), []
    monkeypatch.setattr(reader, "_wake", lambda: wakes.append("wake"))
    for stream in ("one", "two", "one"):
        reader.poke(stream)
    assert list(reader._poked) == ["one", "two", "one"]
    assert wakes == ["wake"]


def test_a_fault_in_one_stream_does_not_end_the_others(server, client, monkeypatch):
    stream, other = Stream(server, client), Stream(server, client)
    await_thread(SHARED)
    reported, close = Signal(), FollowedStream.close_connection

    def fail(self, *arguments):
        close(self, *arguments)
        raise ValueError("as a file that cannot be closed")

    def report(arguments):
        assert arguments.exc_type is ValueError
        reported.set()

    monkeypatch.setattr(threading, "excepthook", report)
    with monkeypatch.context() as patched:
        patched.setattr(FollowedStream, "close_connection", fail)
        stream.exchange.drop()
        reported.await_()
    other.exchange.send("one")
    assert other.next() == "one"
    exchange = server.accept()  # of another attempt of the first stream
    exchange.open()
    exchange.send("two")
    assert stream.next() == "two"


@pytest.mark.parametrize("when", ["opened", "blocked"])
def test_a_stream_that_the_selector_refuses_has_lost_its_connection(
    server, client, monkeypatch, when
):
    other = Stream(server, client)
    await_thread(SHARED)
    other.exchange.send("zero")
    assert other.next() == "zero"
    shared = other.session._reader._shared
    poller = shared._poller

    def refuse(fileno, events):
        raise OSError(errno.ENOSPC, "too many are watched")

    refusing = SimpleNamespace(
        poll=poller.poll, unregister=poller.unregister, close=poller.close, register=refuse
    )
    if when == "opened":
        monkeypatch.setattr(shared, "_poller", refusing)
        stream = Stream(server, client)
    else:
        stream = Stream(server, client, capacity=1)
        stream.exchange.send("one")
        stream.exchange.send("two")
        (shared_stream,) = poke_of(stream).args
        await_that(lambda: shared_stream.phase is Phase.BLOCKED)
        monkeypatch.setattr(shared, "_poller", refusing)
        assert stream.next() == "one"
        assert stream.next() == "two"
    with pytest.raises(StreamInterruptedError, match=r"the selector cannot wait .* 127\.0\.0\.1"):
        stream.next()
    other.exchange.send("three")
    assert other.next() == "three"


@pytest.mark.parametrize("limit", ["reconnection_time", "total_timeout"])
def test_a_wait_may_last_for_weeks(server, limit):
    with sse_client_for_tests(**{"reconnection_time": 60.0, limit: 3e6}) as client:
        waits = Signal()
        other = Stream(server, client)
        lost = Stream(server, client, on_disconnect=lambda *_: waits.set())
        lost.exchange.drop()
        waits.await_()
        await_that(lambda: client._shared._timers.next_moment is not None)
        other.exchange.send("zero")  # from now on the shared thread waits with that timer
        assert other.next() == "zero"
        lost.session.reconnect()
        server.accept().open()
        for data in ("one", "two"):
            other.exchange.send(data)
            assert other.next() == data


def test_closing_does_not_wait_for_the_shared_thread_once_it_has_another_stream(
    server, client, monkeypatch
):
    first = Stream(server, client)
    await_thread(SHARED)
    shared, look = first.session._reader._shared, SharedReader._look_at_poked
    is_busy, go_on = Signal(), Signal()

    def slow(self, stream):
        look(self, stream)
        if stream.owner is first.session._reader and not self._count:
            is_busy.set()
            go_on.await_()

    monkeypatch.setattr(SharedReader, "_look_at_poked", slow)
    closing = Running(lambda: first.session.close(timeout=3600))
    is_busy.await_()
    await_that(lambda: shared._idlers.wakes)
    opening = Running(lambda: Stream(server, client))
    try:
        assert closing.outcome() is None
    finally:
        go_on.set()
    assert isinstance(opening.outcome(), Stream)


def test_a_child_does_not_close_a_kqueue_that_it_has_not(monkeypatch):
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(selectors, "KqueueSelector", selectors.SelectSelector, raising=False)
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    reader, kqueue = SharedReader(), new_poller()
    reader._poller = kqueue
    reader.disown()
    assert reader._poller is None
    assert poller._not_inherited.pop() is kqueue
    assert kqueue._selector.get_map() is not None
    kqueue.close()


def test_a_child_closes_its_copy_of_another_selector(monkeypatch):
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    reader, other = SharedReader(), new_poller()
    reader._poller = other
    reader.disown()
    assert reader._poller is None
    assert other._selector.get_map() is None


def test_a_wake_for_nothing_ends_no_stream(server, client):
    stream = Stream(server, client)
    await_thread(SHARED)
    stream.exchange.send("zero")
    assert stream.next() == "zero"  # it is registered in the poller
    shared = client._shared
    poll, woken = shared._poller.poll, Signal()

    class Startled:
        def poll(self, timeout):
            shared._poller = poller
            woken()
            return [(shared._wake_receiver.fileno(), 1)]

    poller = shared._poller
    shared._poller = Startled()
    stream.exchange.send("one")  # ends the current wait
    assert stream.next() == "one"
    woken.await_()
    assert shared._poller.poll == poll
    stream.exchange.send("two")
    assert stream.next() == "two"
