"""The chunked body of a caller's response: as the standard library reads it, and within time."""

from __future__ import annotations

import http.client
import io
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from types import SimpleNamespace

import pytest
import requests
import urllib3
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tables import each_of

import sse_client.http.callers_body
from sse_client import IdleTimeoutError, iter_events
from sse_client.http.body import READ_SIZE
from sse_client.http.callers_body import chunked_body_of

END = b"0\r\n\r\n"

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

#: Bodies on the wire, valid and invalid.
WIRES = {
    "nothing": END,
    "a chunk": b"5\r\nhello\r\n" + END,
    "chunks": b"5\r\nhello\r\n1\r\n \r\n6\r\nthere!\r\n" + END,
    "hexadecimal sizes": b"1A\r\n%b\r\n1a\r\n%b\r\n" % (b"x" * 26, b"y" * 26) + END,
    "leading zeros": b"0" * 40 + b"5\r\nhello\r\n" + END,
    "an extension": b"5;name=value\r\nhello\r\n" + END,
    "blanks behind a size": b"5 \r\nhello\r\n" + END,
    "line feeds alone": b"5\nhello\r\n0\n\n",
    "trailers": b"5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    "line ends in a chunk": b"6\r\n\r\n\r\n\n\n\r\n" + END,
    "more than the buffer": b"4e20\r\n%b\r\n" % (b"x" * 20_000) + END,
    "much in the buffer": b"5\r\nhello\r\n" * 3000 + END,
    "no size": b"\r\n",
    "no number": b"5\r\nhello\r\nxyz\r\nabc\r\n",
    "a negative size": b"5\r\nhello\r\n-5\r\nhello\r\n",
    "too long a chunk": b"5\r\nhello!\r\n" + END,
    "a chunk that is cut": b"5\r\nhel",
    "an end without its last chunk": b"5\r\nhello\r\n",
    "a line end that is cut": b"5\r\nhello\r",
}


class Pieces(io.RawIOBase):
    """A connection on which these pieces arrive one by one."""

    def __init__(self, pieces):
        self._pieces = [piece for piece in pieces if piece]

    def readable(self):
        return True

    def readinto(self, buffer):
        piece = self._pieces.pop(0) if self._pieces else b""
        count = min(len(piece), len(buffer))
        buffer[:count] = piece[:count]
        if count < len(piece):
            self._pieces.insert(0, piece[count:])
        return count


class FakeSocket:
    def __init__(self, pieces):
        self._file = io.BufferedReader(Pieces(pieces))

    def makefile(self, mode):
        assert mode == "rb"
        return self._file


def response_of(pieces):
    return urllib3_response(FakeSocket([HEAD, *pieces]))


def urllib3_response(its_socket):
    source = http.client.HTTPResponse(its_socket)
    source.begin()
    return urllib3.HTTPResponse(
        source, dict(source.headers.items()), 200, preload_content=False, request_method="GET"
    )


def read_by_library(raw):
    read = raw._fp.read1
    while chunk := read(READ_SIZE):
        yield chunk


def outcome_of(chunks):
    """Return the body and the type of the error."""
    body = b""
    try:
        for chunk in chunks:
            body += chunk
    except Exception as error:
        return body, type(error)
    return body, None


def cuts_of(wire):
    yield [wire]
    if len(wire) < 200:
        yield [wire[at : at + 1] for at in range(len(wire))]
        yield from ([wire[:at], wire[at:]] for at in range(1, len(wire)))
    yield [wire[at : at + 999] for at in range(0, len(wire), 999)]


@each_of("name", WIRES)
def test_reads_what_the_standard_library_reads(name):
    for pieces in cuts_of(WIRES[name]):
        expected = outcome_of(read_by_library(response_of(pieces)))
        assert outcome_of(chunked_body_of(response_of(pieces)).chunks()) == expected, pieces


def test_a_size_that_is_not_yet_complete_is_no_chunk():
    pieces = [b"0000000000a\r\n", b"helloworld\r\n" + END]
    assert outcome_of(chunked_body_of(response_of(pieces)).chunks()) == (b"helloworld", None)


