"""A child was forked while a stream was open, and its parent drops the connection.

The child keeps running with a copy of each descriptor. So the server sees the end only if the
parent shuts the connection down before it closes its own copy.
"""

from __future__ import annotations

import contextlib
import threading

import pytest
import requests
from children import FORKS, fork_by_system, living_child, needs_fork
from interpreters import ended, start
from support import PATIENCE, Running, Signal, reads_end, silent_listener, sse_client_for_tests

from sse_client import (
    ConnectionFailedError,
    EventTooLargeError,
    IdleTimeoutError,
    SessionClosedError,
    SSEClientError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.http.response_head import MAX_HEADER_SIZE

pytestmark = needs_fork

#: What the server announces about the connection, which determines the side that closes it.
CONNECTIONS = pytest.mark.parametrize("connection", ["keep-alive", "close"])


@pytest.fixture(params=["http", "https"])
def origin(request, server, tls_server):
    return server if request.param == "http" else tls_server


def opened(client, server, **options):
    """Open a stream. Return the session and the server's end."""
    opening = Running(lambda: client.sse(server.url, **options))
    exchange = server.accept()
    exchange.open()
    return opening.outcome(), exchange


class TestTheServerSeesTheEndOf:
    """The server sees the end of a connection although a child has a copy."""

    @FORKS
    def test_a_session_that_was_closed(self, origin, tls, fork):
        with sse_client_for_tests() as client:
            session, exchange = opened(client, origin, verify=tls.ca_bundle)
            with living_child(fork):
                session.close()
                assert exchange.wait_closed(PATIENCE)

    @FORKS
    def test_a_client_that_was_closed(self, server, fork):
        with sse_client_for_tests() as client:
            _session, exchange = opened(client, server)
            with living_child(fork):
                client.close()
                assert exchange.wait_closed(PATIENCE)

    @FORKS
    def test_a_connection_that_was_replaced(self, origin, tls, fork):
        with sse_client_for_tests() as client:
            session, exchange = opened(client, origin, verify=tls.ca_bundle)
            with living_child(fork):
                session.reconnect()
                assert exchange.wait_closed(PATIENCE)
                origin.accept().open()

    @FORKS
    def test_a_session_that_was_abandoned(self, server, fork):
        with sse_client_for_tests() as client:
            session, exchange = opened(client, server)
            with living_child(fork):
                with pytest.warns(ResourceWarning, match="unclosed SSE session"):
                    del session
                assert exchange.wait_closed(PATIENCE)

    @pytest.mark.parametrize("limit", [{"event_timeout": 1.0}, {"timeout": (PATIENCE, 1.0)}])
    def test_a_silent_connection(self, origin, tls, limit):
        opened, forked = Signal(), threading.Event()

        def hold(session):  # the time limits begin after that
            opened()
            assert forked.wait(PATIENCE)

        with sse_client_for_tests(reconnect="never", on_open=hold) as client:
            opening = Running(lambda: client.sse(origin.url, verify=tls.ca_bundle, **limit))
            exchange = origin.accept()
            exchange.open()
            opened.await_()
            with living_child(fork_by_system):
                forked.set()
                assert exchange.wait_closed(PATIENCE)
            with pytest.raises(IdleTimeoutError):
                opening.outcome().incoming.get(timeout=PATIENCE)

    @CONNECTIONS
    @pytest.mark.parametrize("encoding", [None, "gzip"])
    def test_a_stream_that_has_announced_its_end(self, origin, tls, connection, encoding):
        with sse_client_for_tests(end_of_stream="[DONE]") as client:
            opening = Running(lambda: client.sse(origin.url, verify=tls.ca_bundle))
            exchange = origin.accept()
            exchange.open(headers={"Connection": connection}, content_encoding=encoding)
            session = opening.outcome()
            with living_child(fork_by_system):
                exchange.send("[DONE]")
                assert list(session.incoming) == []
                assert exchange.wait_closed(PATIENCE)

    def test_a_stream_with_an_oversized_event(self, server):
        with sse_client_for_tests(max_event_size=100) as client:
            session, exchange = opened(client, server)
            with living_child(fork_by_system):
                exchange.send("x" * 200)
                assert exchange.wait_closed(PATIENCE)
            with pytest.raises(EventTooLargeError):
                session.incoming.get(timeout=PATIENCE)

    @CONNECTIONS
    @pytest.mark.parametrize("status", [204, 403])
    def test_a_response_without_events(self, origin, tls, status, connection):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(origin.url, verify=tls.ca_bundle))
            exchange = origin.accept()
            with living_child(fork_by_system):
                # The server leaves closing to the client, whatever it announces.
                exchange.write_raw(
                    b"HTTP/1.1 %d Whatever\r\nConnection: %s\r\nContent-Length: 0\r\n\r\n"
                    % (status, connection.encode())
                )
                opening.outcome()
                assert exchange.wait_closed(PATIENCE)

    @CONNECTIONS
    def test_a_refused_response(self, origin, tls, connection):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(origin.url, verify=tls.ca_bundle))
            exchange = origin.accept()
            with living_child(fork_by_system):
                exchange.write_raw(
                    b"HTTP/1.1 403 No\r\nConnection: %s\r\nContent-Length: 5\r\n\r\nWhy?!"
                    % connection.encode()
                )
                assert isinstance(opening.outcome(), UnexpectedStatusError)
                assert exchange.wait_closed(PATIENCE)

    @CONNECTIONS
    def test_a_refused_response_of_which_the_body_does_not_end(self, origin, tls, connection):
        with sse_client_for_tests(max_error_body=10) as client:
            opening = Running(lambda: client.sse(origin.url, verify=tls.ca_bundle))
            exchange = origin.accept()
            with living_child(fork_by_system):
                exchange.open(headers={"Content-Type": "text/html", "Connection": connection})
                exchange.write(b"x" * 100)
                assert isinstance(opening.outcome(), UnexpectedContentTypeError)
                assert exchange.wait_closed(PATIENCE)

    @CONNECTIONS
    @pytest.mark.parametrize("body", [b"", b"elsewhere"])
    def test_a_redirect(self, origin, tls, connection, body):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(origin.url, verify=tls.ca_bundle))
            exchange = origin.accept()
            with living_child(fork_by_system):
                exchange.write_raw(
                    b"HTTP/1.1 302 Found\r\nLocation: /there\r\nConnection: %s\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (connection.encode(), len(body), body)
                )
                there = origin.accept()
                there.open()
                opening.outcome().close()
                assert exchange.wait_closed(PATIENCE)
                assert there.wait_closed(PATIENCE)

    def test_a_redirect_with_an_endless_body(self, server):
        with sse_client_for_tests(max_error_body=10) as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            with living_child(fork_by_system):
                exchange.open(302, {"Location": "/there"})
                exchange.write(b"x" * 100)
                server.accept().open()
                opening.outcome()
                assert exchange.wait_closed(PATIENCE)

    def test_a_response_with_too_large_a_header(self, origin, tls):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(origin.url, verify=tls.ca_bundle))
            exchange = origin.accept()
            with living_child(fork_by_system):
                with contextlib.suppress(ConnectionError):  # once the client has read enough
                    exchange.write_raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_HEADER_SIZE + 1))
                assert isinstance(opening.outcome(), ConnectionFailedError)
                assert exchange.wait_closed(PATIENCE)

    def test_a_response_that_is_not_http(self, server):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            with living_child(fork_by_system):
                exchange.write_raw(b"220 smtp.example.com\r\n")
                assert isinstance(opening.outcome(), ConnectionFailedError)
                assert exchange.wait_closed(PATIENCE)

    def test_a_response_at_which_a_hook_raises(self, server):
        def refuse(response, **_):
            raise LookupError

        with requests.Session() as own, sse_client_for_tests(own) as client:
            own.hooks["response"] = [refuse]
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            with living_child(fork_by_system):
                exchange.open()
                assert isinstance(opening.outcome(), LookupError)
                assert exchange.wait_closed(PATIENCE)

    @pytest.mark.parametrize("status", [401, 407])
    def test_a_challenge_of_which_the_body_does_not_end(self, server, status):
        with sse_client_for_tests(max_error_body=10) as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            with living_child(fork_by_system):
                exchange.open(status)
                exchange.write(b"x" * 100)
                assert isinstance(opening.outcome(), UnexpectedStatusError)
                assert exchange.wait_closed(PATIENCE)

    def test_an_attempt_that_was_given_up_before_the_response(self, server):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            with living_child(fork_by_system):
                client.close()
                assert exchange.wait_closed(PATIENCE)
            assert isinstance(opening.outcome(), SessionClosedError)

    @pytest.mark.parametrize("ends", ["aborted", "timed out"])
    def test_a_handshake(self, ends):
        timeout = 0.05 if ends == "timed out" else None
        with silent_listener() as (port, accept), sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(f"https://127.0.0.1:{port}/", timeout=timeout))
            connection = accept()
            assert connection.recv(1) == b"\x16"  # a handshake has begun
            with living_child(fork_by_system):
                if ends == "aborted":
                    client.close()
                assert isinstance(opening.outcome(), SSEClientError)
                assert reads_end(connection)


