"""A response on the wire: the time, size and completeness of its header, and the bytes after it."""

from __future__ import annotations

import errno
import http.client
import io
import socket
import threading
import zlib
from contextlib import contextmanager

import pytest
from support import PATIENCE, Running, Signal, silent_listener, sse_client_for_tests

from sse_client import (
    SSE,
    ConnectionFailedError,
    HttpClient,
    IdleTimeoutError,
    SessionClosedError,
    StreamInterruptedError,
    UnexpectedStatusError,
)
from sse_client.clock import SYSTEM_CLOCK
from sse_client.http import stream_connection as transport
from sse_client.http.response_head import (
    MAX_HEADER_SIZE,
    MAX_TRAILERS_SIZE,
    Arrivals,
    BoundedResponse,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

#: The interval between two bytes, and the time for the whole header, in seconds.
PACE = 0.05
LIMIT = 0.3


def trickle(exchange):
    """Send a header that never ends, one byte at a time."""
    exchange.write_raw(HEAD + b"X: ")
    while not exchange.wait_closed(PACE):
        exchange.write_raw(b"x")


def trickle_to(connection, begin):
    """The same for a bare socket."""
    connection.sendall(begin)
    paced = threading.Event()
    try:
        while not paced.wait(PACE):
            connection.sendall(b"x")
    except OSError:
        return True


class TestDeadlineOfAHeader:
    @pytest.mark.parametrize(
        "limits",
        [
            {"timeout": (5, LIMIT)},
            {"event_timeout": LIMIT},
            {"timeout": (5, 60), "event_timeout": LIMIT},
            {"timeout": (5, LIMIT), "event_timeout": 60},
        ],
    )
    def test_of_a_header_that_trickles_is_the_shorter_limit(self, server, limits):
        server.handler = trickle
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError) as caught:
            client.sse(server.url, **limits)
        assert not caught.value.permanent
        assert str(caught.value).endswith(f"the header of the response took more than {LIMIT} s")

    @pytest.mark.parametrize("respond", [trickle, lambda exchange: exchange.stall()])
    def test_without_a_limit_is_a_generous_default(self, server, respond, monkeypatch):
        assert transport.DEFAULT_HEADER_TIMEOUT == 300.0
        monkeypatch.setattr(transport, "DEFAULT_HEADER_TIMEOUT", LIMIT)
        server.handler = respond
        with sse_client_for_tests() as client:
            for timeout in ((5, None), None):
                with pytest.raises(ConnectionFailedError, match="took more than"):
                    client.sse(server.url, timeout=timeout)

    @pytest.mark.parametrize("respond", [trickle, lambda exchange: exchange.stall()])
    def test_of_a_reconnection_leads_to_the_next(self, server, respond):
        lost = Signal()
        server.serve(["one"])
        with sse_client_for_tests(on_disconnect=lost) as client:
            session = client.sse(server.url, timeout=(5, LIMIT))
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            respond(server.accept())
            server.accept().send("two")
            assert session.incoming.get(timeout=PATIENCE).data == "two"
        assert [type(error) for _, error, _ in lost.calls[:2]] == [
            *(type(None), ConnectionFailedError)
        ]

    def test_is_that_of_each_response_on_the_way(self, server):
        server.redirect("/there")
        server.handler = trickle
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError, match="header"):
            client.sse(server.url, timeout=(5, LIMIT))

    @pytest.mark.parametrize(("read", "left"), [(None, None), (7.5, 7.5)])
    def test_is_over_with_the_header(self, server, read, left):
        server.serve(then="stall")
        with sse_client_for_tests() as client:
            # The shared reader removes the timeout of its sockets.
            session = client.sse(server.url, timeout=(5, read), own_thread=True)
            assert session._reader._state._connection._socket._socket.gettimeout() == left

    def test_holds_over_tls(self, tls, tls_server):
        tls_server.handler = trickle
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError, match="header"):
            client.sse(tls_server.url, timeout=(5, LIMIT), verify=tls.ca_bundle)

    @pytest.mark.parametrize("timeout", [(LIMIT, None), (None, LIMIT)])
    def test_of_a_tls_handshake_that_trickles(self, timeout):
        with silent_listener() as (port, accept), sse_client_for_tests() as client:
            url = f"https://127.0.0.1:{port}/"
            opening = Running(lambda: client.sse(url, timeout=timeout))
            peer = accept()
            # A record of 16 KiB with a ServerHello of the same size.
            assert trickle_to(peer, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
            error = opening.outcome()
            assert isinstance(error, ConnectionFailedError)
            assert not error.permanent

    @pytest.mark.parametrize("timeout", [(LIMIT, None), (None, LIMIT)])
    def test_of_a_proxy_s_tunnel_that_trickles(self, timeout):
        with silent_listener() as (port, accept), sse_client_for_tests() as client:
            proxies = {"https": f"http://127.0.0.1:{port}"}
            opening = Running(
                lambda: client.sse("https://127.0.0.1:9/", proxies=proxies, timeout=timeout)
            )
            peer = accept()
            assert trickle_to(peer, b"HTTP/1.1 200 OK\r\nX: ")
            error = opening.outcome()
            assert isinstance(error, ConnectionFailedError)
            assert not error.permanent

    @pytest.mark.parametrize("timeout", [(5, 60), (5, None)])
    @pytest.mark.parametrize("is_on_a_clock_of_its_own", [False, True])
    def test_is_not_what_tcp_keep_alive_says(
        self, server, sse_clock, monkeypatch, timeout, is_on_a_clock_of_its_own
    ):
        # A real test would take two minutes, and somebody to unplug a cable.
        def fail(arrivals, buffer):
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

        monkeypatch.setattr(Arrivals, "readinto", fail)
        clock = sse_clock if is_on_a_clock_of_its_own else None
        with HttpClient(clock=clock).install(SSE) as client:
            with pytest.raises(ConnectionFailedError, match=r": .*Connection timed out$") as caught:
                client.sse(server.url, timeout=timeout)
            assert not caught.value.permanent

    def test_does_not_keep_a_close_waiting(self, server):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(server.url, timeout=(5, 60)))
            exchange = server.accept()
            exchange.write_raw(HEAD)
        assert isinstance(opening.outcome(), SessionClosedError)


