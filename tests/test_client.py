"""The client: its requests, its streams, and the underlying session of requests."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import select
import socket
import ssl
import threading
import warnings
from pathlib import Path

import pytest
import requests
import responses
import trustme
from canaries import CANARY
from requests.adapters import HTTPAdapter
from support import Running, deaf_listener, silent_listener, sse_client_for_tests
from tables import each_of

from sse_client import (
    SSE,
    ConnectionFailedError,
    DefaultRequest,
    HttpClient,
    ReadyState,
    SessionClosedError,
    SSESession,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.testing import SSEServer

STREAM = "http://stream.invalid/events"

#: The option for the time without traffic, whatever its name.
IDLE = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)

KEPT_ALIVE = {"on": True, "idle": 45, "interval": 15, "count": 4, "no delay": True}


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


@pytest.fixture
def own():
    """A user's own ``requests`` session."""
    with requests.Session() as session:
        yield session


def on(session, **options):
    """A client with the user's session."""
    client = HttpClient(session)
    return client.install(SSE, **{"reconnection_time": 0, "reconnection_jitter": 0, **options})


def data_of(session):
    with session:
        return [event.data for event in session.incoming]


class Proxy:
    """A proxy on the loopback interface that forwards requests, and counts them."""

    def __init__(self):
        self.heads = []
        self._stopped, self._stop = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self):
        self._stop.close()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._stopped.close()

    def _accept(self):
        while self._stopped not in select.select([self._listener, self._stopped], [], [])[0]:
            accepted, _ = self._listener.accept()
            thread = threading.Thread(target=self._forward, args=(accepted,))
            self._threads.append(thread)
            thread.start()

    def _forward(self, inner):
        with inner, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = inner.recv(65536)
                if not piece:
                    return
                head += piece
            self.heads.append(head)
            method, target, _ = head.split(b" ", 2)
            is_tunnel = method == b"CONNECT"
            address = target if is_tunnel else target.split(b"/")[2]
            host, _, port = address.decode().partition(":")
            with socket.create_connection((host, int(port))) as outer:
                if is_tunnel:
                    inner.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = b"/" + target.split(b"/", 3)[3]
                    outer.sendall(head.replace(target, path, 1))
                self._pump(inner, outer)

    def _pump(self, inner, outer):
        while True:
            ready, _, _ = select.select([inner, outer, self._stopped], [], [])
            for source, sink in ((inner, outer), (outer, inner)):
                if source in ready:
                    piece = source.recv(65536)
                    if not piece:
                        return
                    sink.sendall(piece)
            if self._stopped in ready:
                return


@pytest.fixture
def proxy():
    started = Proxy()
    yield started
    started.close()


class TestPlainRequests:
    def test_send_what_requests_would_send(self, client, server):
        server.respond(201, {"X-Answer": "yes"}, "made")
        response = client.request(
            "put",
            server.url_for("/thing"),
            params={"a": ["1", "2"]},
            headers={"X-Own": "é".encode()},
            json={"x": 1},
            auth=("user", CANARY),
            cookies={"c": "d"},
        )
        assert (response.status_code, response.text) == (201, "made")
        assert response.headers["X-Answer"] == "yes"
        (request,) = server.requests
        assert (request.method, request.target) == ("PUT", "/thing?a=1&a=2")
        assert (request.body, request.headers["X-Own"]) == (b'{"x": 1}', "é")
        assert request.headers["Authorization"] == requests.auth._basic_auth_str("user", CANARY)
        assert request.headers["Cookie"] == "c=d"

    def test_get_and_post(self, client, server):
        server.respond(200, body="got")
        server.respond(200, body="posted")
        assert client.get(server.url, params="q=1").text == "got"
        assert client.post(server.url, data={"a": "b"}).text == "posted"
        first, second = server.requests
        assert (first.method, first.target) == ("GET", "/?q=1")
        assert (second.method, second.body) == ("POST", b"a=b")

    def test_call_what_is_callable(self, client, server):
        server.respond(200)
        server.respond(200)
        client.post(
            server.url,
            headers={"X-A": lambda: "a", "X-None": lambda: None},
            params={"p": lambda: 7},
            data=lambda: b"body",
        )
        client.post(server.url, json=lambda: [1])
        first, second = server.requests
        assert (first.headers["X-A"], first.target, first.body) == ("a", "/?p=7", b"body")
        assert "X-None" not in first.headers
        assert second.body == b"[1]"

    def test_follow_redirects_unless_told_not_to(self, client, server):
        server.redirect("/there")
        server.respond(200, body="there")
        server.redirect("/there")
        assert client.get(server.url).text == "there"
        assert client.get(server.url, allow_redirects=False).status_code == 302

    def test_raise_what_requests_raises(self, client):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(requests.ConnectionError):
                client.get(f"http://127.0.0.1:{bound.getsockname()[1]}/")
        with silent_listener() as (port, _), pytest.raises(requests.ReadTimeout):
            client.get(f"http://127.0.0.1:{port}/", timeout=0.05)

    def test_share_connections_with_streams(self, client, server):
        """Plain requests keep their connection, even after a stream has prepared its pool."""
        for _ in range(2):
            server.respond(200)
        server.serve(then="stall")
        for _ in range(2):
            server.respond(200)
        client.get(server.url)
        client.get(server.url)
        client.sse(server.url).close()
        client.get(server.url)
        client.get(server.url)
        ports = [request.client_port for request in server.requests]
        assert ports[0] == ports[1]
        assert ports[3] == ports[4]
        assert len(set(ports)) == 3


