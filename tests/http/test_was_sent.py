"""Whether the request may have reached the server, and the message of a failed connection."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest
import requests
from canaries import CANARY, tells
from support import PATIENCE, silent_listener, sse_client_for_tests

from sse_client import BearerAuth, ConnectionFailedError, DefaultRequest
from sse_client.testing import SSEServer


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


@pytest.fixture
def unused_port():
    """A port on which nothing listens, and which stays reserved."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def failure_of(client, url, **arguments):
    with pytest.raises(ConnectionFailedError) as caught:
        client.sse(url, **arguments)
    error = caught.value
    # The message says neither about a request that could not be created.
    assert not ("cannot connect" in str(error) and error.was_sent)
    assert not ("no response" in str(error) and not error.was_sent)
    return error


@contextmanager
def peer(act):
    """Accept one connection at a time, and let a function handle it."""
    with silent_listener() as (port, accept):
        stop = threading.Event()

        def serve():
            while not stop.is_set():
                connection = accept()
                if not stop.is_set():
                    act(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            stop.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join(PATIENCE)


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        assert received
        data += received


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


def reset_after_the_request(connection):
    read_request(connection)
    reset(connection)


def close_after_the_request(connection):
    read_request(connection)
    connection.close()


def cut_header(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/ev")
    connection.close()


def no_http(connection):
    read_request(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
    connection.close()


class TestItWasNotSent:
    def test_if_the_connection_was_refused(self, client, unused_port):
        error = failure_of(client, f"http://u:{CANARY}@127.0.0.1:{unused_port}/x?{CANARY}")
        assert not error.was_sent
        assert str(error).startswith(f"cannot connect to http://127.0.0.1:{unused_port}/x: ")
        assert not tells(str(error))

    def test_if_the_name_cannot_be_resolved(self, client, monkeypatch):
        def fail(*_):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        assert not failure_of(client, "http://events.invalid/x").was_sent

    def test_if_the_certificate_does_not_verify(self, client, tls_server):
        error = failure_of(client, tls_server.url)
        assert not error.was_sent
        assert error.permanent

    def test_if_the_server_does_not_speak_tls(self, client):
        def speak(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        with peer(speak) as port:
            assert not failure_of(client, f"https://127.0.0.1:{port}/").was_sent

    def test_if_the_server_resets_the_handshake(self, client):
        def refuse(connection):
            connection.recv(65536)
            reset(connection)

        with peer(refuse) as port:
            assert not failure_of(client, f"https://127.0.0.1:{port}/").was_sent

    def test_if_the_handshake_takes_too_long(self, client):
        with silent_listener() as (port, _):
            error = failure_of(client, f"https://127.0.0.1:{port}/", timeout=(0.05, 0.05))
        assert not error.was_sent

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_if_the_proxy_cannot_be_reached(self, client, unused_port, scheme):
        proxy = f"http://user:{CANARY}@127.0.0.1:{unused_port}"
        error = failure_of(client, f"{scheme}://events.invalid/x", proxies={scheme: proxy})
        assert not error.was_sent
        assert str(error).startswith(
            f"cannot connect to {scheme}://events.invalid/x "
            f"through the proxy http://127.0.0.1:{unused_port}: "
        )
        assert not tells(str(error))

    @pytest.mark.parametrize("before", ["", f"http://user:{CANARY}@"])
    @pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required"])
    def test_if_the_proxy_refuses_a_tunnel(self, client, status, before):
        def refuse(connection):
            read_request(connection)
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            connection.close()

        with peer(refuse) as port:
            proxy = f"{before}127.0.0.1:{port}"
            error = failure_of(client, "https://events.invalid/x", proxies={"https": proxy})
        assert not error.was_sent
        assert f"through the proxy http://127.0.0.1:{port}: " in str(error)
        assert status[:3] in str(error)
        assert not tells(str(error))

    def test_if_the_proxy_closes_a_tunnel(self, client):
        with peer(close_after_the_request) as port:
            proxies = {"https": f"http://127.0.0.1:{port}"}
            assert not failure_of(client, "https://events.invalid/", proxies=proxies).was_sent

    @pytest.mark.parametrize("error", [OSError("no token"), requests.ConnectionError("no token")])
    def test_if_a_callable_value_fails(self, client, server, error):
        def fail():
            raise error

        assert not failure_of(client, server.url, headers={"Authorization": fail}).was_sent
        assert not failure_of(client, server.url, params={"token": fail}).was_sent
        client.install(DefaultRequest, headers={"X-Token": fail})
        assert not failure_of(client, server.url).was_sent
        assert server.requests == []

    @pytest.mark.parametrize("option", ["load", "refresh"])
    def test_if_a_token_cannot_be_fetched(self, client, server, option):
        def fail(*_):
            raise OSError("no token")

        options = {"load": lambda: "a", "refresh": lambda: "b", option: fail}
        server.respond(401)
        client.install(BearerAuth, **options)
        error = failure_of(client, server.url)
        # A request that was refused with a 401 had no effect.
        assert not error.was_sent


class TestItWasSent:
    @pytest.mark.parametrize(
        "act", [reset_after_the_request, close_after_the_request, cut_header, no_http]
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_if_the_response_does_not_come(self, client, act, method):
        with peer(act) as port:
            error = failure_of(client, f"http://127.0.0.1:{port}/x", method=method, data="x")
        assert error.was_sent
        assert str(error).startswith(f"no response from http://127.0.0.1:{port}/x: ")

    def test_if_the_header_takes_too_long(self, client):
        with silent_listener() as (port, _):
            assert failure_of(client, f"http://127.0.0.1:{port}/", timeout=(5, 0.05)).was_sent

    def test_over_tls_too(self, client, tls, tls_server):
        tls_server.handler = lambda exchange: exchange.reset()
        assert failure_of(client, tls_server.url, verify=tls.ca_bundle).was_sent

    def test_through_a_proxy_too_which_the_message_names(self, client):
        with peer(reset_after_the_request) as port:
            proxies = {"http": f"http://user:{CANARY}@127.0.0.1:{port}"}
            error = failure_of(client, "http://events.invalid/x", proxies=proxies)
        assert error.was_sent
        assert str(error).startswith(
            f"no response from http://events.invalid/x through the proxy http://127.0.0.1:{port}: "
        )
        assert not tells(str(error))

    def test_through_a_tunnel_too(self, client, tls, tls_server):
        tls_server.handler = lambda exchange: exchange.reset()

        def tunnel(connection):
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with socket.create_connection(("127.0.0.1", tls_server.port)) as server:
                back = threading.Thread(target=copy, args=(server, connection))
                back.start()
                copy(connection, server)
                back.join(PATIENCE)

        with peer(tunnel) as port:
            error = failure_of(
                client,
                tls_server.url,
                verify=tls.ca_bundle,
                proxies={"https": f"http://127.0.0.1:{port}"},
            )
        assert error.was_sent


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class TestAfterARedirect:
    """The request that counts is that of the last hop."""

    def test_that_cannot_be_connected_it_was_not_sent(self, client, server, unused_port):
        server.redirect(f"http://127.0.0.1:{unused_port}/there")
        assert not failure_of(client, server.url).was_sent
        assert len(server.requests) == 1

    def test_that_breaks_it_was_sent(self, client, server):
        with SSEServer(lambda exchange: exchange.reset()) as other:
            server.redirect(other.url)
            assert failure_of(client, server.url).was_sent

    def test_to_an_address_that_is_refused_it_was_sent(self, client, server):
        server.redirect("ftp://127.0.0.1/")
        with pytest.raises(ConnectionFailedError) as caught:
            client.sse(server.url)
        assert caught.value.was_sent

    def test_in_a_loop_it_was_sent(self, client, server):
        server.handler = lambda exchange: exchange.redirect("/")
        assert failure_of(client, server.url).was_sent


class TestAnotherTransport:
    """A transport that does not report whether the request was sent, so it may have been sent."""

    class Adapter(requests.adapters.BaseAdapter):
        def __init__(self, error):
            super().__init__()
            self._error = error

        def send(self, *_, **__):
            raise self._error

        def close(self):
            pass

    @pytest.mark.parametrize(
        ("error", "was_sent"),
        [
            (requests.ConnectionError("broken"), True),
            (requests.ReadTimeout("late"), True),
            (OSError("broken"), True),
            (requests.ConnectTimeout("late"), False),
            (requests.ConnectionError(ConnectionRefusedError("refused")), False),
            (requests.ConnectionError(socket.gaierror("unknown")), False),
        ],
    )
    def test_it_was_sent_unless_the_error_shows_otherwise(self, error, was_sent):
        with requests.Session() as session, sse_client_for_tests(session) as client:
            session.mount("http://", self.Adapter(error))
            assert failure_of(client, "http://events.invalid/").was_sent is was_sent


def test_it_is_kept_when_the_error_is_pickled():
    import pickle

    error = ConnectionFailedError("x", was_sent=True)
    assert pickle.loads(pickle.dumps(error)).was_sent