@contextmanager
def response_of(wire, timeout=5.0):
    """The response that is read from these bytes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire)
        theirs.shutdown(socket.SHUT_WR)
        response = BoundedResponse(timeout, SYSTEM_CLOCK, ours)
        try:
            yield response
        finally:
            response.close()


class TestArrivals:
    def test_are_not_waited_for_once_the_deadline_has_passed(self, sse_clock):
        ours, theirs = socket.socketpair()
        with ours, theirs, ours.makefile("rb", buffering=0) as file:
            arrivals = Arrivals(file, ours, sse_clock)
            arrivals.read_within(5.0)
            theirs.sendall(b"in time, late")
            assert arrivals.read(7) == b"in time"
            sse_clock.advance(5.0)
            with pytest.raises(TimeoutError):
                arrivals.read(6)
            arrivals.read_within(None)
            assert arrivals.read(6) == b", late"
            arrivals.close()


class TestHeader:
    @pytest.mark.parametrize(
        ("lines", "fields"),
        [
            (b"A: 1\r\nB: 2\r\n", [("A", "1"), ("B", "2")]),
            (b"A: 1\nB:2\n", [("A", "1"), ("B", "2")]),
            (b"nonsense\r\nA: 1\r\n", [("A", "1")]),
            (b"A: 1\r\nnonsense\r\nB: 2\r\n", [("A", "1"), ("B", "2")]),
            (b"A: 1\r\nnon sense: x\r\nB: 2\r\n", [("A", "1"), ("B", "2")]),
            (b"A: 1\r\n: x\r\nB: 2\r\n", [("A", "1"), ("B", "2")]),
            (b"A: 1\r\nn\xf6nsense: x\r\nB: 2\r\n", [("A", "1"), ("B", "2")]),
            (b"A: 1\r\nnonsense\r\n more: of it\r\nB: 2\r\n", [("A", "1"), ("B", "2")]),
            (b" begun: before\r\nA: 1\r\n", [("A", "1")]),
            (b"A: 1\r\n  2\r\n\t3\r\nB: 2\r\n", [("A", "1 2 3"), ("B", "2")]),
            (b"A: 1\rnonsense\r\nB: 2\r\n", [("A", "1 nonsense"), ("B", "2")]),
            (b"From me\r\nA: 1\r\n", [("A", "1")]),
            (b"A: \xff\r\n", [("A", "\xff")]),
            (b"Content-Type: multipart/mixed\r\n", [("Content-Type", "multipart/mixed")]),
            (b"", []),
        ],
    )
    def test_has_no_line_that_is_no_field(self, lines, fields):
        with response_of(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nbody") as response:
            response.begin()
            assert response.msg.items() == fields
            assert response.msg.defects == []
            assert response.msg.get_payload() in ("", [])
            assert response.read() == b"body"

    @pytest.mark.parametrize(
        "flood",
        [
            b"HTTP/1.1 200 OK\r\n" + b"nonsense\r\n" * MAX_HEADER_SIZE,
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"x" * 60_000 + b"\r\n") * 10,
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20_000,
            b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 50_000,
            b"x" * 1_000_000,
        ],
    )
    def test_beyond_its_bounds_is_refused(self, flood):
        ours, theirs = socket.socketpair()

        def send():
            try:
                theirs.sendall(flood)
            except OSError:
                return "refused"

        with ours, theirs:
            sending = Running(send)
            response = BoundedResponse(PATIENCE, SYSTEM_CLOCK, ours)
            refused = r"more than|not HTTP"
            with pytest.raises(http.client.HTTPException, match=refused) as caught:
                response.begin()
            assert not isinstance(caught.value, http.client.RemoteDisconnected)
            response.close()
            ours.close()
            sending.outcome()

    def test_of_something_that_is_no_http_is_refused_at_once(self, server):
        server.handler = lambda exchange: (exchange.write_raw(b"SSH-2.0-x\r\n"), exchange.stall())
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError) as caught:
            client.sse(server.url)
        assert str(caught.value).endswith("/: the response is not HTTP")
        assert not caught.value.permanent

    @pytest.mark.parametrize(
        "line",
        [
            b"\x1b[31mred\x07\r\n",
            b"\r\n",
            b"HTTP/\x1b[31m 200 OK\r\n\r\n",
            b"HTTP/1.1 \x1b[31m OK\r\n\r\n",
            b"HTTP/1.1 099 \x1b[31m\r\n\r\n",
            b"HTTP/1.1 200\x1b[31m\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"SSH-2.0-x",
        ],
    )
    def test_of_something_that_is_no_http_is_not_repeated(self, line):
        with response_of(line) as response, pytest.raises(http.client.HTTPException) as caught:
            response.begin()
        assert type(caught.value) is http.client.HTTPException
        assert str(caught.value) == "the response is not HTTP"

    def test_is_read_from_whatever_stands_in_for_a_socket(self):
        class StandIn:
            """One file for all reads, as in mocket."""

            def makefile(self, mode):
                return file

            def gettimeout(self):
                return None

            def settimeout(self, timeout):
                pass

        file = io.BytesIO(b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nbody")
        response = BoundedResponse(5.0, SYSTEM_CLOCK, StandIn())
        response.begin()
        assert (response.msg.items(), response.read()) == ([("A", "1")], b"body")

    def test_leaves_the_descriptor_to_wait_for_the_body(self):
        with response_of(b"HTTP/1.1 200 OK\r\n\r\n") as response:
            response.begin()
            assert response.fileno() == response.socket.fileno()


def test_a_large_header_leaves_the_lines_between_the_chunks_their_room(server):
    def handle(exchange):
        exchange.write_raw(HEAD + b"X: %b\r\n" % (b"x" * 60_000) * 4)
        exchange.write_raw(b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        exchange.write_raw(gzipped(b"data: one\n\n") + gzipped(b"data: two\n\n"))
        exchange.stall()

    # The standard library reads the chunks of an encoded body.
    server.handler = handle
    with sse_client_for_tests() as client, client.sse(server.url) as session:
        assert session.incoming.get(timeout=PATIENCE).data == "one"


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


class TestInterimResponses:
    """RFC 9110, section 15.2: any number of them may come before the final one."""

    @pytest.mark.parametrize("status", [b"100 Continue", b"102", b"103 Early Hints", b"199 What"])
    def test_are_skipped(self, status):
        interim = b"HTTP/1.1 " + status + b"\r\nA: 1\r\n\r\n"
        with response_of(interim * 3 + b"HTTP/1.1 204 No Content\r\nA: 2\r\n\r\n") as response:
            response.begin()
            assert (response.status, response.msg.items()) == (204, [("A", "2")])

    def test_of_a_stream_are_skipped(self, server):
        def hint_first(exchange):
            exchange.write_raw(EARLY_HINTS + HEAD + b"\r\ndata: one\n\n")
            exchange.drop()

        server.handler = hint_first
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            assert [session.incoming.get(timeout=PATIENCE).data for _ in range(3)] == ["one"] * 3
            assert [response.status_code for response in session.response.history] == []

    def test_are_skipped_ahead_of_a_redirect(self, server):
        moved = b"HTTP/1.1 307 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(server.url))
            server.accept().write_raw(EARLY_HINTS + moved)
            server.accept().send("one")
            assert opening.outcome().incoming.get(timeout=PATIENCE).data == "one"

    def test_that_never_end_are_bounded_in_time(self, server):
        def hint(exchange):
            while not exchange.wait_closed(PACE):
                exchange.write_raw(EARLY_HINTS)

        server.handler = hint
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError, match="header"):
            client.sse(server.url, timeout=(5, LIMIT))

    def test_that_switch_protocols_are_final(self, server):
        server.handler = lambda exchange: exchange.write_raw(b"HTTP/1.1 101 Switching\r\n\r\n")
        with sse_client_for_tests() as client, pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert caught.value.status_code == 101


class TestHeaderThatIsCutOff:
    @pytest.mark.parametrize(
        ("wire", "told"),
        [
            (b"", "the connection ended before a response"),
            (b"HTTP/1.1 103 Early Hints\r\n\r\n", "the connection ended before a response"),
            (b"H", "the connection ended in the middle of the header"),
            (b"HTTP/1.1 20", "the connection ended in the middle of the header"),
        ],
    )
    def test_says_how_far_it_came(self, wire, told):
        with response_of(wire) as response:
            with pytest.raises(http.client.RemoteDisconnected) as caught:
                response.begin()
            assert str(caught.value) == told

    def test_before_it_began_is_an_error_of_the_first_connection(self, server):
        server.handler = lambda exchange: exchange.drop()
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError) as caught:
            client.sse(server.url)
        assert str(caught.value).endswith("/: the connection ended before a response")
        assert not caught.value.permanent

    @pytest.mark.parametrize(
        "begin",
        [
            b"",
            b"H",
            b"HTTP/1.1 20",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Ty",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-str",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n",
            b"HTTP/1.1 307 Moved\r\nLocation: /else",
            b"HTTP/1.1 204 No Content\r\n",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n",
        ],
    )
    def test_is_a_lost_connection_and_no_other_response(self, server, begin):
        server.serve(["one"])
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            exchange = server.accept()
            if begin:
                exchange.write_raw(begin)
            exchange.drop()
            server.accept().send("two")
            assert session.incoming.get(timeout=PATIENCE).data == "two"

    def test_is_an_error_of_the_first_connection(self, server):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            exchange.write_raw(b"HTTP/1.1 204 No Content\r\n")
            exchange.drop()
            assert "in the middle of the header" in str(opening.outcome())


GZIPPED = HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def gzipped(text):
    """The text as an HTTP chunk of a gzip stream that continues."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return chunk(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))