class TestAddresses:
    def test_in_one_piece(self, client, server):
        server.serve(["one"])
        with client.sse(server.url_for("/a/b?c=d")) as session:
            assert session.incoming.get().data == "one"
        assert server.requests[0].target == "/a/b?c=d"

    @pytest.mark.parametrize(("path", "target"), [("a?b=c", "/a?b=c"), ("/a", "/a"), ("/", "/")])
    def test_in_parts(self, client, server, path, target):
        server.serve(then="stall")
        client.sse(scheme="http", host=server.host, port=server.port, path=path).close()
        assert server.requests[0].target == target

    def test_in_parts_with_the_scheme_s_own_port(self, client):
        with responses.RequestsMock() as mock:
            for url in ("http://name.invalid/", "https://name.invalid/x"):
                mock.get(url, content_type="text/event-stream")
            client.sse(host="name.invalid").close()
            client.sse(scheme="https", host="name.invalid", path="x").close()

    @pytest.mark.parametrize("host", ["::1", "[::1]"])
    def test_of_ipv6_hosts(self, client, host):
        with responses.RequestsMock() as mock:
            mock.get("http://[::1]:8080/x", content_type="text/event-stream")
            with client.sse(host=host, port=8080, path="/x") as session:
                assert repr(session).startswith("<SSESession ::1 ")

    def test_of_ipv6_hosts_for_real(self, client):
        try:
            listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        with listener:
            port = listener.getsockname()[1]
            opening = Running(lambda: client.sse(host="::1", port=port))
            connection, _ = listener.accept()
            with connection:
                assert f"Host: [::1]:{port}".encode() in connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: six\n\n"
                )
                session = opening.outcome()
                assert session.incoming.get().data == "six"
                session.close()

    @each_of(
        ("arguments", "message"),
        [
            ({}, "url or host is missing"),
            ({"port": 80}, "url or host is missing"),
            ({"port": 80, "path": "/x"}, "url or host is missing"),
            ({"url": b"http://h/"}, "url must be a str, not bytes"),
            ({"url": 7}, "url must be a str, not int"),
            ({"url": "http://h/", "host": "h"}, "give either url, or scheme, host"),
            ({"url": "http://h/", "port": 80}, "give either url, or scheme, host"),
            ({"url": "http://h/", "path": "/x"}, "give either url, or scheme, host"),
            ({"url": "http://h/", "scheme": "https"}, "give either url, or scheme, host"),
        ],
    )
    def test_given_wrongly_are_a_type_error(self, client, arguments, message):
        with pytest.raises(TypeError, match=message):
            client.sse(**arguments)

    @pytest.mark.parametrize("scheme", ["ftp", "", "HTTP", "ws"])
    def test_of_another_scheme_are_a_value_error(self, client, scheme):
        with pytest.raises(ValueError, match="scheme must be 'http' or 'https', not "):
            client.sse(scheme=scheme, host="h")

    @pytest.mark.parametrize("url", ["", "h/x", "ftp://h/x", "http://", "http://h:x/", "file:///"])
    def test_that_are_none_are_a_value_error(self, client, url):
        with pytest.raises(ValueError, match=r"cannot be sent|url must "):
            client.sse(url)


class TestKinds:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"headers": [("a", "b")]}, r"^headers must be a mapping, not list$"),
            ({"headers": "a: b"}, r"^headers must be a mapping, not str$"),
            ({"auth": "user"}, r"^auth must be a pair \(user, password\), .+, not str$"),
            ({"auth": ["user", "password"]}, r"^auth must be a pair .+, not list$"),
            ({"auth": ("user",)}, r"^auth must be a pair .+, not tuple$"),
            ({"auth": False}, r"^auth must be a pair .+, not bool$"),
        ],
    )
    def test_that_are_wrong_are_refused_by_name(self, client, arguments, message):
        for send in (client.sse, client.get, client.post):
            with pytest.raises(TypeError, match=message):
                send(STREAM, **arguments)


class TestTimeouts:
    @pytest.mark.parametrize("timeout", ["1", True, object(), (1, "2"), [1, 2]])
    def test_of_the_wrong_type_are_refused_by_name(self, client, timeout):
        with pytest.raises(TypeError, match=r"^timeout must be seconds, a pair"):
            client.sse(STREAM, timeout=timeout)

    @each_of("timeout", [0, -1, (1, 0), (-1, None), (), (1,), (1, 2, 3), (1, 0.0)])
    def test_of_a_wrong_value_are_refused_by_name(self, client, timeout):
        with pytest.raises(ValueError, match=r"^timeout must be seconds, a pair"):
            client.sse(STREAM, timeout=timeout)

    @pytest.mark.parametrize("timeout", [None, 1, 2.5, (1, None), (None, None), (0.5, 3)])
    def test_are_seconds_a_pair_or_none(self, client, server, timeout):
        server.serve(["one"])
        with client.sse(server.url, timeout=timeout) as session:
            assert session.incoming.get().data == "one"

    def test_bound_the_wait_for_a_connection(self, client):
        with deaf_listener() as port:
            with pytest.raises(ConnectionFailedError, match=r"timed out") as caught:
                client.sse(f"http://127.0.0.1:{port}/", timeout=0.05)
            assert not caught.value.permanent

    def test_bound_the_wait_for_the_response(self, client):
        with silent_listener() as (port, _):
            with pytest.raises(ConnectionFailedError, match=r"more than 0\.05 s") as caught:
                client.sse(f"http://127.0.0.1:{port}/", timeout=(5, 0.05))
            assert not caught.value.permanent


