"""Following a stream: states, delivery, reconnection, errors to the consumer, hooks."""

from __future__ import annotations

import io
import logging
import queue
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import requests
from support import PATIENCE, Running, Signal, fill, sse_client_for_tests

from sse_client import (
    SSE,
    BufferPolicy,
    ChannelClosed,
    ChannelOverflowError,
    ConnectionFailedError,
    EventTooLargeError,
    HttpClient,
    IdleTimeoutError,
    ReadyState,
    ReconnectionExhaustedError,
    ServerSentEvent,
    SessionClosedError,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.clock import SYSTEM_CLOCK
from sse_client.http.request import SendOptions
from sse_client.http.stream_connection import StreamConnection
from sse_client.session.state import MOVES
from sse_client.session.time_limits import Timekeeper, TimeLimits

if TYPE_CHECKING:
    from sse_client.testing import SSEServer


def data(session) -> list[str]:
    return [event.data for event in session.incoming]


def last_event_ids(server: SSEServer) -> list[str | None]:
    return [request.headers.get("Last-Event-ID") for request in server.requests]


# States.


def test_it_is_open_once_sse_returns_and_closed_at_its_end(server):
    with sse_client_for_tests(reconnect="on_error") as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        assert session.state is ReadyState.OPEN
        assert session.response.status_code == 200
        assert repr(session) == "<SSESession 127.0.0.1 OPEN>"
        exchange.end()
        assert data(session) == []
        assert session.state is ReadyState.CLOSED
        assert session.error is None


def test_the_state_is_connecting_between_connections(server):
    states = []
    closed = Signal()
    server.serve(["one"], then="end")
    server.respond(204)
    with sse_client_for_tests(
        on_open=lambda session: states.append(session.state),
        on_disconnect=lambda session, *_: states.append(session.state),
        on_close=lambda session: (states.append(session.state), closed()),
    ) as client:
        session = client.sse(server.url)
        closed.await_()
        assert session.error is None
    assert states == [ReadyState.OPEN, ReadyState.CONNECTING, ReadyState.CLOSED]


def test_the_table_of_moves_has_the_values_of_the_spec():
    assert [state.value for state in MOVES] == [0, 1, 2]
    assert [state.name for state in MOVES] == ["CONNECTING", "OPEN", "CLOSED"]


# Delivery.


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_an_event_is_delivered_as_soon_as_it_was_sent(server, framing, encoding):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open(framing=framing, content_encoding=encoding)
        session = opening.outcome()
        for number in range(5):
            exchange.send(str(number))
            assert session.incoming.get(timeout=PATIENCE).data == str(number)


def test_an_event_is_delivered_at_its_final_cr(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.write(b"data: one\r\r")
        session = opening.outcome()
        assert session.incoming.get(timeout=PATIENCE).data == "one"
        exchange.write(b"\ndata: two\r\n\r")
        assert session.incoming.get(timeout=PATIENCE).data == "two"


def test_a_body_with_a_length_is_delivered_whole(server):
    server.serve(["one", "two"], framing="length", then="end", content_length=22)
    with sse_client_for_tests(reconnect="on_error") as client:
        assert data(client.sse(server.url)) == ["one", "two"]


def test_a_full_channel_makes_the_reader_wait_and_loses_nothing(server):
    count = 1000
    server.serve([str(number) for number in range(count)], then="end")
    server.respond(204)
    with sse_client_for_tests(capacity=2) as client:
        session = client.sse(server.url)
        fill(session.incoming, 2)
        assert data(session) == [str(number) for number in range(count)]
        assert session.statistics.dropped == 0


def test_what_was_dropped_is_counted(server):
    with sse_client_for_tests(capacity=2, overflow="drop_oldest", reconnect="on_error") as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open(framing="close")
        session = opening.outcome()
        exchange.write(b"".join(b"data: %d\n\n" % number for number in range(10)))
        exchange.end()
        session._reader.join(PATIENCE)
        assert data(session) == ["8", "9"]
        assert session.statistics.dropped == 8
        assert session.statistics.events == 10


def test_an_overflow_can_be_an_error(server):
    with sse_client_for_tests(capacity=2, overflow="error") as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.write(b"data: x\n\n" * 10)
        session = opening.outcome()
        assert [next(session.incoming).data for _ in range(2)] == ["x", "x"]
        with pytest.raises(ChannelOverflowError):
            next(session.incoming)
        assert exchange.wait_closed()
    assert len(server.requests) == 1


def test_the_statistics_count(server):
    server.serve([b": hello\n\ndata: a\n\n", "b"], then="drop")
    server.respond(503)
    server.serve(["c"], then="stall")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        assert [session.incoming.get().data for _ in range(3)] == ["a", "b", "c"]
        statistics = session.statistics
        assert statistics.events == 3
        assert statistics.comments == 1
        assert (statistics.connections, statistics.attempts) == (2, 3)
        assert statistics.bytes == len(": hello\n\ndata: a\n\ndata: b\n\ndata: c\n\n")
        statistics.events = 99
        assert session.statistics.events == 3


def test_the_statistics_show_the_last_event_and_the_reconnections(sse_memory, sse_clock):
    sse_memory.serve(then="drop")
    sse_memory.respond(503)
    sse_memory.serve(["a"], then="drop")
    sse_memory.serve([b": hello\n\n"], then="stall")
    commented = Signal()
    with sse_memory.client(reconnection_jitter=0.0) as client:
        session = client.sse(sse_memory.url, on_comment=commented)
        sse_clock.wait_for_sleepers()
        assert session.statistics.last_event_at is None
        assert session.statistics.reconnections == 0
        sse_clock.advance_to_next(PATIENCE)
        sse_clock.advance_to_next(PATIENCE)
        assert session.incoming.get().data == "a"
        arrived = sse_clock.time()
        assert session.statistics.last_event_at == arrived
        sse_clock.advance_to_next(PATIENCE)
        commented.await_()
        assert session.statistics.last_event_at == arrived
        assert session.statistics.reconnections == 2
        session.close()


def test_the_statistics_show_the_current_wait(sse_memory, sse_clock):
    sse_memory.serve(then="drop")
    sse_memory.respond(503)
    sse_memory.serve(["a"], then="stall")
    delays = []

    def lost(session, *_):
        delays.append(session.statistics.delay)

    with sse_memory.client(reconnection_time=2.0, reconnection_jitter=0.0) as client:
        session = client.sse(sse_memory.url, on_disconnect=lost)
        for _ in range(2):
            sse_clock.wait_for_sleepers()
            delays.append(session.statistics.delay)
            sse_clock.advance_to_next(PATIENCE)
        assert session.incoming.get().data == "a"
        assert session.statistics.delay is None
        session.close()
    assert delays == [None, 2.0, None, 4.0]


# Reconnection.


def test_it_reconnects_after_the_end_and_after_a_break_with_the_last_event_id(server):
    server.serve([ServerSentEvent("a", id="1")], then="end")
    server.serve([ServerSentEvent("b", id="2")], then="drop")
    server.serve([ServerSentEvent("c", id="3"), ServerSentEvent("d")], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        events = list(session.incoming)
    assert [(event.data, event.id) for event in events] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("d", "3"),
    ]
    assert last_event_ids(server) == [None, "1", "2", "3"]
    assert session.last_event_id == "3"


def test_the_id_of_a_block_without_data_counts(server):
    server.serve([b"id: 7\n\n"], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        assert data(client.sse(server.url)) == []
    assert last_event_ids(server) == [None, "7"]


def test_an_unfinished_block_is_discarded_with_its_id(server):
    server.serve([b"id: 1\ndata: a\n\nid: 2\ndata: lost"], then="end")
    server.serve([b"\n\nid: 2\ndata: b\n\n"], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        assert data(client.sse(server.url)) == ["a", "b"]
    assert last_event_ids(server) == [None, "1", "2"]


def test_each_connection_begins_afresh(server):
    # A BOM at the start of each connection, and a pending CR that does not concern the next one's
    # LF.
    server.serve([b"\xef\xbb\xbfdata: a\r\r"], then="end")
    server.serve([b"\xef\xbb\xbfdata: b\n\n"], then="end")
    server.serve([b"\ndata: c\n\n"], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        assert data(client.sse(server.url)) == ["a", "b", "c"]


def test_an_empty_id_is_sent_no_more(server):
    server.serve([ServerSentEvent("a", id="1")], then="end")
    server.serve([b"id\ndata: b\n\n"], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        assert data(client.sse(server.url)) == ["a", "b"]
    assert last_event_ids(server) == [None, "1", None]


def test_the_stream_can_begin_after_an_id(server):
    server.serve([ServerSentEvent("a")], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        session = client.sse(server.url, last_event_id="41")
        assert [event.id for event in session.incoming] == ["41"]
    assert last_event_ids(server) == ["41", "41"]


def test_the_position_is_what_was_received(server):
    with sse_client_for_tests() as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.send("a", id="1")
        session = opening.outcome()
        fill(session.incoming, 1)
        assert session.last_event_id == "1"


def test_a_retry_sets_the_wait(server):
    server.serve([b"retry: 7200000\n"], then="end")
    lost = Signal()
    with sse_client_for_tests(on_disconnect=lost) as client:
        session = client.sse(server.url)
        lost.await_()
        assert lost.calls == [(session, None, 3600.0)]


def test_retry_after_sets_the_wait(server):
    server.serve([], then="end")
    server.respond(503, {"Retry-After": "120"})
    lost = Signal()
    attempts = []

    def on_disconnect(session, error, delay):
        attempts.append((type(error), delay))
        if delay == 120.0:
            lost()

    with sse_client_for_tests(on_disconnect=on_disconnect) as client, client.sse(server.url):
        lost.await_()
    assert attempts == [(type(None), 0.0), (UnexpectedStatusError, 120.0)]


def test_it_survives_a_server_that_is_restarted(server):
    server.serve([ServerSentEvent("a", id="1")], then="stall")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        assert session.incoming.get().data == "a"
        server.stop()
        server.serve([ServerSentEvent("b", id="2")], then="stall")
        server.start()
        assert session.incoming.get(timeout=PATIENCE).data == "b"


def test_giving_up_is_raised_after_the_last_event(server):
    server.serve([ServerSentEvent("a", id="1")], then="drop")
    server.respond(503, body=b"busy")
    server.respond(503, body=b"busy")
    with sse_client_for_tests(max_reconnection_attempts=2) as client:
        session = client.sse(server.url)
        assert next(session.incoming).data == "a"
        with pytest.raises(ReconnectionExhaustedError) as caught:
            next(session.incoming)
        assert caught.value is session.error
        assert caught.value.attempts == 2
        assert caught.value.last_cause.body == b"busy"
        assert caught.value.response.status_code == 503
        assert session.state is ReadyState.CLOSED


def test_a_final_status_ends_the_session(server):
    server.serve(["a"], then="end")
    server.respond(404)
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        assert next(session.incoming).data == "a"
        with pytest.raises(UnexpectedStatusError, match="404"):
            session.incoming.get()


def test_no_content_ends_the_session_cleanly(server):
    server.serve(["a"], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        assert data(session) == ["a"]
        assert session.error is None


def test_no_content_at_once_is_a_session_that_has_ended(server):
    server.respond(204)
    opened = Signal()
    with sse_client_for_tests(on_open=opened) as client:
        session = client.sse(server.url)
        assert data(session) == []
        assert session.response.status_code == 204
    assert not opened.is_set()


def test_a_post_is_not_replayed(server):
    server.serve(["a"], then="end")
    with sse_client_for_tests() as client:
        session = client.sse(server.url, method="POST", json={"stream": True})
        assert data(session) == ["a"]
    assert [request.method for request in server.requests] == ["POST"]


def test_a_post_that_breaks_off_is_an_error(server):
    server.serve(["a"], then="drop")
    with sse_client_for_tests() as client:
        session = client.sse(server.url, method="POST")
        assert next(session.incoming).data == "a"
        with pytest.raises(StreamInterruptedError, match="broke off"):
            next(session.incoming)


def test_a_post_is_replayed_if_asked_for(server):
    server.serve(["a"], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        session = client.sse(server.url, method="post", data=b"x", reconnect="always")
        assert data(session) == ["a"]
    assert [(each.method, each.body) for each in server.requests] == [("POST", b"x")] * 2


def test_the_first_connection_fails_where_it_is_asked_for(server):
    server.respond(500, body=b"no")
    with sse_client_for_tests() as client:
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert (caught.value.status_code, caught.value.body) == (500, b"no")
        assert caught.value.response.text == "no"


def test_the_first_connection_can_be_retried(server):
    server.respond(503)
    server.serve(["a"], then="stall")
    with sse_client_for_tests(retry_first_connection=True) as client:
        session = client.sse(server.url)
        assert session.incoming.get().data == "a"


def test_retrying_the_first_connection_gives_up_where_it_is_asked_for():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with sse_client_for_tests(
            retry_first_connection=True, max_reconnection_attempts=1
        ) as client:
            with pytest.raises(ReconnectionExhaustedError) as caught:
                client.sse(url)
            assert isinstance(caught.value.last_cause, ConnectionFailedError)


def test_a_wrong_content_type_is_final(server):
    server.serve(["a"], then="end")
    server.respond(200, {"Content-Type": "text/html"}, b"<html>")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        assert next(session.incoming).data == "a"
        with pytest.raises(UnexpectedContentTypeError, match="text/html") as caught:
            next(session.incoming)
        assert caught.value.body == b"<html>"


def test_reconnect_opens_the_next_connection_now(server):
    server.serve([ServerSentEvent("a", id="1")], then="stall")
    server.serve([ServerSentEvent("b", id="2")], then="stall")
    lost = Signal()
    with sse_client_for_tests(reconnection_time=3600, on_disconnect=lost) as client:
        session = client.sse(server.url)
        fill(session.incoming, 1)
        session.reconnect()
        assert [session.incoming.get().data for _ in range(2)] == ["a", "b"]
        assert session.state is ReadyState.OPEN
    assert last_event_ids(server) == [None, "1"]
    assert not lost.is_set()


def test_reconnect_ends_the_wait_before_an_attempt(server, sse_clock):
    server.serve(["a"], then="end")
    server.serve(["b"], then="stall")
    with sse_client_for_tests(clock=sse_clock, reconnection_time=3600) as client:
        session = client.sse(server.url)
        assert sse_clock.wait_for_sleepers() == (3600,)
        session.reconnect()
        assert [session.incoming.get().data for _ in range(2)] == ["a", "b"]


def test_reconnect_during_a_wait_leaves_the_next_loss_to_the_policy_and_the_hook(server, sse_clock):
    for each in "abc":
        server.serve([each], then="end" if each != "c" else "stall")
    lost = Signal()
    options = {"reconnection_time": 3600, "on_disconnect": lost}
    with sse_client_for_tests(clock=sse_clock, **options) as client:
        session = client.sse(server.url)
        assert sse_clock.wait_for_sleepers() == (3600,)
        session.reconnect()
        assert [session.incoming.get().data for _ in range(2)] == ["a", "b"]
        assert sse_clock.wait_for_sleepers() == (3600,)
        assert [delay for _, _, delay in lost.calls] == [3600, 3600]


def test_reconnect_leaves_the_state_that_of_connecting(server):
    server.serve(["a"], then="stall")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        session.reconnect()
        server.accept()  # and does not respond
        assert session.state is ReadyState.CONNECTING


def test_reconnect_drops_an_attempt_that_hangs(server):
    server.serve(["a"], then="end")
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        hanging = server.accept()
        server.serve(["b"], then="stall")
        session.reconnect()
        assert hanging.wait_closed()
        assert [session.incoming.get().data for _ in range(2)] == ["a", "b"]


def test_reconnect_loses_nothing_that_waits_for_room(server):
    server.serve([b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in range(10))], then="stall")
    server.serve([ServerSentEvent("10", id="10")], then="stall")
    with sse_client_for_tests(capacity=2) as client:
        session = client.sse(server.url)
        fill(session.incoming, 2)
        session.reconnect()
        received = [session.incoming.get(timeout=PATIENCE).data for _ in range(11)]
    assert received == [str(number) for number in range(11)]
    assert last_event_ids(server) == [None, "9"]


def test_a_session_that_has_ended_cannot_reconnect(server):
    server.respond(204)
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        assert data(session) == []
        with pytest.raises(SessionClosedError, match="ended"):
            session.reconnect()


# Announced ends, sizes, silence.


def test_the_end_of_stream_is_an_event_that_is_not_delivered(server):
    server.serve([b"data: a\n\ndata: [DONE]\n\ndata: b\n\n"], then="stall")
    with sse_client_for_tests(end_of_stream="[DONE]") as client:
        session = client.sse(server.url)
        assert data(session) == ["a"]
        assert session.error is None
    assert len(server.requests) == 1


def test_the_end_of_stream_can_be_a_test(server):
    server.serve([ServerSentEvent("a"), ServerSentEvent("b", event="end")], then="stall")
    with sse_client_for_tests(end_of_stream=lambda event: event.event == "end") as client:
        assert data(client.sse(server.url)) == ["a"]


def test_an_end_of_stream_that_raises_ends_the_session_with_it(server):
    server.serve(["a"], then="stall")

    def broken(event: ServerSentEvent) -> bool:
        raise LookupError("a mistake")

    with sse_client_for_tests(end_of_stream=broken) as client:
        session = client.sse(server.url)
        with pytest.raises(LookupError, match="a mistake"):
            data(session)


def test_an_event_too_large_is_final_and_comes_after_the_others(server):
    server.serve([b"data: a\n\ndata: " + b"x" * 100], then="stall")
    with sse_client_for_tests(max_event_size=50) as client:
        session = client.sse(server.url)
        assert next(session.incoming).data == "a"
        with pytest.raises(EventTooLargeError, match="max_event_size=50"):
            next(session.incoming)


def test_an_event_too_large_after_the_mark_of_the_end_is_nothing(server):
    server.serve([b"data: a\n\ndata: end\n\ndata: " + b"x" * 100], then="stall")
    with sse_client_for_tests(max_event_size=50, end_of_stream="end") as client:
        session = client.sse(server.url)
        assert data(session) == ["a"]
        assert session.error is None


def test_silence_is_noticed(server):
    server.serve([ServerSentEvent("a", id="1")], then="stall")
    server.serve([ServerSentEvent("b", id="2")], then="stall")
    lost = Signal()
    with sse_client_for_tests(on_disconnect=lost) as client:
        # The header must also arrive within this time.
        session = client.sse(server.url, timeout=(10, 0.5))
        assert [session.incoming.get().data for _ in range(2)] == ["a", "b"]
        lost.await_()
    error = lost.calls[0][1]
    assert isinstance(error, IdleTimeoutError)
    assert (error.waited_for, error.timeout) == ("bytes", 0.5)


def test_heartbeats_are_no_events(server):
    stopped = threading.Event()

    def beat(exchange):
        if exchange.request.headers.get("Last-Event-ID"):
            exchange.send("b", id="2")
            exchange.stall()
            return
        exchange.send("a", id="1")
        while not stopped.wait(0.01):
            exchange.comment()

    server.handler = beat
    lost = Signal()
    with sse_client_for_tests(on_disconnect=lost, event_timeout=0.2) as client:
        session = client.sse(server.url, timeout=(10, 5))
        assert [session.incoming.get().data for _ in range(2)] == ["a", "b"]
        stopped.set()
    error = lost.calls[0][1]
    assert isinstance(error, IdleTimeoutError)
    assert (error.waited_for, error.timeout) == ("event", 0.2)


def test_without_a_single_byte_the_event_timeout_holds_too(sse_memory, sse_clock):
    sse_memory.serve([], then="stall")
    with sse_memory.client(event_timeout=60, reconnect="never") as client:
        session = client.sse(sse_memory.url)
        assert sse_clock.advance_to_next() == 60
        with pytest.raises(IdleTimeoutError) as caught:
            session.incoming.get()
    assert (caught.value.waited_for, caught.value.timeout) == ("event", 60)


def test_an_event_timeout_that_is_over_before_the_read_is_noticed():
    connection = StreamConnection(
        requests.Session(), requests.Request, SendOptions(), print, print, on_unverified=print
    )
    connection._response = requests.Response()
    connection._response.url = "http://127.0.0.1/"
    connection._response.raw = io.BytesIO()
    timekeeper = Timekeeper(TimeLimits(event=5.0), SYSTEM_CLOCK, "127.0.0.1")
    timekeeper.opened()
    timekeeper.pause(-6)
    with pytest.raises(IdleTimeoutError, match="no event arrived"):
        next(connection.body().chunks(timekeeper))


def test_the_time_of_an_on_comment_hook_is_not_the_servers(sse_memory, sse_clock):
    heard = Signal()

    def on_comment(_session, text):
        sse_clock.advance(100)
        heard(text)

    with sse_memory.client(event_timeout=60, reconnect="never", on_comment=on_comment) as client:
        opening = Running(lambda: client.sse(sse_memory.url))
        exchange = sse_memory.accept()
        exchange.send("a")
        session = opening.outcome()
        assert session.incoming.get().data == "a"
        exchange.comment("b")
        heard.await_()
        assert sse_clock.advance_to_next() == 60
        with pytest.raises(IdleTimeoutError, match="no event arrived"):
            session.incoming.get()


def test_the_shorter_of_both_limits_counts(sse_memory, sse_clock):
    with sse_memory.client(event_timeout=3600, reconnect="never") as client:
        opening = Running(lambda: client.sse(sse_memory.url, timeout=(10, 60)))
        exchange = sse_memory.accept()
        exchange.send("a")
        session = opening.outcome()
        assert session.incoming.get().data == "a"
        assert sse_clock.advance_to_next() == 60
        with pytest.raises(IdleTimeoutError) as caught:
            session.incoming.get()
    assert (caught.value.waited_for, caught.value.timeout) == ("bytes", 60)


# Ktor's extras and the hooks.


def test_comment_and_retry_events_are_shown_if_asked_for(server):
    server.serve([b": hello\n\nretry: 10\n\ndata: a\n\n"], then="stall")
    with sse_client_for_tests(show_comment_events=True, show_retry_events=True) as client:
        session = client.sse(server.url)
        events = [session.incoming.get() for _ in range(3)]
    assert [(event.comments, event.retry, event.data) for event in events] == [
        ("hello", None, ""),
        (None, 10, ""),
        (None, None, "a"),
    ]


def test_a_comment_is_told_at_once(server):
    told = Signal()
    with sse_client_for_tests(on_comment=told) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.comment("beat")
        session = opening.outcome()
        told.await_()
        assert told.calls == [(session, "beat")]


def test_the_hooks_are_called_on_the_reader_thread_in_order(server):
    calls = []
    closed = Signal()

    def record(name):
        def hook(session, *args):
            calls.append((name, *args))
            assert threading.current_thread().name == "sse-client:127.0.0.1"
            assert threading.current_thread().daemon
            if name == "close":
                closed()

        return hook

    server.serve(["a"], then="end")
    server.respond(204)
    with sse_client_for_tests(
        on_open=record("open"), on_disconnect=record("disconnect"), on_close=record("close")
    ) as client:
        session = client.sse(server.url)
        closed.await_()
        assert session.error is None
    assert calls == [("open",), ("disconnect", None, 0.0), ("close",)]


def test_losing_the_connection_for_good_is_told(server):
    server.serve(["a"], then="drop")
    lost = Signal()
    with sse_client_for_tests(on_disconnect=lost, reconnect="never") as client:
        session = client.sse(server.url)
        with pytest.raises(StreamInterruptedError):
            data(session)
    assert [(error, delay) for _, error, delay in lost.calls] == [(session.error, None)]


@pytest.mark.parametrize("hook", ["on_open", "on_disconnect", "on_comment", "on_close"])
def test_a_hook_that_raises_is_logged_and_hurts_nobody(server, caplog, hook):
    def broken(*_):
        raise LookupError("a mistake")

    server.serve([b": hello\n", "a"], then="end")
    server.serve(["b"], then="end")
    server.respond(204)
    with sse_client_for_tests(**{hook: broken}) as client:
        session = client.sse(server.url)
        assert data(session) == ["a", "b"]
        session._reader.join(PATIENCE)
    records = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert records
    assert {(each.name, each.exc_info[0]) for each in records} == {("sse_client", LookupError)}


def test_an_error_shows_what_was_read(server):
    server.serve([b"data: a\n\ndata: b\n\ndata: cut"], then="drop")
    with sse_client_for_tests(reconnect="never", buffer_policy=BufferPolicy.last_event()) as client:
        session = client.sse(server.url)
        with pytest.raises(StreamInterruptedError) as caught:
            data(session)
    assert caught.value.buffer == b"data: b\n\ndata: cut"


def test_what_ends_the_reader_thread_reaches_the_consumer(server):
    server.serve([b": hello\n"], then="stall")

    def exit_thread(*_):
        raise SystemExit("from a hook")

    with sse_client_for_tests(on_comment=exit_thread) as client:
        session = client.sse(server.url)
        with pytest.raises(Exception, match="the reader thread failed with SystemExit"):
            data(session)


def test_several_consumers_share_a_session(server):
    server.serve([str(number) for number in range(100)], then="end")
    server.respond(204)
    with sse_client_for_tests() as client:
        session = client.sse(server.url)
        consumers = [Running(lambda: data(session)) for _ in range(3)]
        taken = [each for consumer in consumers for each in consumer.outcome()]
    assert sorted(taken, key=int) == [str(number) for number in range(100)]


def test_get_with_a_timeout_serves_a_loop_of_ones_own(server):
    with sse_client_for_tests(reconnect="on_error") as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.open()
        session = opening.outcome()
        with pytest.raises(queue.Empty):
            session.incoming.get(timeout=0.001)
        exchange.send("a")
        assert session.incoming.get(timeout=PATIENCE).data == "a"
        exchange.end()
        with pytest.raises(ChannelClosed):
            session.incoming.get(timeout=PATIENCE)


def test_a_session_outlives_the_name_of_its_client(server):
    server.serve(["a"], then="stall")
    session = HttpClient().install(SSE).sse(server.url)
    with session:
        assert session.incoming.get().data == "a"