@settings(deadline=None)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    places=st.lists(st.integers(0, 400), max_size=8),
)
@example(chunks=[b"\r\n", b"x"], places=[3, 4, 5, 6, 7])
def test_gives_back_what_was_put_into_chunks(chunks, places):
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + END
    pieces = [wire[a:b] for a, b in pairwise([0, *sorted(places), len(wire)])]
    assert outcome_of(chunked_body_of(response_of(pieces)).chunks()) == (b"".join(chunks), None)


@pytest.mark.parametrize("cut", [None, *range(1, 30)])
@pytest.mark.parametrize("way", ["read", "stream", "standard library"])
def test_the_rest_can_be_read_in_another_way(cut, way):
    wire = b"5\r\nhello\r\n6\r\nthere!\r\n3\r\nyou\r\n" + END
    raw = response_of([wire[:cut], wire[cut:]] if cut else [wire])
    chunks = chunked_body_of(raw).chunks()
    body = next(chunks)
    while len(body) < 5:
        body += next(chunks)
    if way == "read":
        body += raw.read()
    elif way == "stream":
        body += b"".join(iter(lambda: raw.read(4), b""))
    else:
        body += b"".join(read_by_library(raw))
    assert body == b"hellothere!you"


def test_a_chunk_is_there_before_the_next_one_arrives():
    raw = response_of([b"5\r\nhello\r\n", b"never"])
    chunks = chunked_body_of(raw).chunks()
    assert next(chunks) == b"hello"
    assert raw._fp.fp.read() == b"never"


def test_a_response_that_is_closed_in_the_meantime_ends():
    raw = response_of([WIRES["chunks"]])
    chunks = chunked_body_of(raw).chunks()
    assert next(chunks) == b"hello"
    raw.close()
    assert list(chunks) == []


@pytest.mark.parametrize("stays", ["headers", "file", "position"])
def test_other_bodies_are_left_to_urllib3(stays):
    raw = response_of([WIRES["chunks"]])
    if stays == "headers":
        raw.headers["Content-Encoding"] = "gzip"
    elif stays == "file":
        raw._fp.fp = io.BytesIO(raw._fp.fp.read())
    else:
        raw.read(1)
    assert chunked_body_of(raw) is None


# The timeout.


@contextmanager
def streaming(server, timeout=5):
    """A response of which one event has arrived, its socket, and its exchange."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(requests.get, server.url, stream=True, timeout=timeout)
        exchange = server.accept()
        exchange.open()
        exchange.send("one")
        with asked.result() as response:
            yield response, response.raw.connection.sock, exchange


@pytest.fixture
def elsewhere():
    """Calls a function on a thread other than the main thread, and returns what it returns."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def call_here(function, *arguments):
    return function(*arguments)


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do this")


@needs_linux
def test_the_system_limits_a_wait_on_a_thread(server, elsewhere):
    with streaming(server) as (response, its_socket, _):
        its_socket.settimeout(0.05)
        events = iter_events(response)
        assert elsewhere(next, events).data == "one"
        assert its_socket.gettimeout() is None
        with pytest.raises(IdleTimeoutError, match="no bytes arrived from ") as caught:
            elsewhere(next, events)
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert its_socket.gettimeout() == 0.05


def test_the_main_thread_limits_its_waits_itself(server):
    with streaming(server) as (response, its_socket, _):
        events = iter_events(response)
        assert next(events).data == "one"
        assert its_socket.gettimeout() == 5


@needs_linux
def test_the_smallest_timeout_is_not_unlimited(server, elsewhere):
    with streaming(server) as (response, its_socket, _):
        its_socket.settimeout(1e-9)
        events = iter_events(response)
        with pytest.raises(IdleTimeoutError):
            elsewhere(list, events)


def test_a_response_without_a_timeout_waits_as_before(server, elsewhere):
    with streaming(server, timeout=None) as (response, its_socket, exchange):
        events = iter_events(response)
        assert elsewhere(next, events).data == "one"
        exchange.send("two")
        exchange.end()
        assert [event.data for event in elsewhere(list, events)] == ["two"]
        assert its_socket.gettimeout() is None


def test_a_consumer_that_leaves_gets_its_socket_back(server, elsewhere):
    with streaming(server) as (response, its_socket, exchange):
        events = iter_events(response)
        assert elsewhere(next, events).data == "one"
        elsewhere(events.close)
        assert its_socket.gettimeout() == 5
        exchange.send("two")
        exchange.end()
        assert b"two" in response.raw.read()