class TestSessions:
    def test_come_open(self, client, server):
        server.serve(then="stall")
        session = client.sse(server.url)
        assert isinstance(session, SSESession)
        assert session.state is ReadyState.OPEN
        assert session.response.status_code == 200
        assert session.response.headers["Content-Type"] == "text/event-stream"
        session.close()

    def test_of_the_second_name_outlive_a_block(self, client, server):
        server.serve(["one"], then="stall")
        session = client.sse_session(server.url)
        assert session.incoming.get().data == "one"
        session.close()

    def test_are_context_managers(self, client, server):
        server.serve(then="stall")
        with client.sse(server.url) as session:
            assert session.state is ReadyState.OPEN
        assert session.state is ReadyState.CLOSED

    @pytest.mark.parametrize("name", ["sse", "sse_session"])
    def test_given_to_a_block_are_closed_after_it(self, client, server, name):
        server.serve(["one"], then="stall")
        seen = []

        def block(session):
            seen.append(session)
            return session.incoming.get().data

        assert getattr(client, name)(server.url, block=block) == "one"
        assert seen[0].state is ReadyState.CLOSED

    def test_given_to_a_block_that_raises_are_closed_too(self, client, server):
        server.serve(then="stall")
        seen = []

        def block(session):
            seen.append(session)
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            client.sse(server.url, block=block)
        assert seen[0].state is ReadyState.CLOSED

    def test_of_another_method_do_not_reconnect(self, client, server):
        server.serve(["one"])
        with client.sse(server.url, method="post", json={"q": 1}) as session:
            assert data_of(session) == ["one"]
        (request,) = server.requests
        assert (request.method, request.body) == ("POST", b'{"q": 1}')


class TestClosing:
    def test_ends_all_sessions(self, server):
        for _ in range(3):
            server.serve(then="stall")
        with sse_client_for_tests() as client:
            sessions = [client.sse(server.url) for _ in range(3)]
        for session in sessions:
            assert session.state is ReadyState.CLOSED
            assert list(session.incoming) == []

    def test_aborts_a_stream_that_opens_in_another_thread(self, server):
        client = on(requests.Session())
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        client.close()
        error = opening.outcome()
        assert isinstance(error, SessionClosedError)
        assert "closed" in str(error)
        assert exchange.wait_closed()

    def test_aborts_a_stream_whose_name_has_just_been_resolved(self, client, server, monkeypatch):
        resolve = socket.getaddrinfo

        def resolve_and_close(*args):
            found = resolve(*args)
            client.close()
            return found

        monkeypatch.setattr(socket, "getaddrinfo", resolve_and_close)
        with pytest.raises(SessionClosedError):
            client.sse(server.url)
        assert server.requests == []

    def test_aborts_a_first_connection_that_is_being_retried(self, server, sse_clock):
        client = HttpClient(clock=sse_clock).install(SSE, retry_first_connection=True)
        server.respond(503)
        opening = Running(lambda: client.sse(server.url))
        sse_clock.wait_for_sleepers()
        client.close()
        assert isinstance(opening.outcome(), SessionClosedError)

    def test_can_be_repeated(self):
        client = HttpClient()
        client.close()
        client.close()
        with client:
            pass

    def test_leaves_nothing_to_be_used(self, server):
        with sse_client_for_tests() as client:
            pass
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for use in (client.get, client.post, client.sse, client.sse_session):
                with pytest.raises(SessionClosedError, match="the client is closed"):
                    use(server.url)
        assert server.requests == []

    def test_does_not_warn_of_a_session_that_never_began(self):
        with sse_client_for_tests() as client:
            pass
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with contextlib.suppress(SessionClosedError):
                client.sse(STREAM)
        assert [str(warning.message) for warning in caught] == []

    def test_closes_its_own_session_of_requests(self, server):
        with sse_client_for_tests() as client:
            exchanges = []
            server.handler = exchanges.append
            client.get(server.url)
            assert not exchanges[0].wait_closed(0)
        assert exchanges[0].wait_closed()

    def test_leaves_no_connection_to_the_garbage_collector(self, server):
        exchanges = []
        server.handler = exchanges.append
        with sse_client_for_tests() as client:
            client.get(server.url)
            client.get("http://name.invalid/", proxies={"http": server.url})
            adapter = client._session.get_adapter(server.url)
            managers = [adapter.poolmanager, *adapter.proxy_manager.values()]
            pools = [manager.connection_from_url(server.url) for manager in managers]
            assert [pool.pool is None for pool in pools] == [False, False]
        # Here the pools are still in use, for example by an error that refers to them.
        assert [pool.pool is None for pool in pools] == [True, True]
        assert all(exchange.wait_closed() for exchange in exchanges)

    def test_closes_its_own_session_although_a_plugin_raises(self, server):
        class Failing:
            def close(self):
                raise LookupError("cannot")

        exchanges = []
        server.handler = exchanges.append
        client = HttpClient().install(Failing)
        client.get(server.url)
        with pytest.raises(LookupError, match="cannot"):
            client.close()
        assert exchanges[0].wait_closed()


