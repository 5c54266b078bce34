"""The scripted server, as seen by clients with real sockets."""

from __future__ import annotations

import contextlib
import http.client
import queue
import selectors
import socket
import ssl
import threading
import time
import zlib

import pytest
from children import in_child, needs_fork

from sse_client.event_stream.events import ServerSentEvent
from sse_client.testing import Exchange, RecordedRequest, SSEServer

# Far more than the buffers of both ends hold.
ENDLESS = b"x" * (64 * 1024 * 1024)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def client(server, request=GET, context=None):
    """A plain socket over which a request was sent."""
    with socket.create_connection((server.host, server.port), timeout=5) as connected:
        if context is not None:
            connected = context.wrap_socket(connected, server_hostname=server.host)  # noqa: PLW2901
        with connected:
            connected.sendall(request)
            yield connected


@contextlib.contextmanager
def answer(server, target="/", method="GET", headers=None, body=None):
    """The response to a request made with http.client."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, target, body=body, headers=headers or {})
        yield connection.getresponse()


def read_until(connected, end):
    data = b""
    while not data.endswith(end):
        more = connected.recv(65536)
        assert more, f"the connection ended after {data!r}"
        data += more
    return data


def read_all(connected):
    data = b""
    while more := connected.recv(65536):
        data += more
    return data


@pytest.fixture
def trusting(tls):
    return ssl.create_default_context(cafile=tls.ca_bundle)


@pytest.fixture
def exchange(server):
    """An exchange accepted from a client that stays."""
    with client(server) as connected:
        accepted = server.accept()
        accepted.client = connected
        yield accepted


class TestResponses:
    def test_a_stream_has_the_headers_of_an_event_stream(self, server):
        server.serve(["one"])
        with answer(server) as response:
            assert response.status == 200
            assert response.getheaders() == [
                ("Content-Type", "text/event-stream"),
                ("Cache-Control", "no-store"),
                ("Transfer-Encoding", "chunked"),
            ]
            assert response.read() == b"data: one\n\n"

    def test_headers_of_the_caller_replace_the_usual_ones(self, server):
        server.serve(headers={"content-type": "text/plain", "Cache-Control": None, "X": "é"})
        with answer(server) as response:
            fields = dict(response.getheaders())
        assert fields["content-type"] == "text/plain"
        assert "Cache-Control" not in fields
        assert fields["X"].encode("latin-1").decode() == "é"

    def test_pairs_of_headers_repeat_a_name(self, server):
        server.respond(200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        with answer(server) as response:
            assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]

    def test_the_events_of_a_script_are_text_events_or_bytes(self, server):
        server.serve(["a\nb", ServerSentEvent("c", "kind", "1", 5, "note"), b"data: d\r\r"])
        with answer(server) as response:
            assert response.read() == (
                b"data: a\ndata: b\n\nevent: kind\nid: 1\nretry: 5\n: note\ndata: c\n\ndata: d\r\r"
            )

    def test_responses_are_given_in_the_order_in_which_they_were_queued(self, server):
        server.respond(503, {"Retry-After": "1"}, "later")
        server.redirect("/other", 307)
        server.serve(["here"])
        with answer(server) as response:
            assert (response.status, response.reason) == (503, "Service Unavailable")
            assert (response.getheader("Retry-After"), response.read()) == ("1", b"later")
        with answer(server) as response:
            assert (response.status, response.getheader("Location")) == (307, "/other")
        with answer(server) as response:
            assert response.read() == b"data: here\n\n"

    def test_a_queued_response_goes_before_the_handler(self, server):
        server.handler = lambda exchange: exchange.respond(200, body="handler")
        server.respond(200, body="queued")
        for expected in (b"queued", b"handler"):
            with answer(server) as response:
                assert response.read() == expected

    def test_a_single_event_is_no_iterable_of_events(self, server):
        for single in ("one", b"one", ServerSentEvent("one")):
            with pytest.raises(TypeError, match="iterable"):
                server.serve(single)

    def test_an_unknown_end_is_refused_by_name(self, server):
        with pytest.raises(ValueError, match="'explode'"):
            server.serve([], then="explode")

    def test_an_unknown_status_has_no_phrase(self, server):
        server.respond(299)
        with answer(server) as response:
            assert (response.status, response.reason) == (299, "")

    @pytest.mark.parametrize("status", [204, 304])
    def test_some_statuses_have_no_body_and_keep_the_connection(self, server, status):
        server.serve(["unseen"], status=status, content_encoding="gzip")
        server.respond(status, body="unseen")
        server.respond(200, body="end")
        with client(server) as connected:
            for _ in range(2):
                assert read_until(connected, b"\r\n\r\n").count(b"\r\n\r\n") == 1
                connected.sendall(GET)
            assert read_until(connected, b"end").endswith(b"\r\n\r\nend")

    def test_head_gets_the_headers_alone(self, server):
        server.serve(["unseen"], framing="length", content_length=100)
        server.respond(200, body="unseen")
        head = GET.replace(b"GET", b"HEAD")
        with client(server, head) as connected:
            first = read_until(connected, b"\r\n\r\n")
            connected.sendall(head)
            second = read_until(connected, b"\r\n\r\n")
        assert b"Content-Length: 100\r\n" in first
        assert b"Content-Length: 6\r\n" in second
        assert b"unseen" not in first + second


class TestPieces:
    def test_each_write_arrives_as_one_chunk_at_once(self, exchange):
        exchange.open()
        read_until(exchange.client, b"\r\n\r\n")
        for piece in (b"a", b"data: b\n", b"\n", b"c" * 1000):
            exchange.write(piece)
            assert exchange.client.recv(65536) == b"%x\r\n%b\r\n" % (len(piece), piece)

    def test_an_event_is_one_write_and_a_comment_is_a_line(self, exchange):
        exchange.open(framing="close")
        read_until(exchange.client, b"\r\n\r\n")
        for send, expected in [
            (lambda: exchange.send("a\nb", "kind", "7", 10), b"event: kind\nid: 7\nretry: 10\n"),
            (lambda: exchange.send("x", id=""), b"id\ndata: x\n\n"),
            (lambda: exchange.send(comments="note"), b": note\n\n"),
            (lambda: exchange.send_event(ServerSentEvent("y")), b"data: y\n\n"),
            (lambda: exchange.comment("beat"), b": beat\n"),
            (exchange.comment, b":\n"),
        ]:
            send()
            assert exchange.client.recv(65536).startswith(expected)

    def test_no_bytes_send_nothing(self, exchange):
        exchange.write(b"")
        exchange.write(b"x")
        assert read_until(exchange.client, b"x\r\n").endswith(b"\r\n\r\n1\r\nx\r\n")

    def test_a_comment_is_a_single_line(self, exchange):
        for text in ("a\nb", "a\rb"):
            with pytest.raises(ValueError, match="single line"):
                exchange.comment(text)

    def test_raw_bytes_go_out_without_framing(self, exchange):
        exchange.open()
        exchange.write_raw(b"ff\r\ntrunc")
        exchange.drop()
        assert read_all(exchange.client).endswith(b"\r\n\r\nff\r\ntrunc")

    def test_raw_bytes_may_be_the_whole_response(self, exchange):
        exchange.write_raw(b"HTTP/1.1 200 Fine\r\n")
        exchange.write(b"\r\nbody")
        exchange.end()
        assert read_all(exchange.client) == b"HTTP/1.1 200 Fine\r\n\r\nbody"

    def test_gzip_is_flushed_with_each_piece(self, exchange):
        decoder = zlib.decompressobj(wbits=31)
        exchange.open(framing="close", content_encoding="gzip")
        assert b"Content-Encoding: gzip\r\n" in read_until(exchange.client, b"\r\n\r\n")
        for text in ("one", "two"):
            exchange.send(text)
            assert decoder.decompress(exchange.client.recv(65536)) == f"data: {text}\n\n".encode()
        exchange.end()
        assert decoder.decompress(read_all(exchange.client)) == b""
        assert decoder.eof

    def test_threads_do_not_cut_up_each_others_pieces(self, exchange):
        exchange.open()
        read_until(exchange.client, b"\r\n\r\n")

        def write():
            for _ in range(50):
                exchange.write(b"y" * 5000)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        chunk = b"%x\r\n%b\r\n" % (5000, b"y" * 5000)
        data = b""
        while len(data) < 200 * len(chunk):
            data += exchange.client.recv(65536)
        assert data == 200 * chunk
        for thread in threads:
            thread.join()


class TestEnds:
    @pytest.mark.parametrize("gzip", [None, "gzip"])
    def test_a_chunked_response_that_ended_keeps_the_connection(self, server, gzip):
        server.serve(["one"], content_encoding=gzip)
        server.serve(["two"])
        connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
        with contextlib.closing(connection):
            for _ in range(2):
                connection.request("GET", "/")
                connection.getresponse().read()
        first, second = server.requests
        assert first.client_port == second.client_port

    def test_a_length_that_was_fulfilled_keeps_the_connection(self, server):
        server.serve([b"12345"], framing="length", content_length=5)
        server.respond(200, body="next")
        with client(server) as connected:
            assert b"Content-Length: 5\r\n" in read_until(connected, b"12345")
            connected.sendall(GET)
            read_until(connected, b"next")

    def test_a_length_that_was_not_fulfilled_closes_the_connection(self, server):
        server.serve([b"123"], framing="length", content_length=5)
        with answer(server) as response, pytest.raises(http.client.IncompleteRead):
            response.read()

    def test_the_end_of_a_close_framed_response_is_the_end_of_the_connection(self, server):
        server.serve(["one"], framing="close")
        with client(server) as connected:
            data = read_all(connected)
        assert b"Connection: close\r\n" in data
        assert data.endswith(b"\r\n\r\ndata: one\n\n")

    def test_requests_after_the_end_of_the_connection_are_not_heard(self, server):
        server.respond(200, {"Connection": "close"})
        with client(server) as connected:
            assert b"Connection: close\r\n" in read_all(connected)
            connected.sendall(GET)
        assert len(server.requests) == 1

    def test_the_client_may_ask_for_the_end_of_the_connection(self, server):
        server.serve(["one"])
        with client(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n") as connected:
            assert read_all(connected).endswith(b"0\r\n\r\n")

    def test_a_client_of_http_1_0_gets_no_chunks(self, server):
        server.serve(["one"])
        with client(server, b"GET / HTTP/1.0\r\n\r\n") as connected:
            response = read_all(connected)
        assert response.startswith(b"HTTP/1.0 200 OK\r\n")
        assert response.endswith(b"Connection: close\r\n\r\ndata: one\n\n")

    @pytest.mark.parametrize("version", [b"1.0", b"1.1"])
    def test_a_client_may_wait_before_it_sends_its_body(self, server, version):
        head = b"POST / HTTP/%b\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n" % version
        server.respond(200)
        with client(server, head) as connected:
            if version == b"1.1":
                read_until(connected, b"HTTP/1.1 100 Continue\r\n\r\n")
            connected.sendall(b"body")
            read_until(
                connected, b"Content-Length: 0\r\n\r\n" if version == b"1.1" else b"\r\n\r\n"
            )
        assert server.requests[0].body == b"body"

    def test_a_body_that_is_there_already_is_not_asked_for(self, server):
        head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        server.respond(200)
        with client(server, head + b"body") as connected:
            assert read_until(connected, b"\r\n\r\n").startswith(b"HTTP/1.1 200")

    def test_a_pipelined_request_is_answered_after_the_one_before(self, server):
        with client(server, GET + GET) as connected:
            first = server.accept()
            first.send("one")
            read_until(connected, b"one\n\n\r\n")
            assert len(server.requests) == 1
            first.end()
            server.accept().respond(200, body="two")
            read_until(connected, b"two")

    def test_a_reset_is_seen_as_one(self, exchange):
        exchange.send("one")
        read_until(exchange.client, b"\n\n\r\n")
        exchange.reset()
        with pytest.raises(ConnectionResetError):
            exchange.client.recv(1)
        assert exchange.wait_closed()

    def test_what_was_sent_before_a_reset_arrives(self, server):
        server.serve(["one", "two"], then="reset")
        with client(server) as connected:
            read_until(connected, b"two\n\n\r\n")
            with pytest.raises(ConnectionResetError):
                connected.recv(1)

    def test_a_dropped_response_is_incomplete(self, server):
        server.serve(["one"], then="drop")
        with answer(server) as response, pytest.raises(http.client.IncompleteRead) as caught:
            response.read()
        assert caught.value.partial == b"data: one\n\n"

    def test_an_idle_connection_may_be_dropped(self, exchange):
        exchange.respond(200, body="all")
        read_until(exchange.client, b"all")
        exchange.drop()
        assert exchange.client.recv(1) == b""

    def test_a_stalled_response_stays_open_until_the_server_stops(self, server):
        server.serve(["one"], then="stall")
        with client(server) as connected:
            read_until(connected, b"one\n\n\r\n")
            connected.settimeout(0.02)
            with pytest.raises(TimeoutError):
                connected.recv(1)
            connected.settimeout(5)
            server.stop()
            assert connected.recv(1) == b""

    def test_a_stalled_response_can_go_on(self, server):
        exchanges = queue.SimpleQueue()
        server.handler = lambda exchange: (exchange.stall(), exchanges.put(exchange))
        with client(server) as connected:
            exchange = exchanges.get(timeout=5)
            exchange.send("later")
            exchange.end()
            assert read_until(connected, b"0\r\n\r\n").endswith(b"later\n\n\r\n0\r\n\r\n")

    @pytest.mark.parametrize("leave", [Exchange.reset, Exchange.drop])
    def test_a_blocked_send_fails_when_the_test_breaks_the_connection(self, exchange, leave):
        exchange.open()
        failure = queue.SimpleQueue()

        def write():
            try:
                exchange.write(ENDLESS)
            except ConnectionError as error:
                failure.put(error)

        thread = threading.Thread(target=write)
        thread.start()
        read_until(exchange.client, b"x")
        leave(exchange)
        assert isinstance(failure.get(timeout=5), ConnectionError)
        thread.join()


class TestMisuse:
    def test_a_response_opens_once(self, exchange):
        exchange.open()
        with pytest.raises(RuntimeError, match="OPEN"):
            exchange.open()
        with pytest.raises(RuntimeError, match="OPEN"):
            exchange.redirect("/")

    def test_nothing_follows_the_end(self, exchange):
        exchange.end()
        exchange.end()
        for call in (exchange.send, exchange.open, lambda: exchange.write_raw(b"x")):
            with pytest.raises(RuntimeError):
                call()
        assert repr(exchange) == "<Exchange GET / ENDED>"

    def test_a_broken_connection_is_a_connection_error(self, exchange):
        exchange.drop()
        exchange.drop()
        exchange.end()
        exchange.reset()
        exchange.reset()
        for call in (exchange.send, exchange.open):
            with pytest.raises(BrokenPipeError):
                call()

    @pytest.mark.parametrize(
        "options",
        [
            {"framing": "length"},
            {"content_length": 3},
            {"framing": "lines"},
            {"content_encoding": "br"},
        ],
    )
    def test_options_that_do_not_go_together_are_refused(self, exchange, options):
        with pytest.raises(ValueError, match=next(iter(options)).split("_")[0]):
            exchange.open(**options)
        exchange.respond(200)


class TestGoneClients:
    def test_the_server_sees_a_client_close(self, server):
        with client(server):
            exchange = server.accept()
            exchange.send("one")
        assert exchange.wait_closed()
        exchange.end()

    def test_the_server_sees_a_client_reset(self, server):
        with client(server) as connected:
            exchange = server.accept()
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert exchange.wait_closed()
        with pytest.raises(ConnectionError):
            exchange.send("one")

    def test_a_client_that_stays_is_not_gone(self, exchange):
        assert not exchange.wait_closed(0.01)
        exchange.client.sendall(b"GET /unfinished")
        assert not exchange.wait_closed(0.01)

    def test_a_handler_sees_its_client_go(self, server):
        seen = queue.SimpleQueue()

        def handler(exchange):
            exchange.send("one")
            seen.put(exchange.wait_closed())

        server.handler = handler
        with client(server) as connected:
            read_until(connected, b"one\n\n\r\n")
        assert seen.get(timeout=5)

    def test_a_blocked_send_fails_when_the_client_goes(self, server):
        failure = queue.SimpleQueue()

        def handler(exchange):
            try:
                exchange.write(ENDLESS)
            except ConnectionError as error:
                failure.put(error)
                raise

        server.handler = handler
        with client(server) as connected:
            read_until(connected, b"x")
        assert isinstance(failure.get(timeout=5), ConnectionError)

    def test_wait_closed_is_false_when_the_server_stops_first(self, server):
        seen = queue.SimpleQueue()
        server.handler = lambda exchange: seen.put(exchange.wait_closed())
        with client(server):
            server.wait_for_requests(1)
            server.stop()
        assert seen.get(timeout=5) is False


class TestRequests:
    def test_a_request_is_recorded(self, server):
        server.respond(200)
        target = "/a%20b/c?x=1&x=2&y=&z=%C3%A9"
        headers = {"X-Token": "t", "Last-Event-ID": "é".encode()}
        with answer(server, target, "POST", headers, b"body" * 50_000):
            pass
        (request,) = server.wait_for_requests(1)
        assert isinstance(request, RecordedRequest)
        assert request.method == "POST"
        assert request.target == target
        assert request.path == "/a%20b/c"
        assert request.query == {"x": ["1", "2"], "y": [""], "z": ["é"]}
        assert request.headers["last-event-id"] == "é"
        assert "X-TOKEN" in request.headers
        assert request.headers.get("X-Absent") is None
        assert request.body == b"body" * 50_000
        assert request.client_port > 0
        assert request.version == "HTTP/1.1"

    def test_a_repeated_header_keeps_all_its_values(self, server):
        server.respond(200)
        with client(server, b"GET / HTTP/1.1\r\nA:\t1 \r\nB: \xff\r\na: 2\r\n\r\n") as connected:
            read_until(connected, b"\r\n\r\n")
        headers = server.requests[0].headers
        assert headers["A"] == "1, 2"
        assert headers.get_all("a") == ["1", "2"]
        assert headers.get_all("c") == []
        assert 7 not in headers
        assert list(headers) == ["A", "B"]
        assert len(headers) == 2
        assert repr(headers) == "RequestHeaders({'A': '1, 2', 'B': '\\udcff'})"

    def test_a_chunked_body_is_recorded(self, server):
        server.respond(200)
        with answer(server, "/", "POST", body=iter([b"one", b"two"])) as response:
            response.read()
        assert server.requests[0].body == b"onetwo"

    def test_trailers_are_passed_over(self, server):
        server.respond(200)
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        with client(server, head + b"3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n") as connected:
            read_until(connected, b"\r\n\r\n")
        assert server.requests[0].body == b"abc"

    @pytest.mark.parametrize(
        "request_bytes",
        [
            b"\x16\x03\x01\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
            b"GET /" + b"a" * 300_000,
        ],
    )
    def test_what_is_not_a_request_is_answered_with_a_close(self, server, request_bytes):
        # It is a reset if data was left unread.
        with contextlib.suppress(ConnectionError), client(server, request_bytes) as connected:
            assert connected.recv(1) == b""
        assert server.requests == []

    def test_waiting_for_requests_tells_how_many_came(self, server):
        server.respond(200)
        with answer(server), pytest.raises(TimeoutError, match="1 of 2"):
            server.wait_for_requests(2, timeout=0.01)


class TestHandlers:
    def test_a_handler_answers_in_its_own_thread_and_ends_the_response(self):
        threads = []

        def handler(exchange):
            threads.append(threading.current_thread())
            exchange.send(exchange.request.path)

        with SSEServer(handler) as server, answer(server, "/path") as response:
            assert response.read() == b"data: /path\n\n"
        assert threads[0].name == f"sse-server-respond:{server.port}"

    def test_an_error_of_a_handler_is_raised_by_stop(self, server):
        server.handler = lambda exchange: [][exchange.request.client_port]
        with answer(server) as response:
            assert response.status == 500
            assert response.read() == b"IndexError: list index out of range"
        with pytest.raises(IndexError):
            server.stop()
        server.stop()

    def test_an_error_within_the_stream_cuts_it_off(self):
        def events():
            yield "one"
            pytest.fail("on purpose")

        server = SSEServer()
        server.start()
        server.serve(events())
        with answer(server) as response, pytest.raises(http.client.IncompleteRead):
            response.read()
        with pytest.raises(pytest.fail.Exception, match="on purpose"):
            server.stop()

    def test_a_connection_error_of_a_handler_is_its_clients_business(self, server):
        def handler(exchange):
            exchange.drop()
            exchange.send("one")

        server.handler = handler
        with client(server) as connected:
            assert read_all(connected) == b""

    def test_an_error_after_the_client_went_is_raised_all_the_same(self, server):
        def handler(exchange):
            exchange.wait_closed()
            raise LookupError

        server.handler = handler
        with client(server):
            server.wait_for_requests(1)
        with pytest.raises(LookupError):
            server.stop()

    def test_a_handler_may_stop_the_server(self, server):
        server.handler = lambda _: server.stop()
        with client(server) as connected:
            assert connected.recv(1) == b""

    def test_a_handler_that_does_not_return_is_named(self, server, monkeypatch):
        monkeypatch.setattr("sse_client.testing.script._STOP_PATIENCE", 0.05)
        release = threading.Event()
        server.handler = lambda _: release.wait(10)
        with client(server):
            server.wait_for_requests(1)
            with pytest.raises(RuntimeError, match="sse-server-respond"):
                server.stop()
        release.set()


class TestLife:
    def test_accept_times_out(self, server):
        with pytest.raises(TimeoutError, match="no request"):
            server.accept(timeout=0.01)

    def test_accept_needs_a_server_that_runs(self, server):
        server.stop()
        with pytest.raises(RuntimeError, match="not running"):
            server.accept()

    def test_stop_wakes_a_waiting_accept(self, server):
        failure = queue.SimpleQueue()

        def accept():
            try:
                server.accept()
            except RuntimeError as error:
                failure.put(error)

        thread = threading.Thread(target=accept)
        thread.start()
        server.stop()
        assert isinstance(failure.get(timeout=5), RuntimeError)
        thread.join()

    def test_stop_frees_blocked_sends_at_once(self, server):
        server.serve([ENDLESS])
        with client(server) as connected:
            read_until(connected, b"x")
            started = time.monotonic()
            server.stop()
        assert time.monotonic() - started < 0.5

    def test_stop_ends_a_request_that_waits_for_its_turn(self, server):
        with client(server, GET + GET):
            server.accept()
            server.stop()
        assert len(server.requests) == 1

    @needs_fork
    def test_a_forked_child_leaves_the_server_to_its_parent(self, server):
        held, forked = threading.Event(), threading.Event()

        def hold():
            with server._changed:
                held.set()
                forked.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        try:
            assert in_child(server.stop) == "None"
        finally:
            forked.set()
            holder.join()
        server.respond(200)
        with answer(server) as response:
            assert response.status == 200

    def test_a_forked_child_seen_from_within_stops_nothing(self, server, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(server, "_process_id", 0)
            server.stop()
        server.respond(200)
        with answer(server) as response:
            assert response.status == 200

    def test_stop_is_idempotent(self):
        server = SSEServer()
        server.stop()
        server.start()
        server.stop()
        server.stop()

    def test_leaving_the_block_raises_the_error_of_a_handler(self):
        def fail(_):
            raise LookupError

        with pytest.raises(LookupError), SSEServer(fail) as server, answer(server) as response:
            assert response.status == 500

    def test_a_server_starts_once(self, server):
        with pytest.raises(RuntimeError, match="already running"):
            server.start()

    def test_a_stopped_server_refuses_connections_and_comes_back_on_its_port(self, server):
        port = server.port
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, port), timeout=5)
        server.start()
        server.respond(200, body="back")
        with answer(server) as response:
            assert response.read() == b"back"
        assert server.port == port

    def test_two_servers_run_at_once(self, server):
        with SSEServer() as other:
            other.respond(200, body="other")
            server.respond(200, body="this")
            with answer(server) as response:
                assert response.read() == b"this"
            with answer(other) as response:
                assert response.read() == b"other"

    def test_a_port_that_is_taken_is_an_error(self, server):
        with pytest.raises(OSError, match="in use"):
            SSEServer(port=server.port).start()

    def test_addresses(self, server, tls_server):
        assert server.url == f"http://127.0.0.1:{server.port}/"
        assert server.url_for("/path?x=1") == f"{server.url}path?x=1"
        assert tls_server.url_for("path") == f"https://127.0.0.1:{tls_server.port}/path"

    def test_starting_and_stopping_is_quick(self):
        started = time.monotonic()
        for _ in range(50):
            with SSEServer():
                pass
        assert (time.monotonic() - started) / 50 < 0.05

    def test_what_arrives_while_it_stops_is_let_go(self, server):
        with client(server):
            exchange = server.accept()
            server.stop()
            server._dispatch(exchange)
        ours, theirs = socket.socketpair()
        with theirs:
            server._adopt(ours, 1)
            assert theirs.recv(1) == b""
        assert len(server.requests) == 1

    def test_closed_connections_are_forgotten(self, server):
        for _ in range(3):
            with client(server):
                exchange = server.accept()
            assert exchange.wait_closed()
        with client(server):
            server.accept()
            assert len(server._connections) == 1


class TestTls:
    def test_a_stream_over_tls(self, tls_server, trusting):
        tls_server.serve(["one"], framing="close")
        with client(tls_server, context=trusting) as connected:
            assert read_all(connected).endswith(b"data: one\n\n")

    def test_the_end_over_tls_says_goodbye_and_a_drop_does_not(self, tls_server, trusting):
        for then in ("end", "drop"):
            tls_server.serve(["one"], framing="close", then=then)
            with client(tls_server, context=trusting) as connected:
                connected.suppress_ragged_eofs = False
                read_until(connected, b"one\n\n")
                if then == "end":
                    assert connected.recv(1) == b""
                else:
                    with pytest.raises(ssl.SSLEOFError):
                        connected.recv(1)

    def test_a_reset_over_tls_is_seen_as_one(self, tls_server, trusting):
        tls_server.serve(["one"], then="reset")
        with client(tls_server, context=trusting) as connected:
            read_until(connected, b"one\n\n\r\n")
            # Below the TLS layer, which reports it as an EOF in older versions of Python.
            with pytest.raises(ConnectionResetError):
                socket.socket.recv(connected, 1)

    def test_the_server_sees_a_client_go_over_tls(self, tls_server, trusting):
        with client(tls_server, context=trusting) as connected:
            exchange = tls_server.accept()
            exchange.send("one")
            read_until(connected, b"one\n\n\r\n")
            assert not exchange.wait_closed(0.01)
        assert exchange.wait_closed()

    def test_a_blocked_send_over_tls_ends_with_the_server(self, tls_server, trusting):
        tls_server.serve([ENDLESS])
        with client(tls_server, context=trusting) as connected:
            read_until(connected, b"x")
            tls_server.stop()

    def test_a_large_piece_arrives_whole_over_tls(self, tls_server, trusting):
        tls_server.serve([ENDLESS[: 8 * 1024 * 1024]], framing="close")
        with client(tls_server, context=trusting) as connected:
            _, _, body = read_all(connected).partition(b"\r\n\r\n")
        assert len(body) == 8 * 1024 * 1024

    def test_a_stalled_handshake_does_not_block_others(self, tls_server, trusting):
        tls_server.respond(200, body="all")
        with client(tls_server, b""), client(tls_server, context=trusting) as connected:
            read_until(connected, b"all")
            tls_server.stop()

    def test_a_client_that_distrusts_the_certificate_is_let_go(self, tls_server):
        distrusting = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError), client(tls_server, context=distrusting):
            pass
        assert tls_server.requests == []


def test_it_waits_with_the_selector_that_gevent_has_put_in_place(monkeypatch):
    class GreenSelector(selectors.SelectSelector):
        __module__ = "gevent.selectors"

        def select(self, timeout=None):
            waits.append(timeout)
            return super().select(timeout)

    waits = []
    monkeypatch.setattr(selectors, "DefaultSelector", GreenSelector)
    with SSEServer() as server:
        server.respond(200, body="all")
        with client(server) as connected:
            read_until(connected, b"all")
    assert waits