@needs_linux
def test_the_system_no_longer_limits_the_waits_of_a_connection_afterwards(server, elsewhere):
    with streaming(server) as (response, its_socket, _):
        its_socket.settimeout(0.05)
        events = iter_events(response)
        assert elsewhere(next, events).data == "one"
        limit = (socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
        assert any(its_socket.getsockopt(*limit))
        elsewhere(events.close)
        assert not any(its_socket.getsockopt(*limit))


@needs_linux
def test_the_rest_can_be_read_with_the_timeout_in_the_meantime(server, elsewhere):
    with streaming(server) as (response, its_socket, _):
        its_socket.settimeout(0.05)
        events = iter_events(response)
        assert elsewhere(next, events).data == "one"
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            response.raw.read()
        del events


@needs_linux
def test_a_timeout_that_is_set_in_the_meantime_counts_and_stays(server, elsewhere):
    with streaming(server) as (response, its_socket, _):
        events = iter_events(response)
        assert elsewhere(next, events).data == "one"
        its_socket.settimeout(0.05)
        with pytest.raises(IdleTimeoutError):
            elsewhere(next, events)
        assert its_socket.gettimeout() == 0.05


def test_a_response_closed_on_the_way_ends_the_events(server, elsewhere):
    with streaming(server) as (response, _, _):
        events = iter_events(response)
        assert elsewhere(next, events).data == "one"
        response.close()
        with suppress(ValueError):  # of urllib3, as for any closed response
            assert elsewhere(list, events) == []


@contextmanager
def connected(*pieces):
    """The body of a response, its socket, and the server's end, which has sent these pieces."""
    its_socket, server = socket.socketpair()
    with its_socket, server:
        server.sendall(b"".join([HEAD, *pieces]))
        its_socket.settimeout(5)
        yield urllib3_response(its_socket), its_socket, server


@needs_linux
@each_of("name", WIRES)
def test_on_a_thread_what_arrived_with_the_header_is_read_too(name, elsewhere):
    expected = outcome_of(read_by_library(response_of([WIRES[name]])))
    with connected(WIRES[name]) as (raw, its_socket, server):
        server.close()
        assert elsewhere(outcome_of, chunked_body_of(raw).chunks()) == expected
        assert its_socket.gettimeout() == 5


@needs_linux
def test_a_connection_that_is_lost_before_the_first_read_keeps_its_timeout(elsewhere):
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        closing(socket.create_connection(listener.getsockname(), timeout=5)) as its_socket,
    ):
        server, _ = listener.accept()
        server.sendall(HEAD)
        raw = urllib3_response(its_socket)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()  # a reset
        assert elsewhere(outcome_of, chunked_body_of(raw).chunks()) == (b"", ConnectionResetError)
        assert its_socket.gettimeout() == 5


@needs_linux
def test_the_file_still_reads_without_blocking_if_the_user_wants_that(elsewhere):
    with connected(b"5\r\nhello\r\n") as (raw, its_socket, _):
        chunks = chunked_body_of(raw).chunks()
        assert elsewhere(next, chunks) == b"hello"
        elsewhere(chunks.close)
        its_socket.settimeout(0.0)
        assert raw._fp.fp.read() is None
        assert raw._fp.fp.fileno() == its_socket.fileno()


@needs_linux
@pytest.mark.parametrize("lacks", ["platform", "thread", "option", "class"])
def test_without_help_of_the_system_the_timeout_counts(server, elsewhere, monkeypatch, lacks):
    module = sse_client.http.callers_body  # only its names, because pytest uses the modules, too
    with streaming(server) as (response, its_socket, _):
        if lacks == "platform":
            monkeypatch.setattr(module, "_CAN_LIMIT", False)
        elif lacks == "option":
            monkeypatch.setattr(
                module, "struct", SimpleNamespace(pack=lambda *_: b"", error=OSError)
            )
        elif lacks == "class":
            monkeypatch.setattr(module, "socket", SimpleNamespace(socket=object))
        run = call_here if lacks == "thread" else elsewhere
        its_socket.settimeout(0.05)
        events = iter_events(response)
        assert run(next, events).data == "one"
        assert its_socket.gettimeout() == 0.05
        with pytest.raises(IdleTimeoutError):
            run(next, events)