class TestOwnSession:
    def test_stays_open(self, own, server):
        server.handler = lambda exchange: exchange.respond(200)
        with on(own) as client:
            client.get(server.url)
        assert own.get(server.url).ok
        first, second = server.requests
        assert first.client_port == second.client_port

    def test_gives_its_headers_cookies_params_and_auth(self, own, server):
        own.headers["X-Own"] = "yes"
        own.cookies["c"] = "d"
        own.params = {"p": "q"}
        own.auth = ("user", CANARY)
        server.serve(then="stall")
        server.respond(200)
        with on(own) as client:
            client.install(DefaultRequest, params={"default": "y"})
            client.sse(server.url, params={"own": lambda: "x"}).close()
            client.get(server.url, params={"own": "x"})
        for request in server.requests:
            assert request.headers["X-Own"] == "yes"
            assert request.headers["Cookie"] == "c=d"
            assert request.query == {"p": ["q"], "own": ["x"], "default": ["y"]}
            assert request.headers["Authorization"].startswith("Basic ")

    def test_gives_its_accept_headers_if_they_are_not_the_usual_ones(self, own, server):
        own.headers["Accept"] = "text/event-stream, application/json"
        own.headers["Accept-Encoding"] = "gzip"
        server.serve(then="stall")
        with on(own) as client:
            client.sse(server.url).close()
        headers = server.requests[0].headers
        assert headers["Accept"] == "text/event-stream, application/json"
        assert headers["Accept-Encoding"] == "gzip"

    def test_gives_its_adapters(self, own, server):
        sent = []

        class Adapter(HTTPAdapter):
            def send(self, request, *args, **kwargs):
                sent.append(request.url)
                return super().send(request, *args, **kwargs)

        own.mount("http://", Adapter())
        server.serve(["one"])
        server.respond(204)
        with on(own) as client:
            assert data_of(client.sse(server.url)) == ["one"]
        assert sent == [server.url, server.url]

    def test_gives_a_transport_that_is_not_of_requests(self, own):
        class Raw(io.BytesIO):
            def read1(self, size=-1, decode_content=None):
                return super().read1(size)

        class Canned(requests.adapters.BaseAdapter):
            def send(self, request, **_):
                response = requests.Response()
                response.status_code = 200
                response.headers["Content-Type"] = "text/event-stream"
                response.url, response.request = request.url, request
                response.raw = Raw(b"data: one\n\n")
                return response

            def close(self):
                pass

        own.mount("http://", Canned())
        with on(own, reconnect="never") as client:
            assert data_of(client.sse(STREAM)) == ["one"]

    def test_gives_its_proxies(self, own, server, proxy):
        own.proxies = {"http": proxy.url}
        server.serve(["one"], then="stall")
        with on(own) as client, client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
        assert len(proxy.heads) == 1

    def test_gives_its_certificates(self, own, tls, tls_server, monkeypatch):
        # As in requests, these would take precedence.
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        own.verify = tls.ca_bundle
        tls_server.serve(["one"], then="stall")
        with on(own) as client, client.sse(tls_server.url) as session:
            assert session.incoming.get().data == "one"

    def test_gives_the_address_to_connect_from(self, own, server):
        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args, **kwargs):
                super().init_poolmanager(*args, source_address=("127.0.0.2", 0), **kwargs)

        own.mount("http://", Adapter())
        server.serve(then="stall")
        with on(own) as client, client.sse(server.url) as session:
            sock = session._reader._state._connection._socket._socket
            assert sock.getsockname()[0] == "127.0.0.2"

    def test_that_was_closed_below_it_fails_the_connection(self, own, server):
        own.trust_env = False
        server.serve(then="stall")
        prepared = requests.Request("GET", server.url).prepare()
        adapter = own.get_adapter(server.url)
        with on(own) as client:
            client.sse(server.url).close()
            adapter.get_connection_with_tls_context(prepared, verify=True).close()
            with pytest.raises(ConnectionFailedError, match=r"[Cc]losed"):
                client.sse(server.url)

    def test_gives_its_hooks(self, own, server):
        seen = []
        own.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
        server.redirect("/there")
        server.serve(["one"], then="stall")
        with on(own) as client, client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
        assert seen == [302, 200]


class TestCallables:
    def test_are_asked_anew_for_each_attempt(self, client, server):
        numbers = {name: itertools.count(1) for name in ("header", "param", "data")}
        server.serve(["one"], then="drop")
        server.respond(503)
        server.serve(["two"])
        server.respond(204)
        session = client.sse(
            server.url,
            method="POST",
            reconnect="always",
            headers={"X-N": lambda: str(next(numbers["header"]))},
            params={"n": lambda: next(numbers["param"]), "fixed": "x"},
            data=lambda: f"body {next(numbers['data'])}",
        )
        assert data_of(session) == ["one", "two"]
        for index, request in enumerate(server.requests, 1):
            assert request.headers["X-N"] == str(index)
            assert request.query == {"n": [str(index)], "fixed": ["x"]}
            assert request.body == f"body {index}".encode()
        assert len(server.requests) == 4

    def test_of_json_are_asked_anew_for_each_attempt(self, client, server):
        numbers = itertools.count(1)
        server.serve(["one"])
        server.respond(204)
        session = client.sse(
            server.url, method="POST", reconnect="always", json=lambda: {"n": next(numbers)}
        )
        assert data_of(session) == ["one"]
        assert [request.body for request in server.requests] == [b'{"n": 1}', b'{"n": 2}']

    def test_that_raise_fail_the_call(self, client, server):
        def fail():
            raise LookupError("no token")

        with pytest.raises(LookupError, match="no token"):
            client.sse(server.url, headers={"X": fail})
        assert server.requests == []

    def test_of_auth_are_asked_anew_for_each_attempt(self, client, server):
        numbers = itertools.count(1)

        def auth(prepared):
            prepared.headers["Authorization"] = f"Bearer {next(numbers)}"
            return prepared

        server.serve(["one"])
        server.respond(204)
        assert data_of(client.sse(server.url, auth=auth)) == ["one"]
        sent = [request.headers["Authorization"] for request in server.requests]
        assert sent == ["Bearer 1", "Bearer 2"]