#: An empty deflate block (RFC 1951, section 3.2.4).
NOTHING = chunk(b"\x00\x00\x00\xff\xff")


class TestBody:
    """Bodies that make urllib3 and the standard library read endlessly without returning."""

    @pytest.mark.parametrize(
        ("begin", "again"),
        [(b"", NOTHING), (b"0\r\n", b"A: b\r\n"), (b"0\r\nA: ", b"b"), (b"5;", b"x")],
        ids=["empty pieces", "trailers", "a trailer", "an extension"],
    )
    def test_that_trickles_is_no_event(self, server, begin, again):
        def handle(exchange):
            exchange.write_raw(GZIPPED + gzipped(b"data: one\n\n") + begin)
            while not exchange.wait_closed(PACE):
                exchange.write_raw(again)

        lost = Signal()
        server.handler = handle
        with sse_client_for_tests(on_disconnect=lost, event_timeout=LIMIT) as client:
            session = client.sse(server.url, timeout=(5, 60))
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            lost.await_()
            session.close()
        error = lost.calls[0][1]
        assert isinstance(error, IdleTimeoutError)
        assert error.waited_for == "event"

    def test_of_an_error_that_trickles_does_not_keep_the_caller(self, server):
        head = b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"

        def handle(exchange):
            exchange.write_raw(head + gzipped(b"why") + b"0\r\n")
            while not exchange.wait_closed(PACE):
                exchange.write_raw(b"A: b\r\n")

        server.handler = handle
        with sse_client_for_tests() as client, pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert caught.value.body == b"why"

    @pytest.mark.parametrize("again", [b"A: b\r\n" * 1000, b"x" * 8000], ids=["many", "one"])
    def test_with_endless_trailers_is_a_lost_connection(self, server, again):
        def handle(exchange):
            exchange.write_raw(GZIPPED + gzipped(b"data: one\n\n") + b"0\r\n")
            while True:
                exchange.write_raw(again)

        server.handler = handle
        with sse_client_for_tests(reconnect="never") as client:
            session = client.sse(server.url)
            assert next(session.incoming).data == "one"
            with pytest.raises(StreamInterruptedError, match=f"than {MAX_TRAILERS_SIZE} bytes"):
                next(session.incoming)

    @pytest.mark.parametrize("rest", [b"\r\n", b"\n", b"A: b\r\n\r\n", b""], ids=repr)
    def test_with_usual_trailers_or_none_has_ended(self, server, rest):
        packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        body = packer.compress(b"data: one\n\n") + packer.flush()

        def handle(exchange):
            exchange.write_raw(GZIPPED + b"%x\r\n%b\r\n0\r\n" % (len(body), body) + rest)
            exchange.drop()

        server.handler = handle
        with sse_client_for_tests(reconnect="on_error") as client:
            assert [event.data for event in client.sse(server.url).incoming] == ["one"]
