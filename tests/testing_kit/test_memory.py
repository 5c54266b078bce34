"""The in-memory server: what a client sees of its script, without a socket."""

from __future__ import annotations

import queue
import socket
from contextlib import contextmanager

import pytest
import requests
from support import Running, Signal, fill

from sse_client import (
    SSE,
    BearerAuth,
    ConnectionFailedError,
    HttpClient,
    SessionClosedError,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.testing import (
    Exchange,
    InMemoryServer,
    ManualClock,
    SSEServer,
    UnscriptedRequestError,
)
from sse_client.testing.memory import MemoryConnection

URL = "https://api.example.com/events"


@pytest.fixture
def memory():
    with InMemoryServer() as server:
        yield server


@pytest.fixture
def client(memory):
    with memory.client(reconnection_time=0, reconnection_jitter=0) as client:
        yield client


@contextmanager
def client_of(server: InMemoryServer | SSEServer):
    with HttpClient(getattr(server, "session", None)) as client:
        yield client.install(SSE, reconnection_time=0, reconnection_jitter=0)


def data_of(session) -> list[str]:
    return [event.data for event in session.incoming]


def watching(server):
    """The thread that waits for a request to be accepted."""
    with server._changed:
        (thread,) = [each for each in server._threads if "unscripted" in each.name]
    return thread


@pytest.mark.parametrize("kind", [SSEServer, InMemoryServer])
class TestUnscripted:
    def test_a_request_without_a_response_fails_by_name(self, kind):
        server = kind(unscripted_timeout=0.01)
        server.start()
        with client_of(server) as client:
            server.respond(404)
            with pytest.raises(UnexpectedStatusError):
                client.sse(server.url_for("/a"))
            with pytest.raises(UnexpectedStatusError) as refusal:
                client.sse(server.url_for("/b?c"), retry_first_connection=True)
        with pytest.raises(UnscriptedRequestError) as failure:
            server.stop()
        expected = "No response was scripted for request 2 (GET /b)"
        assert str(refusal.value).endswith(f"responded with 501 {expected}")
        assert str(failure.value).startswith(f"{expected}, and the test did not accept it within ")
        assert b"set a handler" in refusal.value.body

    def test_a_request_whose_client_has_gone_is_no_failure(self, kind):
        with kind(unscripted_timeout=0.05) as server, client_of(server) as client:
            opening = Running(lambda: client.sse(server.url))
            server.wait_for_requests(1)
            client.close()
            assert isinstance(opening.outcome(), SessionClosedError)
            watching(server).join()

    def test_a_client_may_go_while_it_is_refused(self, kind, monkeypatch):
        monkeypatch.setattr(Exchange, "wait_closed", lambda *_: False)
        server = kind(unscripted_timeout=0.05)
        server.start()
        with client_of(server) as client:
            opening = Running(lambda: client.sse(server.url))
            server.wait_for_requests(1)
            client.close()
            opening.outcome()
        watching(server).join()
        with pytest.raises(UnscriptedRequestError):
            server.stop()

    def test_a_request_may_wait_for_any_time(self, kind):
        with kind(unscripted_timeout=None) as server, client_of(server) as client:
            opening = Running(lambda: client.sse(server.url))
            server.accept().respond(204)
            assert opening.outcome().error is None
            assert not [thread for thread in server._threads if "unscripted" in thread.name]


@pytest.mark.parametrize("kind", [SSEServer, InMemoryServer])
class TestOneVocabulary:
    def test_a_handler_serves_either(self, kind):
        def handler(exchange: Exchange) -> None:
            if exchange.request.last_event_id == "2":
                exchange.respond(204)
                return
            exchange.send("one", id="1")
            exchange.comment("still here")
            exchange.write(b"data: t")
            exchange.write(b"wo\nid: 2\n\n")
            exchange.write(b"data: cut o")
            exchange.drop()

        with kind(handler) as server, client_of(server) as client:
            with client.sse(server.url_for("/events?from=1")) as session:
                assert data_of(session) == ["one", "two"]
                assert (session.statistics.comments, session.statistics.connections) == (1, 1)
            first, second = server.requests
            assert (first.method, first.path, first.query) == ("GET", "/events", {"from": ["1"]})
            assert first.url == server.url_for("/events?from=1")
            assert (first.last_event_id, second.last_event_id) == (None, "2")
            assert first.headers["Accept"] == "text/event-stream"
            assert first.client_port != second.client_port

    @pytest.mark.parametrize("framing", ["chunked", "close", "length"])
    @pytest.mark.parametrize("encoding", [None, "gzip"])
    def test_every_framing_arrives(self, kind, framing, encoding):
        with kind() as server, client_of(server) as client:
            length = 200 if framing == "length" else None
            settings = {"framing": framing, "content_encoding": encoding, "content_length": length}
            server.serve(["one"], then="stall", **settings)
            with client.sse(server.url) as session:
                assert session.incoming.get(timeout=5).data == "one"

    def test_a_queue_comes_before_the_test(self, kind):
        with kind() as server, client_of(server) as client:
            server.redirect("/elsewhere", 307)
            server.respond(503)
            server.serve(["one"], then="end")
            with client.sse(
                server.url, method="POST", json=[1], reconnect="always", retry_first_connection=True
            ) as session:
                assert session.incoming.get().data == "one"
                exchange = server.accept()
                assert repr(exchange) == "<Exchange POST / NEW>"
                assert exchange.request.body == b"[1]"
                session.close()
                assert exchange.wait_closed()
                with pytest.raises(ConnectionError):
                    exchange.send("too late")
            assert [request.path for request in server.requests] == ["/", "/elsewhere", "/", "/"]

    def test_what_a_handler_raises_is_raised_by_stop(self, kind):
        def handler(exchange: Exchange) -> None:
            assert exchange.request.method == "PATCH"

        server = kind(handler)
        server.start()
        with client_of(server) as client, pytest.raises(UnexpectedStatusError):
            client.sse(server.url, reconnect="never")
        with pytest.raises(AssertionError):
            server.stop()
        server.stop()

    def test_it_runs_once_at_a_time(self, kind):
        with kind() as server, pytest.raises(RuntimeError, match="already running"):
            server.start()
        with pytest.raises(RuntimeError, match="not running"):
            server.accept()

    def test_a_response_that_never_comes_is_called_off(self, kind):
        with kind() as server, client_of(server) as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            client.close()
            assert isinstance(opening.outcome(), SessionClosedError)
            assert exchange.wait_closed()

    def test_stopping_wakes_who_waits_for_the_client(self, kind):
        with kind() as server, client_of(server) as client:
            server.serve(["one"], then="stall")
            opening = Running(lambda: client.sse(server.url, reconnect="never"))
            opening.outcome()
            waiting = Signal()
            stuck = Running(lambda: client.get(server.url, timeout=20))
            exchange = server.accept()
            seen = Running(lambda: (waiting(), exchange.wait_closed(20)))
            waiting.await_()
            server.stop()
            assert seen.outcome() == (None, False)
            assert isinstance(stuck.outcome(), requests.RequestException)
            with pytest.raises(StreamInterruptedError):
                data_of(opening.result)

    def test_a_client_that_does_not_read_holds_the_server_back(self, kind):
        blocks = 3000
        written = []

        def handler(exchange: Exchange) -> None:
            for _ in range(blocks):
                exchange.write(b"data: " + b"x" * 10_000 + b"\n\n")
                written.append(1)

        with (
            kind(handler) as server,
            client_of(server) as client,
            client.sse(server.url, capacity=2, reconnect="never") as session,
        ):
            fill(session.incoming, 2)
            assert session.incoming.get().data
            assert len(written) < blocks

    def test_a_wait_in_a_send_ends_with_a_reset(self, kind):
        with kind() as server, client_of(server) as client:
            opening = Running(lambda: client.sse(server.url, capacity=1, reconnect="never"))
            exchange = server.accept()
            exchange.open()
            session = opening.outcome()
            blocked = Running(lambda: exchange.write(b"data: x\n\n" * 4_000_000))
            fill(session.incoming, 1)
            exchange.reset()
            assert isinstance(blocked.outcome(), ConnectionError)
            assert exchange.wait_closed()
            session.close()


class TestInMemory:
    def test_there_is_no_socket(self, memory, client, monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("a socket")

        monkeypatch.setattr(socket.socket, "__init__", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        memory.redirect("https://other.example.com/")
        memory.serve(["one"], then="stall")
        with client.sse("http://api.example.com:8080/x", proxies={"https": URL}) as session:
            assert session.incoming.get().data == "one"
        urls = [request.url for request in memory.requests]
        assert urls == ["http://api.example.com:8080/x", "https://other.example.com/"]

    def test_any_session_of_requests_can_be_led_there(self, memory):
        memory.serve(["one"], then="stall")
        with requests.Session() as session, HttpClient(session).install(SSE) as client:
            session.mount("https://api.example.com/", memory.adapter)
            session.headers["X-Tenant"] = "7"
            with client.sse(URL) as stream:
                assert stream.incoming.get().data == "one"
        assert memory.requests[0].headers["X-Tenant"] == "7"

    def test_plain_requests_use_a_connection_again(self, memory, client):
        for text in ("one", "two"):
            memory.respond(200, body=text)
        assert [client.get(URL).text for _ in range(2)] == ["one", "two"]
        assert [request.client_port for request in memory.requests] == [1, 1]

    def test_an_idle_connection_that_was_dropped_is_not_used_again(self, memory, client):
        seen = queue.SimpleQueue()

        def handler(exchange: Exchange) -> None:
            exchange.respond(200, body="yes")
            exchange.drop()
            seen.put(None)

        memory.handler = handler
        for _ in range(2):
            assert client.get(URL).text == "yes"
            seen.get(timeout=5)
        assert [request.client_port for request in memory.requests] == [1, 2]

    def test_an_upload_arrives_in_chunks(self, memory, client):
        memory.respond(200)
        client.post(URL, data=iter([b"one", b"two"]))
        assert memory.requests[0].body == b"onetwo"

    def test_all_that_was_sent_before_a_reset_arrives(self, memory, client):
        memory.serve(["one", "two", b"data: cut"], then="reset")
        with client.sse(URL, reconnect="never") as session:
            events = iter(session.incoming)
            assert [next(events).data, next(events).data] == ["one", "two"]
            with pytest.raises(StreamInterruptedError, match="reset by peer") as caught:
                next(events)
            assert isinstance(caught.value.__cause__, OSError)

    def test_a_server_that_is_down_refuses_and_may_come_back(self, memory, client):
        memory.serve(["one"], then="stall")
        disconnected = Signal()
        with client.sse(URL, on_disconnect=disconnected) as session:
            assert session.incoming.get().data == "one"
            memory.stop()
            disconnected.await_()
            memory.serve(["two"], then="stall")
            memory.start()
            assert session.incoming.get().data == "two"
        memory.stop()
        with pytest.raises(ConnectionFailedError, match="the server is not running"):
            client.sse(URL)

    def test_a_token_is_refreshed_at_a_401(self, memory, client):
        client.install(BearerAuth, load=lambda: "old", refresh=lambda: "new")
        memory.respond(401)
        memory.serve(["one"], then="stall")
        with client.sse(URL) as session:
            assert session.incoming.get().data == "one"
        sent = [request.headers["Authorization"] for request in memory.requests]
        assert sent == ["Bearer old", "Bearer new"]

    def test_a_request_that_a_server_refuses_to_read_is_hung_up_on(self, memory, client):
        with pytest.raises(ConnectionFailedError):
            client.sse(URL, headers={"Content-Length": "many"})
        assert memory.requests == []

    def test_a_body_that_never_comes_is_waited_for(self):
        clock = ManualClock()
        with InMemoryServer(clock=clock) as memory, memory.client() as client:
            headers = {"Content-Length": "100"}
            opening = Running(
                lambda: client.sse(URL, method="POST", headers=headers, timeout=(10, 5))
            )
            assert clock.advance_to_next() == 5
            assert isinstance(opening.outcome(), ConnectionFailedError)
            assert memory.requests == []

    def test_what_is_no_stream_is_refused(self, memory, client):
        memory.respond(200, {"Content-Type": "text/html"}, "<p>")
        with pytest.raises(UnexpectedContentTypeError, match="text/html"):
            client.sse(URL)

    def test_a_stream_after_which_nothing_is_done_closes_itself(self, memory, client):
        memory.serve(["one"], then="stall")
        session = client.sse(URL)
        fill(session.incoming, 1)
        with pytest.warns(ResourceWarning, match=r"unclosed SSE session to api\.example\.com"):
            del session

    def test_the_client_s_request_cannot_be_sent_over_a_connection_that_is_over(
        self, memory, client
    ):
        memory.respond(200, body="x")
        client.get(URL)
        (connection,) = memory._connections
        connection.stop()
        with pytest.raises(BrokenPipeError):
            connection.sendall(b"GET")

    def test_a_connection_is_left_once_it_and_its_last_file_are_closed(self):
        connection = MemoryConnection(ManualClock(), lambda *_: None, 1, "http")
        first, second = connection.makefile("rb"), connection.makefile("rb")
        connection.close()
        for _ in range(2):
            first.raw.close()
        connection.send(b"more")
        assert second.read1(10) == b"more"
        assert not connection.wait_gone(0)
        second.close()
        assert connection.wait_gone(5)