def pieces():
    yield b"a"
    yield b"b"


class TestBodies:
    @pytest.mark.parametrize("make", [lambda: io.BytesIO(b"ab"), pieces])
    def test_that_can_be_read_once_are_refused_for_a_stream_that_reconnects(
        self, client, server, make
    ):
        for options in ({}, {"method": "POST", "reconnect": "on_error"}):
            with pytest.raises(ValueError, match="data can be read only once"):
                client.sse(server.url, data=make(), **options)
        assert server.requests == []

    @pytest.mark.parametrize("make", [lambda: io.BytesIO(b"ab"), pieces])
    @pytest.mark.parametrize(
        "options", [{}, {"reconnect": "never"}, {"max_reconnection_attempts": 0}]
    )
    def test_that_can_be_read_once_are_sent_by_one_that_does_not(
        self, client, server, make, options
    ):
        method = "POST" if not options else "GET"
        server.serve(["one"])
        assert data_of(client.sse(server.url, method=method, data=make(), **options)) == ["one"]
        assert [request.body for request in server.requests] == [b"ab"]

    def test_that_can_be_read_once_are_not_sent_empty_on_demand(self, client, server):
        server.serve(["one"], then="stall")
        with client.sse(server.url, method="POST", data=pieces()) as session:
            assert session.incoming.get().data == "one"
            session.reconnect()
            with pytest.raises(ValueError, match="data was already read"):
                session.incoming.get()
        assert len(server.requests) == 1

    def test_that_a_function_makes_anew_may_be_files(self, client, server):
        server.serve(["one"])
        server.respond(204)
        session = client.sse(server.url, data=lambda: io.BytesIO(b"ab"))
        assert data_of(session) == ["one"]
        assert [request.body for request in server.requests] == [b"ab", b"ab"]


class TestStartingPosition:
    @pytest.mark.parametrize("value", ["5", b"5", lambda: "5", lambda: b"5"])
    @pytest.mark.parametrize("name", ["Last-Event-ID", "last-event-id"])
    def test_may_be_given_as_a_header(self, client, server, name, value):
        server.serve(["one"])
        server.serve([b"id: 6\ndata: two\n\n"])
        server.serve([b"id\ndata: three\n\n"])
        server.respond(204)
        with client.sse(server.url, headers={name: value}) as session:
            assert [(event.data, event.id) for event in session.incoming] == [
                ("one", "5"),
                ("two", "6"),
                ("three", ""),
            ]
        sent = [request.headers.get("Last-Event-ID") for request in server.requests]
        assert sent == ["5", "5", "6", None]

    @pytest.mark.parametrize("value", [None, "", lambda: None])
    def test_may_be_the_beginning(self, client, server, value):
        server.serve(then="stall")
        client.sse(server.url, headers={"X": "y", "Last-Event-ID": value}).close()
        assert "Last-Event-ID" not in server.requests[0].headers

    def test_of_the_option_wins(self, client, server):
        server.serve(then="stall")
        client.sse(server.url, headers={"Last-Event-ID": "5"}, last_event_id="7").close()
        assert server.requests[0].headers.get_all("Last-Event-ID") == ["7"]

    def test_that_is_no_id_is_refused_by_name(self, client):
        with pytest.raises(ValueError, match="last_event_id must not contain"):
            client.sse(STREAM, headers={"Last-Event-ID": "5\n6"})


class TestCookies:
    def test_set_by_the_server_are_sent_on_reconnection(self, client, server):
        server.serve(["one"], headers={"Set-Cookie": "sid=abc; Path=/"})
        server.respond(204)
        assert data_of(client.sse(server.url, cookies={"mine": "1"})) == ["one"]
        first, second = (request.headers["Cookie"] for request in server.requests)
        assert first == "mine=1"
        assert set(second.split("; ")) == {"mine=1", "sid=abc"}

    def test_set_by_a_redirect_are_sent_after_it(self, client, server):
        server.respond(302, {"Location": "/there", "Set-Cookie": "sid=abc"})
        server.serve(then="stall")
        client.sse(server.url).close()
        assert server.requests[1].headers["Cookie"] == "sid=abc"


