"""A dead connection is detected in each way that can be set, and a healthy one is kept."""

from __future__ import annotations

import errno

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from support import PATIENCE, Signal, sse_client_for_tests

from sse_client import IdleTimeoutError, StreamInterruptedError
from sse_client.http.response_head import Arrivals

#: The interval between two arrivals, and the maximum silence, in seconds.
PACE = 0.05
LIMIT = 1.0

#: This many intervals take longer than the limit.
COUNT = int(1.5 * LIMIT / PACE)


def paced(beat):
    """A handler that sends heartbeats for longer than the limit, and then an event."""

    def handle(exchange, **options):
        exchange.open(**options)
        for _ in range(COUNT):
            if exchange.wait_closed(PACE):
                return
            beat(exchange)
        exchange.write(b"\ndata: end\n\n")
        exchange.stall()

    return handle


def beat_with_bytes(exchange):
    exchange.write(b":")


def beat_with_comments(exchange):
    exchange.comment()


def beat_with_events(exchange):
    exchange.send("beat")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize(
    ("beat", "limits"),
    [
        (beat_with_bytes, {"timeout": (10, LIMIT)}),
        (beat_with_comments, {"timeout": (10, LIMIT), "event_timeout": 60}),
        (beat_with_events, {"timeout": (10, LIMIT), "event_timeout": LIMIT}),
    ],
)
def test_no_limit_ends_a_healthy_stream(server, beat, limits, encoding):
    lost = Signal()
    server.handler = lambda exchange: paced(beat)(exchange, content_encoding=encoding)
    with sse_client_for_tests(on_disconnect=lost) as client:
        session = client.sse(server.url, **limits)
        while session.incoming.get(timeout=PATIENCE).data != "end":
            pass
        assert (lost.calls, session.statistics.connections) == ([], 1)
        session.close()


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize(
    ("limits", "waited_for"),
    [
        ({"timeout": (10, 0.2)}, "bytes"),
        ({"timeout": 0.2}, "bytes"),
        ({"timeout": (10, 0.2), "event_timeout": 60}, "bytes"),
        ({"event_timeout": 0.2}, "event"),
        ({"timeout": (10, 60), "event_timeout": 0.2}, "event"),
    ],
)
def test_each_limit_ends_silence_and_reconnects(server, limits, waited_for, encoding):
    lost = Signal()
    for number in range(3):
        server.serve([f"{number}"], then="stall", content_encoding=encoding)
    with sse_client_for_tests(on_disconnect=lost) as client:
        session = client.sse(server.url, **limits)
        events = [session.incoming.get(timeout=PATIENCE).data for _ in range(3)]
        session.close()
    assert events == ["0", "1", "2"]
    errors = [error for _, error, _ in lost.calls[:2]]
    assert [type(error) for error in errors] == [IdleTimeoutError] * 2
    assert [(error.waited_for, error.timeout) for error in errors] == [(waited_for, 0.2)] * 2


@pytest.mark.parametrize("timeout", [None, (10, 60)])
def test_the_event_timeout_holds_over_a_transport_that_is_not_of_requests(server, timeout):
    class Transport(requests.adapters.BaseAdapter):
        def send(self, request, **_):
            raw = pools.request("GET", request.url, headers=request.headers, preload_content=False)
            return HTTPAdapter().build_response(request, raw)

        def close(self):
            pass

    lost = Signal()
    for number in range(2):
        server.serve([f"{number}"], then="stall")
    with (
        urllib3.PoolManager() as pools,
        requests.Session() as own,
        sse_client_for_tests(own, on_disconnect=lost, event_timeout=0.2) as client,
    ):
        own.mount("http://", Transport())
        session = client.sse(server.url, timeout=timeout)
        assert [session.incoming.get(timeout=PATIENCE).data for _ in range(2)] == ["0", "1"]
        session.close()
    assert lost.calls[0][1].waited_for == "event"


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_what_keep_alive_finds_dead_is_a_lost_connection(server, monkeypatch, encoding):
    # A test cannot create a peer that does not even reply to probes. This is the error of a read
    # once the system has given up.
    lost, is_dead = Signal(), Signal()

    def until_dead(read):
        def read_until_dead(arrivals, buffer_or_size):
            if is_dead.is_set():
                is_dead.clear()
                raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")
            return read(arrivals, buffer_or_size)

        return read_until_dead

    for name in ("readinto", "receive"):
        monkeypatch.setattr(Arrivals, name, until_dead(getattr(Arrivals, name)))
    server.serve(["one", b": the last\n"], then="stall", content_encoding=encoding)
    server.serve(["two"], then="stall", content_encoding=encoding)
    with sse_client_for_tests(on_disconnect=lost, on_comment=is_dead) as client:
        session = client.sse(server.url)
        events = [session.incoming.get(timeout=PATIENCE).data for _ in range(2)]
        session.close()
    assert events == ["one", "two"]
    error = lost.calls[0][1]
    assert type(error) is StreamInterruptedError
    assert "Connection timed out" in str(error)