class TestAParentThatIsKilled:
    """The server sees the end of its connections while a child forked by Python still runs."""

    script = """
        verify = sys.argv[2] if len(sys.argv) > 2 else None
        opened = []
        in_background(lambda: opened.append(client.sse(url, verify=verify)))
        print("opening", flush=True)
        assert sys.stdin.readline() == "fork\\n"
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        print("forked", flush=True)
        assert sys.stdin.readline() == ""
    """

    @contextlib.contextmanager
    def parent(self, *arguments):
        """Start the parent. Yield a function that makes it fork and kills it."""
        process = start(self.script, *arguments)
        assert process.stdout.readline() == "opening\n"

        def fork():
            process.stdin.write("fork\n")
            process.stdin.flush()
            assert process.stdout.readline() == "forked\n"

        try:
            yield fork
        finally:
            _, out, err = ended(process)  # once the child has also ended
        assert (out, err) == ("", "")

    def test_while_a_stream_is_open(self, origin, tls):
        with self.parent(origin.url, tls.ca_bundle) as fork:
            exchange = origin.accept(PATIENCE)
            exchange.send("one")
            fork()
            assert exchange.wait_closed(PATIENCE)

    def test_while_it_waits_for_the_response(self, origin, tls):
        with self.parent(origin.url, tls.ca_bundle) as fork:
            exchange = origin.accept(PATIENCE)
            fork()
            assert exchange.wait_closed(PATIENCE)

    def test_while_it_shakes_hands(self):
        with silent_listener() as (port, accept), self.parent(f"https://127.0.0.1:{port}/") as fork:
            connection = accept()
            assert connection.recv(1) == b"\x16"
            fork()
            assert reads_end(connection)