class TestNetrc:
    @pytest.fixture(autouse=True)
    def netrc(self, tmp_path, monkeypatch):
        path = tmp_path / "netrc"
        path.write_text(f"machine 127.0.0.1 login user password {CANARY}\n")
        path.chmod(0o600)
        monkeypatch.setenv("NETRC", str(path))

    def open(self, server, session=None, **arguments):
        server.serve(then="stall")
        with on(session or requests.Session()) as client:
            client.sse(server.url, **arguments).close()
        return server.requests[-1].headers["Authorization"]

    def test_is_used(self, server):
        assert self.open(server).startswith("Basic ")

    @pytest.mark.parametrize("name", ["Authorization", "authorization"])
    def test_is_not_used_where_the_header_is_given(self, server, name):
        assert self.open(server, headers={name: f"Bearer {CANARY}"}) == f"Bearer {CANARY}"

    def test_is_not_used_where_the_session_has_the_header(self, server, own):
        own.headers["Authorization"] = f"Bearer {CANARY}"
        assert self.open(server, own) == f"Bearer {CANARY}"

    def test_is_not_used_where_a_plugin_has_set_the_header(self, client, server):
        client.install(DefaultRequest, headers={"Authorization": lambda: f"Bearer {CANARY}"})
        server.serve(then="stall")
        client.sse(server.url).close()
        assert server.requests[0].headers["Authorization"] == f"Bearer {CANARY}"

    def test_is_not_used_by_a_plain_request_with_the_header(self, client, server):
        server.respond(200)
        client.get(server.url, headers={"Authorization": f"Bearer {CANARY}"})
        assert server.requests[0].headers["Authorization"] == f"Bearer {CANARY}"

    def test_is_not_used_after_a_redirect_either(self, client, server):
        server.redirect("/there")
        server.serve(then="stall")
        client.sse(server.url, headers={"Authorization": f"Bearer {CANARY}"}).close()
        assert [request.headers["Authorization"] for request in server.requests] == [
            f"Bearer {CANARY}",
            f"Bearer {CANARY}",
        ]

    def test_auth_wins_over_both(self, server):
        sent = self.open(server, auth=("a", "b"), headers={"Authorization": f"Bearer {CANARY}"})
        assert sent == "Basic YTpi"

    def test_the_session_s_auth_wins_over_both(self, server, own):
        own.auth = ("a", "b")
        assert self.open(server, own, headers={"Authorization": f"Bearer {CANARY}"}) == "Basic YTpi"


class TestManyStreams:
    def test_to_one_host_give_no_warnings_and_leave_nothing(self, server, caplog):
        count = 200
        server.handler = lambda exchange: (exchange.send("one"), exchange.stall())
        before = threading.active_count()
        with caplog.at_level(logging.WARNING, "urllib3"):
            with sse_client_for_tests() as client:
                sessions = [client.sse(server.url) for _ in range(count)]
                for session in sessions:
                    assert session.incoming.get().data == "one"
                names = [thread.name for thread in threading.enumerate()]
                assert names.count("sse-client:reader") == 1
                for session in sessions:
                    session.close()
            assert "sse-client:127.0.0.1" not in [t.name for t in threading.enumerate()]
        assert caplog.records == []
        server.stop()
        assert threading.active_count() < before + 1

    def test_on_a_session_of_the_user_s_give_no_warnings(self, own, server, caplog):
        server.handler = lambda exchange: (exchange.send("one"), exchange.stall())
        with caplog.at_level(logging.WARNING, "urllib3"), on(own) as client:
            for session in [client.sse(server.url) for _ in range(30)]:
                session.close()
        assert caplog.records == []

    def test_on_pools_that_block_give_their_connection_back(self, own, server):
        own.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True))
        with on(own) as client:
            for _ in range(3):
                server.serve(["one"], then="stall")
                with client.sse(server.url) as session:
                    assert session.incoming.get().data == "one"


class TestKeepAlive:
    def options_of(self, session):
        sock = session._reader._state._connection._socket._socket
        return {
            # Any number but 0 means true, and macOS uses numbers other than 1.
            "on": bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
            "idle": sock.getsockopt(socket.IPPROTO_TCP, IDLE),
            "interval": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
            "count": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
            "no delay": bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
        }

    def test_is_on_for_the_client_s_own_sessions(self, client, server, proxy, tls, tls_server):
        for target, arguments in (
            (server, {}),
            (server, {"proxies": {"http": proxy.url}}),
            (tls_server, {"verify": tls.ca_bundle}),
        ):
            target.serve(then="stall")
            with client.sse(target.url, **arguments) as session:
                assert self.options_of(session) == KEPT_ALIVE

    def test_is_left_to_the_user_on_other_sessions(self, own, server):
        server.serve(then="stall")
        with on(own) as client, client.sse(server.url) as session:
            sock = session._reader._state._connection._socket._socket
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0

    @pytest.mark.parametrize("name", ["TCP_KEEPIDLE", "TCP_KEEPALIVE"])
    def test_is_the_same_whatever_the_system_calls_it(self, server, monkeypatch, name):
        for each in ("TCP_KEEPIDLE", "TCP_KEEPALIVE"):
            monkeypatch.delattr(socket, each, raising=False)
        monkeypatch.setattr(socket, name, IDLE, raising=False)
        server.serve(then="stall")
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            assert self.options_of(session) == KEPT_ALIVE

    def test_notices_a_dead_peer_after_the_documented_time(self):
        seconds = KEPT_ALIVE["idle"] + KEPT_ALIVE["count"] * KEPT_ALIVE["interval"]
        page = (Path(__file__).parents[1] / "docs/connection.md").read_text("utf-8")
        assert f"after at most {seconds} seconds" in page

    def test_does_without_what_the_system_has_no_name_for(self, server, monkeypatch):
        monkeypatch.delattr(socket, "TCP_KEEPIDLE", raising=False)
        monkeypatch.delattr(socket, "TCP_KEEPALIVE", raising=False)
        server.serve(then="stall")
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            sock = session._reader._state._connection._socket._socket
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def test_the_user_agent_names_the_package(self, client, server):
        server.serve(then="stall")
        client.sse(server.url).close()
        assert server.requests[0].headers["User-Agent"].startswith("sse-client/")


