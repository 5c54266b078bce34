"""Bodies: decoding chunks however they are split, and which responses are read in which way."""

from __future__ import annotations

import io
import random
import threading
from contextlib import contextmanager
from itertools import pairwise, product
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import PATIENCE, Running, sse_client_for_tests
from tables import each_of
from urllib3.exceptions import ProtocolError

from sse_client import IdleTimeoutError, StreamInterruptedError, iter_events
from sse_client.clock import SYSTEM_CLOCK
from sse_client.http.abortable_connections import watched_by
from sse_client.http.aborting import AbortableSocket
from sse_client.http.body import READ_SIZE, plain_body_of
from sse_client.http.framing import ChunkDecoder, LengthDecoder
from sse_client.http.pools import watch_pool
from sse_client.http.response_head import BoundedResponse
from sse_client.http.stream_body import StreamBody

if TYPE_CHECKING:
    from collections.abc import Iterator

END = b"0\r\n\r\n"

#: The bytes sent, and the body that they contain.
BODIES = {
    "nothing": (END, b""),
    "a chunk": (b"5\r\nhello\r\n" + END, b"hello"),
    "several chunks": (b"5\r\nhello\r\n1\r\n \r\n6\r\nthere!\r\n" + END, b"hello there!"),
    "hexadecimal sizes": (
        b"1A\r\n%b\r\n1a\r\n%b\r\n" % (b"x" * 26, b"y" * 26) + END,
        b"x" * 26 + b"y" * 26,
    ),
    "leading zeros": (b"0" * 40 + b"5\r\nhello\r\n0000\r\n\r\n", b"hello"),
    "an extension": (b'5;name=value;other="x"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
    "blanks behind a size": (b"5 \r\nhello\r\n0 \r\n\r\n", b"hello"),
    "line feeds alone between the chunks": (b"5\nhello\r\n0\n\n", b"hello"),
    "trailers": (b"5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"hello"),
    "line ends in a chunk": (b"6\r\n\r\n\r\n\n\n\r\n" + END, b"\r\n\r\n\n\n"),
    "what looks like an end": (b"5\r\n" + END + b"\r\n" + END, END),
}

#: Invalid bytes, and the body before them.
BROKEN = {
    "no size": (b"\r\n", b""),
    "no number": (b"5\r\nhello\r\nxyz\r\nabc\r\n", b"hello"),
    "a negative size": (b"5\r\nhello\r\n-5\r\nhello\r\n", b"hello"),
    "a sign": (b"+5\r\nhello\r\n", b""),
    "a prefix": (b"0x5\r\nhello\r\n", b""),
    "underlines": (b"1_0\r\nhello\r\n", b""),
    "a size without end": (b"1" * 65 + b"\r\n", b""),
    "a CR alone behind a size": (b"5\rhello\r\n" + END, b""),
    "too long a chunk": (b"5\r\nhello!\r\n", b"hello"),
    "a chunk without a line end": (b"5\r\nhello5\r\nhello", b"hello"),
    "half a line end": (b"5\r\nhello\r5\r\n", b"hello"),
    "an endless line": (b"5\r\nhello\r\n5;" + b"x" * 9000, b"hello"),
    "an endless trailer": (b"5\r\nhello\r\n0\r\n" + b"x" * 9000, b"hello"),
    "endless trailers": (b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 20_000, b"hello"),
}


#: The bytes that are split at every position: all short ones from above, and more.
SMALL = {
    **{name: wire for name, (wire, _) in (*BODIES.items(), *BROKEN.items()) if len(wire) < 200},
    "an empty line before a size": b"\n5\r",
    "an empty line before a chunk": b"\n5\r\nhello\r\n" + END,
    "a CR alone": b"\r",
    "a CR at the end of a wrong size": b"5\nhello\r\nx\r",
    "a trailer with a CR alone": b"0\r\nA\r\r\n\r\n",
}


def outcome_of(pieces: list[bytes]) -> tuple[bytes, str, bool, bool]:
    """Return the body, the message of the error, and whether the end was reached."""
    decoder = ChunkDecoder()
    body, problem = b"", ""
    try:
        for piece in [*pieces, b""]:
            body += decoder.feed(piece)
    except ProtocolError as error:
        problem = str(error)
    return body, problem, decoder.has_last_chunk, decoder.has_ended


def cuts_of(wire: bytes) -> Iterator[list[bytes]]:
    yield [wire]
    yield [wire[at : at + 1] for at in range(len(wire))]
    if len(wire) < 200:
        for at in range(1, len(wire)):
            yield [wire[:at], wire[at:]]
    chance = random.Random(wire)
    for _ in range(20):
        places = sorted(chance.randrange(len(wire) + 1) for _ in range(4))
        yield [wire[a:b] for a, b in pairwise([0, *places, len(wire)])]


def decode(pieces: list[bytes]) -> tuple[bytes, ChunkDecoder]:
    decoder = ChunkDecoder()
    return b"".join(decoder.feed(piece) for piece in pieces if piece), decoder


def decoded(pieces: list[bytes]) -> Iterator[bytes]:
    decoder = ChunkDecoder()
    for piece in [*pieces, b""]:
        yield decoder.feed(piece)


class TestChunkDecoder:
    @each_of("name", BODIES)
    def test_takes_chunks_apart_however_they_are_cut(self, name):
        wire, body = BODIES[name]
        for pieces in cuts_of(wire):
            found, decoder = decode(pieces)
            assert found == body, pieces
            assert decoder.has_ended

    @each_of("name", BODIES)
    def test_has_not_ended_before_the_last_byte(self, name):
        wire, _ = BODIES[name]
        for pieces in cuts_of(wire[:-1]):
            assert not decode(pieces)[1].has_ended, pieces

    @each_of("name", BODIES)
    @each_of("excess", [b"\n", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"])
    def test_drops_what_is_behind_the_end(self, name, excess):
        wire, body = BODIES[name]
        found, decoder = decode([wire + excess])
        assert found == body
        assert decoder.has_ended

    @each_of("name", BROKEN)
    def test_raises_behind_what_was_right(self, name):
        wire, body = BROKEN[name]
        for pieces in cuts_of(wire):
            found = []
            with pytest.raises(ProtocolError):
                found.extend(decoded(pieces))
            assert b"".join(found) == body, pieces

    @each_of("name", SMALL)
    def test_gives_the_same_result_for_every_two_way_cut(self, name):
        wire = SMALL[name]
        expected = outcome_of([wire])
        assert outcome_of([wire[at : at + 1] for at in range(len(wire))]) == expected
        for at in range(1, len(wire)):
            assert outcome_of([wire[:at], wire[at:]]) == expected, at

    def test_gives_the_same_result_for_every_cut_of_every_short_body(self):
        for length in range(1, 6):
            for characters in product(b"\r\n012;x", repeat=length):
                wire = bytes(characters)
                expected = outcome_of([wire])
                assert outcome_of([wire[at : at + 1] for at in range(length)]) == expected, wire
                for at in range(1, length):
                    assert outcome_of([wire[:at], wire[at:]]) == expected, (wire, at)

    def test_drops_what_is_fed_after_the_end(self):
        decoder = ChunkDecoder()
        assert decoder.feed(END) == b""
        assert decoder.feed(b"x" * 100_000) == b""
        assert decoder.has_ended

    @pytest.mark.parametrize("before", [b"5;", b"0\r\nA: "], ids=["an extension", "a trailer"])
    def test_limits_a_line_wherever_it_is_cut(self, before):
        line = before + b"x" * 8192 + b"\r\n"
        after = b"hello\r\n" + END if before == b"5;" else b"\r\n"
        for at in (1, 4000, len(line) - 2, len(line) - 1, len(line)):
            with pytest.raises(ProtocolError, match="too long"):
                decode([line[:at], line[at:] + after])

    def test_limits_trailers_that_arrive_together_with_their_end(self):
        with pytest.raises(ProtocolError, match="too long"):
            decode([b"0\r\n" + b"A: b\r\n" * 50_000 + b"\r\n"])

    def test_takes_a_long_trailer_a_byte_at_a_time(self):
        wire = b"0\r\n" + b"A: " + b"x" * 4000 + b"\r\n\r\n"
        _, decoder = decode([wire[at : at + 1] for at in range(len(wire))])
        assert decoder.has_ended

    @settings(deadline=None)
    @given(
        chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
        places=st.lists(st.integers(0, 400), max_size=8),
    )
    @example(chunks=[b"\r\n"], places=[3, 4, 5, 6, 7])
    def test_gives_back_what_was_put_into_chunks(self, chunks, places):
        wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + END
        found, decoder = decode([wire[a:b] for a, b in pairwise([0, *sorted(places), len(wire)])])
        assert found == b"".join(chunks)
        assert decoder.has_ended


class TestLengthDecoder:
    BODY, EXCESS = b"data: 1\n\n", b"HTTP/1.1 200 OK\r\n"

    def test_drops_what_is_after_the_length_however_it_is_cut(self):
        for pieces in cuts_of(self.BODY + self.EXCESS):
            decoder = LengthDecoder(len(self.BODY))
            assert b"".join(decoder.feed(piece) for piece in pieces) == self.BODY, pieces
            assert decoder.has_ended
            decoder.finish()

    def test_has_not_ended_before_the_last_byte(self):
        for pieces in cuts_of(self.BODY[:-1]):
            decoder = LengthDecoder(len(self.BODY))
            assert b"".join(decoder.feed(piece) for piece in pieces) == self.BODY[:-1], pieces
            assert not decoder.has_ended
            with pytest.raises(ProtocolError, match="ended 1 bytes before the end of the body"):
                decoder.finish()


class FakeReads:
    """Counts the underlying reads of a body."""

    def __init__(self, monkeypatch):
        self.count = 0
        feed = ChunkDecoder.feed

        def counted(decoder, data):
            self.count += 1
            return feed(decoder, data)

        monkeypatch.setattr(ChunkDecoder, "feed", counted)


@pytest.fixture
def reads(monkeypatch):
    return FakeReads(monkeypatch)


@contextmanager
def opened(url):
    """A response, as in an attempt to open a stream."""
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", url))
        watch_pool(session, prepared, {"verify": True, "proxies": {}, "cert": None})
        with (
            watched_by(AbortableSocket(print, SYSTEM_CLOCK)),
            session.send(prepared, stream=True) as response,
        ):
            yield response


def read_all(response):
    body = StreamBody(response, None, lambda _: None, lambda: None, SYSTEM_CLOCK)
    try:
        return b"".join(body.chunks(SimpleNamespace(deadline=None)))
    finally:
        body.close()


class TestWhichBodies:
    @pytest.fixture
    def raw(self, server):
        server.serve(["one"], then="stall")
        with opened(server.url) as response:
            assert plain_body_of(response.raw) is not None
            yield response.raw

    @pytest.mark.parametrize(
        ("place", "name", "value"),
        [
            ("bounded_response", "chunked", False),
            ("bounded_response", "chunk_left", 5),
            ("bounded_response", "request_method", "HEAD"),
            ("bounded_response", "fp", io.BytesIO()),
            ("", "chunked", False),
            ("", "chunk_left", 5),
            ("", "bounded_response", None),
            ("", "headers", {"Content-Encoding": "gzip"}),
        ],
    )
    def test_are_no_plain_chunks(self, raw, monkeypatch, place, name, value):
        monkeypatch.setattr(getattr(raw, place) if place else raw, name, value)
        assert plain_body_of(raw) is None

    def test_are_none_of_urllib3(self, raw):
        class Foreign(type(raw)):
            pass

        monkeypatched = Foreign.__new__(Foreign)
        monkeypatched.__dict__.update(raw.__dict__)
        assert plain_body_of(monkeypatched) is None
        monkeypatched._fp = None


class TestReading:
    def test_many_chunks_come_in_few_reads(self, server, reads):
        events = [b"data: %d\n\n" % number for number in range(200)]

        def handle(exchange):
            exchange.open()
            exchange.write_raw(b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in events) + END)
            exchange.drop()

        server.handler = handle
        with opened(server.url) as response:
            assert read_all(response) == b"".join(events)
        assert 0 < reads.count < 20

    @pytest.mark.parametrize(
        "options",
        [
            {"framing": "close"},
            {"framing": "chunked", "content_encoding": "gzip"},
            {"framing": "length", "content_length": 9},
        ],
        ids=str,
    )
    def test_leaves_other_bodies_to_urllib3(self, server, reads, options):
        def handle(exchange):
            exchange.open(**options)
            exchange.write(b"data: 1\n\n")
            exchange.end()

        server.handler = handle
        with opened(server.url) as response:
            assert read_all(response) == b"data: 1\n\n"
        assert reads.count == 0

    def test_more_than_fits_into_one_read_comes_whole(self, server):
        data = "x" * (3 * READ_SIZE)
        server.serve([data, "two"])
        with sse_client_for_tests(reconnect="never") as client, client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == [data, "two"]

    def test_the_connection_can_be_used_again_after_the_end(self, server):
        server.serve(["one"])
        server.serve(["two"])
        with requests.Session() as session:
            for data in ("one", "two"):
                response = session.get(server.url, stream=True)
                assert [event.data for event in iter_events(response)] == [data]
        first, second = server.requests
        assert first.client_port == second.client_port

    def test_a_response_can_be_read_on_in_another_way(self, server):
        def handle(exchange):
            exchange.open()
            exchange.write_raw(b"9\r\ndata: 1\n\n\r\n12\r\ndata: 2\n\ndat")
            more.wait(5)
            exchange.write_raw(b"a: 3\n\n\r\n" + END)
            exchange.drop()

        more = threading.Event()
        server.handler = handle
        with requests.get(server.url, stream=True) as response:
            assert next(iter_events(response)).data == "1"
            more.set()
            rest = response.raw.read()
        assert b"data: 2\n\ndata: 3\n\n".endswith(rest)
        assert rest.endswith(b"a: 3\n\n")

    @pytest.mark.parametrize(
        "rest", [b"", b"5", b"5\r\nhel", b"zz\r\n", b"0", b"5\r\nhello, "], ids=repr
    )
    def test_what_came_before_a_fault_is_delivered(self, server, rest):
        def handle(exchange):
            exchange.open()
            exchange.write_raw(b"9\r\ndata: 1\n\n\r\n" + rest)
            exchange.drop()

        server.handler = handle
        with sse_client_for_tests(reconnect="never") as client, client.sse(server.url) as session:
            events = iter(session.incoming)
            assert next(events).data == "1"
            with pytest.raises(StreamInterruptedError):
                next(events)

    @pytest.mark.parametrize("rest", [b"0\r\n", b"0\r\nA: b\r\n", b"0\n"], ids=repr)
    def test_the_line_behind_the_last_chunk_may_be_missing(self, server, rest):
        def handle(exchange):
            exchange.open()
            exchange.write_raw(b"9\r\ndata: 1\n\n\r\n" + rest)
            exchange.drop()

        server.handler = handle
        with sse_client_for_tests(reconnect="never") as client, client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["1"]

    def test_a_response_that_the_user_closes_has_no_more(self, server):
        server.serve(["one", "two"], then="stall")
        response = requests.get(server.url, stream=True)
        events = iter_events(response)
        assert next(events).data == "one"
        response.close()
        assert [event.data for event in events] in (["two"], [])

    def test_a_response_that_a_hook_closes_is_followed_by_the_next(self, server):
        def close_first(session, _comment):
            if session.statistics.connections == 1:
                session.response.close()

        def handle(exchange):
            exchange.write(b": hello\n\n")
            exchange.stall()
            if len(server.requests) > 1:
                exchange.send("one")

        server.handler = handle
        with (
            sse_client_for_tests(on_comment=close_first) as client,
            client.sse(server.url) as session,
        ):
            assert session.incoming.get(timeout=5).data == "one"
            assert session.statistics.connections == 2


def handler_of(framing, encoding, *pieces):
    """A handler that sends these pieces of a stream, and then nothing more."""

    def handle(exchange):
        length = 100 if framing == "length" else None
        exchange.open(framing=framing, content_length=length, content_encoding=encoding)
        for piece in pieces:
            exchange.write(piece)
        exchange.stall()

    return handle


def each_framing(test):
    test = pytest.mark.parametrize("encoding", [None, "gzip"])(test)
    return pytest.mark.parametrize("framing", ["chunked", "close", "length"])(test)


class TestClosing:
    """A user who closes the response of a stream, for each of the two drivers."""

    @pytest.fixture(params=[True, False], ids=["own thread", "shared"])
    def client(self, request):
        with sse_client_for_tests(own_thread=request.param, reconnect="never") as client:
            yield client

    @each_framing
    @pytest.mark.parametrize("data", [[], ["one"]], ids=["before the first byte", "later"])
    def test_the_user_ends_its_wait(self, server, client, framing, data, encoding):
        server.handler = handler_of(framing, encoding, *(f"data: {x}\n\n".encode() for x in data))
        session = client.sse(server.url)
        assert [session.incoming.get(timeout=PATIENCE).data for _ in data] == data
        assert Running(session.response.close).outcome() is None
        assert Running(lambda: list(session.incoming)).outcome() == []
        assert session.error is None

    @each_framing
    def test_a_hook_ends_it(self, server, client, framing, encoding):
        server.handler = handler_of(framing, encoding, b": hello\n")
        session = client.sse(server.url, on_comment=lambda session, _: session.response.close())
        assert Running(lambda: list(session.incoming)).outcome() == []
        assert session.error is None

    @each_framing
    def test_the_user_may_close_it_before_it_is_read(self, server, client, framing, encoding):
        server.handler = handler_of(framing, encoding)
        session = client.sse(server.url, on_open=lambda session: session.response.close())
        assert Running(lambda: list(session.incoming)).outcome() == []
        assert session.error is None

    def test_the_user_and_its_reader_may_close_it_together(self, server, client, monkeypatch):
        def finish_late(response):
            assert has_closed.wait(PATIENCE)
            finish(response)

        has_closed, finish = threading.Event(), BoundedResponse.finish
        server.serve(["one"], then="stall")
        session = client.sse(server.url)
        assert session.incoming.get(timeout=PATIENCE).data == "one"
        monkeypatch.setattr(BoundedResponse, "finish", finish_late)
        assert Running(session.response.close).outcome() is None
        has_closed.set()
        assert Running(lambda: list(session.incoming)).outcome() == []
        assert session.error is None

    @each_framing
    def test_the_user_may_be_closing_it_when_the_stream_begins(
        self, server, client, monkeypatch, framing, encoding
    ):
        def finish_late(response):
            is_closing.set()
            assert may_close.wait(PATIENCE)
            finish(response)

        def close_beside(session):
            closings.append(Running(session.response.close))
            assert is_closing.wait(PATIENCE)

        closings = []
        is_closing, may_close = threading.Event(), threading.Event()
        finish = BoundedResponse.finish
        monkeypatch.setattr(BoundedResponse, "finish", finish_late)
        server.handler = handler_of(framing, encoding)
        session = client.sse(server.url, on_open=close_beside)
        assert Running(lambda: list(session.incoming)).outcome() == []
        assert session.error is None
        may_close.set()
        assert closings[0].outcome() is None


def test_a_limit_holds_for_all_reads_together(server):
    def handle(exchange):
        exchange.open()
        exchange.send("one")
        while not exchange.wait_closed(0.02):
            exchange.write_raw(b"1")  # a chunk's size that does not end

    server.handler = handle
    options = {"own_thread": True, "reconnect": "never", "event_timeout": 0.3}
    with sse_client_for_tests(**options) as client, client.sse(server.url) as session:
        assert session.incoming.get(timeout=PATIENCE).data == "one"
        assert isinstance(Running(session.incoming.get).outcome(), IdleTimeoutError)
