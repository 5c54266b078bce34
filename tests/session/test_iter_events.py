"""The events of a response that already exists."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
import responses

from sse_client import (
    EventStreamParser,
    EventTooLargeError,
    IdleTimeoutError,
    ServerSentEvent,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
    iter_events,
)

STREAM = "http://stream.invalid/events"


def get(server, **arguments):
    return requests.get(server.url, stream=True, **{"timeout": 5, **arguments})


@contextmanager
def get_in_steps(server):
    """A response, and its exchange."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, server)
        exchange = server.accept()
        exchange.open()
        with asked.result() as response:
            yield response, exchange


def data_of(response, **arguments):
    return [event.data for event in iter_events(response, **arguments)]


def test_yields_the_events(server):
    server.serve([ServerSentEvent("one", "kind", "1"), "two", b": note\n\n", b"data: cut"])
    with get(server) as response:
        assert list(iter_events(response)) == [
            ServerSentEvent("one", "kind", "1"),
            ServerSentEvent("two", id="1"),
        ]


def test_yields_each_event_once_it_has_arrived(server):
    with get_in_steps(server) as (response, exchange):
        events = iter_events(response)
        for data in ("one", "two"):
            exchange.send(data)
            assert next(events).data == data
        exchange.end()
        assert list(events) == []


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("content_encoding", [None, "gzip"])
def test_understands_each_framing_and_gzip(server, framing, content_encoding):
    server.serve(["one", "zwei é"], framing=framing, content_encoding=content_encoding)
    with get(server) as response:
        assert data_of(response) == ["one", "zwei é"]


def test_takes_a_parser_of_the_caller_s(server):
    server.serve([b": note\n\n", b"retry: 5\n\n"])
    parser = EventStreamParser(show_comment_events=True, show_retry_events=True, last_event_id="7")
    with get(server) as response:
        assert list(iter_events(response, parser=parser)) == [
            ServerSentEvent(comments="note", id="7"),
            ServerSentEvent(retry=5, id="7"),
        ]
    assert parser.reconnection_time == 5


def test_leaves_the_response_to_its_owner(server):
    server.serve(["one", "two"], then="stall")
    with get(server) as response:
        events = iter_events(response)
        assert next(events).data == "one"
        events.close()
        assert not response.raw.closed


def test_nothing_comes_of_no_content(server):
    server.respond(204)
    with get(server) as response:
        assert data_of(response) == []


@pytest.mark.parametrize("status", [201, 404, 503])
def test_another_status_is_an_error(server, status):
    server.respond(status, {"Retry-After": "7"}, "why")
    with get(server) as response:
        with pytest.raises(UnexpectedStatusError) as caught:
            list(iter_events(response))
        assert caught.value.status_code == status
        assert caught.value.response is response
        assert caught.value.body == b"why"
        assert caught.value.retry_after == 7.0


def test_another_content_type_is_an_error(server):
    server.respond(200, {"Content-Type": "text/html"}, b"<p>")
    with get(server) as response:
        with pytest.raises(UnexpectedContentTypeError) as caught:
            list(iter_events(response))
        assert caught.value.content_type == "text/html"
        assert caught.value.body == b"<p>"


@pytest.mark.slow
def test_an_error_whose_body_trickles_does_not_keep_the_caller(server):
    def trickle(exchange):
        exchange.open(404)
        while not exchange.wait_closed(0.05):
            exchange.write(b".")

    server.handler = trickle
    began = time.monotonic()
    with get(server) as response, pytest.raises(UnexpectedStatusError) as caught:
        list(iter_events(response))
    assert time.monotonic() - began < 5.0
    assert set(caught.value.body) == set(b".")


def test_a_response_that_was_read_already_gives_its_events(server):
    server.serve(["one", "two"])
    with requests.get(server.url, timeout=5) as response:
        assert data_of(response) == ["one", "two"]
        assert data_of(response) == ["one", "two"]


def test_an_error_that_was_read_already_carries_its_body(server):
    server.respond(404, body=b"x" * 100_000)
    with requests.get(server.url, timeout=5) as response:
        with pytest.raises(UnexpectedStatusError) as caught:
            list(iter_events(response))
        assert caught.value.body == b"x" * 65_536


def test_a_response_whose_chunks_somebody_took_has_nothing_left(server):
    server.serve(["one"])
    with get(server) as response:
        for _ in response.iter_content(None):
            pass
        with pytest.raises(RuntimeError, match="content for this response was already consumed"):
            list(iter_events(response))


@pytest.mark.parametrize("then", ["drop", "reset"])
def test_a_stream_that_breaks_off_is_an_error_after_its_events(server, then):
    with get_in_steps(server) as (response, exchange):
        events = iter_events(response)
        exchange.send("one")
        assert next(events).data == "one"
        getattr(exchange, then)()
        with pytest.raises(StreamInterruptedError, match="broke off") as caught:
            next(events)
        assert not isinstance(caught.value, IdleTimeoutError)
        assert caught.value.response is response
        assert caught.value.__cause__ is not None


def test_a_stream_with_a_broken_framing_is_an_error(server):
    with get_in_steps(server) as (response, exchange):
        exchange.write_raw(b"no size\r\n")
        with pytest.raises(StreamInterruptedError, match="broke off"):
            list(iter_events(response))


def test_a_stream_that_is_not_compressed_as_it_says_is_an_error(server):
    server.serve([b"data: one\n\n"], headers={"Content-Encoding": "gzip"})
    with get(server) as response, pytest.raises(StreamInterruptedError, match="broke off"):
        list(iter_events(response))


def test_a_read_timeout_is_an_error_after_the_events(server):
    server.serve(["one"], then="stall")
    with get(server) as response:
        # Only now, because the timeout of the request also limits the wait for the header.
        response.raw.connection.sock.settimeout(0.1)
        events = iter_events(response)
        assert next(events).data == "one"
        with pytest.raises(IdleTimeoutError, match="no bytes arrived from ") as caught:
            next(events)
        assert caught.value.waited_for == "bytes"
        assert caught.value.response is response
        assert caught.value.__cause__ is not None


def test_an_event_that_is_too_large_is_an_error(server):
    server.serve(["one", "x" * 100])
    with get(server) as response:
        events = iter_events(response, parser=EventStreamParser(max_event_size=50))
        assert next(events).data == "one"
        with pytest.raises(EventTooLargeError):
            next(events)


def test_a_mocked_response_gives_its_events():
    with responses.RequestsMock() as mock:
        mock.get(STREAM, body="data: one\n\n", content_type="text/event-stream")
        assert data_of(requests.get(STREAM, stream=True, timeout=5)) == ["one"]