class TestMocked:
    @pytest.fixture
    def mock(self):
        with responses.RequestsMock() as mock:
            yield mock

    def test_a_stream_delivers_its_events_and_reconnects(self, client, mock):
        mock.get(STREAM, body="id: 1\ndata: one\n\n", content_type="text/event-stream")
        mock.get(STREAM, body="id: 2\ndata: two\n\ndata: cut", content_type="text/event-stream")
        mock.get(STREAM, status=204)
        with client.sse(STREAM) as session:
            assert [(event.data, event.id) for event in session.incoming] == [
                ("one", "1"),
                ("two", "2"),
            ]
            assert session.error is None
        sent = [call.request.headers.get("Last-Event-ID") for call in mock.calls]
        assert sent == [None, b"1", b"2"]

    def test_a_retried_status_is_retried(self, client, mock):
        mock.get(STREAM, body="data: one\n\n", content_type="text/event-stream")
        mock.get(STREAM, status=503)
        mock.get(STREAM, body="data: two\n\n", content_type="text/event-stream")
        mock.get(STREAM, status=204)
        assert data_of(client.sse(STREAM)) == ["one", "two"]

    @pytest.mark.parametrize("status", [404, 500])
    def test_a_status_is_an_error(self, client, mock, status):
        mock.get(STREAM, status=status, json={"why": "not"})
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(STREAM)
        assert caught.value.status_code == status
        assert caught.value.body == b'{"why": "not"}'
        assert caught.value.response.json() == {"why": "not"}

    @pytest.mark.parametrize("content_type", ["text/html", "application/json", None])
    def test_a_content_type_is_an_error(self, client, mock, content_type):
        mock.get(STREAM, body="<p>", content_type=content_type)
        with pytest.raises(UnexpectedContentTypeError) as caught:
            client.sse(STREAM)
        assert caught.value.body == b"<p>"

    def test_a_redirect_is_followed(self, client, mock):
        mock.get(STREAM, status=302, headers={"Location": "/other"})
        mock.get("http://stream.invalid/other", "data: one\n\n", content_type="text/event-stream")
        with client.sse(STREAM, reconnect="never") as session:
            assert data_of(session) == ["one"]
            assert [answer.status_code for answer in session.response.history] == [302]

    def test_a_failed_connection_is_an_error(self, client, mock):
        mock.get(STREAM, body=requests.ConnectionError("refused"))
        with pytest.raises(ConnectionFailedError):
            client.sse(STREAM)

    def test_a_plain_request_is_mocked_too(self, client, mock):
        mock.post(STREAM, json={"a": 1})
        assert client.post(STREAM).json() == {"a": 1}


class TestProxies:
    @pytest.fixture(autouse=True)
    def _no_environment(self, monkeypatch):
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    def events_of(self, client, server, **arguments):
        server.serve(["one"], then="stall")
        with client.sse(server.url_for("/p?q=1"), **arguments) as session:
            return session.incoming.get().data

    def test_of_the_call_are_used(self, client, server, proxy):
        assert self.events_of(client, server, proxies={"http": proxy.url}) == "one"
        assert proxy.heads[0].startswith(f"GET {server.url}p?q=1 HTTP/1.1\r\n".encode())

    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
    def test_of_the_environment_are_used(self, client, server, proxy, monkeypatch, name):
        monkeypatch.setenv(name, proxy.url)
        assert self.events_of(client, server) == "one"
        assert len(proxy.heads) == 1

    @pytest.mark.parametrize("value", ["127.0.0.1", "127.0.0.0/8", "*"])
    def test_are_not_used_where_the_environment_says_so(
        self, client, server, proxy, monkeypatch, value
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", value)
        assert self.events_of(client, server) == "one"
        assert proxy.heads == []

    def test_of_the_environment_are_used_by_plain_requests(
        self, client, server, proxy, monkeypatch
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        server.respond(200, body="plain")
        assert client.get(server.url).text == "plain"
        assert len(proxy.heads) == 1

    def test_of_the_call_tunnel_to_a_server_with_tls(self, client, tls, tls_server, proxy):
        proxies = {"https": proxy.url}
        assert self.events_of(client, tls_server, verify=tls.ca_bundle, proxies=proxies) == "one"
        assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{tls_server.port} ".encode())

    def test_of_the_environment_tunnel_too(self, tls, tls_server, proxy, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with sse_client_for_tests() as client:
            assert self.events_of(client, tls_server, verify=tls.ca_bundle) == "one"
        assert proxy.heads[0].startswith(b"CONNECT ")

    def test_are_used_for_each_attempt_and_after_a_redirect(self, client, server, proxy):
        server.redirect("/there")
        server.serve(["one"])
        server.respond(204)
        assert data_of(client.sse(server.url, proxies={"http": proxy.url})) == ["one"]
        assert len(proxy.heads) == 3

    def test_that_are_not_there_fail_the_connection(self, client, server):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            dead = f"http://127.0.0.1:{bound.getsockname()[1]}"
            with pytest.raises(ConnectionFailedError) as caught:
                client.sse(server.url, proxies={"http": dead})
        assert not caught.value.permanent
        assert server.requests == []

    def test_a_stream_through_a_tunnel_is_closed_at_once(self, client, tls, tls_server, proxy):
        opening = Running(
            lambda: client.sse(tls_server.url, verify=tls.ca_bundle, proxies={"https": proxy.url})
        )
        exchange = tls_server.accept()
        exchange.send("one")
        session = opening.outcome()
        assert session.incoming.get().data == "one"
        session.close()
        assert exchange.wait_closed()


class TestCertificates:
    def test_are_verified_with_a_bundle(self, client, tls, tls_server):
        tls_server.serve(["one"], then="stall")
        with client.sse(tls_server.url, verify=tls.ca_bundle) as session:
            assert session.incoming.get().data == "one"

    @pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_are_verified_with_the_environment_s_bundle(
        self, client, tls, tls_server, monkeypatch, name
    ):
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.setenv(name, tls.ca_bundle)
        tls_server.serve(["one"], then="stall")
        tls_server.respond(200, body="plain")
        with client.sse(tls_server.url) as session:
            assert session.incoming.get().data == "one"
        assert client.get(tls_server.url).text == "plain"

    @pytest.mark.parametrize("options", [{}, {"retry_first_connection": True}])
    def test_that_nobody_knows_are_final(self, client, tls_server, options):
        with pytest.raises(ConnectionFailedError, match="certificate") as caught:
            client.sse(tls_server.url, **options)
        assert caught.value.permanent
        assert tls_server.requests == []

    def test_for_another_name_are_final(self, client, tmp_path):
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("other.invalid").configure_cert(context)
        bundle = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(bundle))
        with SSEServer(ssl_context=context) as server:
            with pytest.raises(ConnectionFailedError, match="certificate") as caught:
                client.sse(server.url, verify=str(bundle))
            assert caught.value.permanent

    def test_may_go_unverified(self, client, tls_server):
        tls_server.serve(["one"], then="stall")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with client.sse(tls_server.url, verify=False) as session:
                assert session.incoming.get().data == "one"

    @pytest.mark.parametrize("name", ["verify", "cert"])
    def test_a_file_that_is_not_there_is_refused_by_name(self, client, tls_server, tmp_path, name):
        missing = str(tmp_path / "none.pem")
        there = tmp_path / "there.pem"
        there.touch()
        wrong = [missing, ""] + [(str(there), missing), (missing, str(there))] * (name == "cert")
        for value in wrong:
            with pytest.raises(
                ValueError, match=rf"^{name} must be .+: '.* does not exist"
            ) as caught:
                client.sse(tls_server.url, **{name: value}, retry_first_connection=True)
            if value:
                assert missing in str(caught.value)
        assert tls_server.requests == []

    @each_of("name", ["verify", "cert"])
    @each_of("value", [0, 1, b"ca.pem", ["ca.pem"], ("a", "b", "c"), object()])
    def test_files_of_the_wrong_kind_are_refused_by_name(self, client, name, value):
        with pytest.raises(TypeError, match=rf"^{name} must be .+, not {type(value).__name__}$"):
            client.sse(STREAM, **{name: value})

    @pytest.mark.parametrize("is_pair", [False, True])
    def test_of_the_client_are_presented(self, client, tmp_path, is_pair):
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(context)
        own = authority.issue_cert("client.invalid")
        bundle, both, key = (tmp_path / name for name in ("ca.pem", "both.pem", "key.pem"))
        authority.cert_pem.write_to_path(str(bundle))
        own.private_key_and_cert_chain_pem.write_to_path(str(both))
        own.private_key_pem.write_to_path(str(key))
        cert = (str(both), str(key)) if is_pair else str(both)
        with SSEServer(ssl_context=context) as server:
            server.serve(["one"], then="stall")
            with client.sse(server.url, verify=str(bundle), cert=cert) as session:
                assert session.incoming.get().data == "one"

    def test_files_may_be_given_as_paths(self, client, tls_server, tls):
        tls_server.serve(["one"], then="stall")
        with client.sse(tls_server.url, verify=Path(tls.ca_bundle)) as session:
            assert session.incoming.get().data == "one"

    def test_a_bundle_that_is_taken_away_later_is_waited_for(
        self, client, tls_server, tls, tmp_path
    ):
        """For example while certificates are replaced."""
        bundle, content = tmp_path / "ca.pem", Path(tls.ca_bundle).read_bytes()
        bundle.write_bytes(content)
        lost = []

        def on_disconnect(session, error, delay):
            lost.append(error)
            if len(lost) == 1:
                bundle.unlink()
            else:
                bundle.write_bytes(content)

        tls_server.serve(["one"])
        tls_server.serve(["two"], then="stall")
        with client.sse(tls_server.url, verify=str(bundle), on_disconnect=on_disconnect) as session:
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
        assert [type(error) for error in lost] == [type(None), ConnectionFailedError]


def test_options_of_plugins_have_names():
    with (
        HttpClient() as client,
        pytest.raises(TypeError, match="options of a plugin must be given by name"),
    ):
        client.install(SSE, 3)
