"""Sessions of niquests, here with a stand-in based on requests.

``tests/interop/test_niquests.py`` uses the real one.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import requests
import urllib3
from support import PATIENCE, sse_client_for_tests
from tables import each_of

from sse_client import SSE, ConnectionFailedError, HttpClient, ReadyState, StreamInterruptedError
from sse_client.clock import SYSTEM_CLOCK
from sse_client.http.abortable_connections import current_watcher, watched_by
from sse_client.http.aborting import AbortableSocket
from sse_client.http.niquests import (
    adapted,
    close_response,
    reader_of,
    socket_of,
    take_from_pool,
    translated_errors,
    with_watcher,
)
from sse_client.http.pools import keep_out_of_pool, watch_pool


def made_by(package: str, name: str, *bases: type) -> type:
    return type(name, bases, {"__module__": f"{package}.exceptions"})


Request = type("Request", (requests.Request,), {"__module__": "niquests.models"})

RequestError = made_by("niquests", "RequestException", OSError)
FailedConnection = made_by("niquests", "ConnectionError", RequestError)
InvalidURL = made_by("niquests", "InvalidURL", RequestError, ValueError)
TooOdd = made_by("niquests", "TooOddError", RequestError)

HTTPError = made_by("urllib3_future", "HTTPError", Exception)
MaxRetryError = made_by("urllib3_future", "MaxRetryError", HTTPError)
ReadTimeoutError = made_by(
    "urllib3_future", "ReadTimeoutError", made_by("urllib3_future", "TimeoutError", HTTPError)
)
ProtocolError = made_by("urllib3_future", "ProtocolError", HTTPError)
LocationParseError = made_by("urllib3_future", "LocationParseError", ValueError, HTTPError)


class LowLevelResponse:
    """Where urllib3-future keeps the body."""


class Raw:
    """Replaces urllib3-future's response: the bytes read are hidden for one read."""

    def __init__(self, raw):
        self._raw = raw
        self._fp = LowLevelResponse()
        self.connection = SimpleNamespace(sock=raw._connection.sock)
        self._hidden = b""
        self.error = None

    @property
    def closed(self):
        return self._raw.closed

    def read1(self, amount, *, decode_content):
        if self.error is not None:
            raise self.error
        if self._hidden:
            shown, self._hidden = self._hidden, b""
            return shown
        self._hidden = self._raw.read1(amount, decode_content=decode_content)
        return b""

    def close(self):
        self._raw.close()


class Session(requests.Session):
    """Replaces the session of niquests."""

    def __init__(self):
        super().__init__()
        self.sent = []
        self.error = None
        self.read_error = None

    def prepare_request(self, request):
        assert type(request) is Request
        if request.url.startswith("odd"):
            raise InvalidURL(request.url)
        return super().prepare_request(request)

    def send(self, request, *, multiplexed, **settings):
        self.sent.append((request.method, multiplexed))
        if self.error is not None:
            raise self.error
        response = super().send(request, **settings)
        if settings["stream"]:
            response.raw = Raw(response.raw)
            response.raw.error = self.read_error
        return response


Session.__module__ = "niquests.sessions"


@pytest.fixture
def niquests(monkeypatch):
    """The stand-in, as if it had been imported."""
    package = ModuleType("niquests")
    package.Request = Request
    headers = {**requests.utils.default_headers(), "Accept-Encoding": "gzip, br, zstd"}
    package.utils = SimpleNamespace(default_headers=lambda: headers)
    monkeypatch.setitem(sys.modules, "niquests", package)
    return package


@pytest.fixture
def session(niquests):
    with Session() as made:
        made.headers = requests.structures.CaseInsensitiveDict(niquests.utils.default_headers())
        yield made


@pytest.fixture
def client(session):
    with sse_client_for_tests(session) as installed:
        yield installed


def test_a_stream_goes_on_behind_its_break(client, session, server):
    server.serve(["one"], then="drop")
    server.serve(["two", "three"], then="end")
    server.respond(204)
    with client.sse(server.url) as stream:
        assert [event.data for event in stream.incoming] == ["one", "two", "three"]
    assert session.sent == [("GET", False)] * 3
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_each_attempt_has_a_connection_of_its_own(client, server):
    server.serve(["one"], then="stall")
    server.serve(["two"], then="end")
    server.respond(204)
    with client.sse(server.url, event_timeout=0.05) as stream:
        sock = stream.response.raw.connection.sock
        assert [event.data for event in stream.incoming] == ["one", "two"]
    assert sock.fileno() == -1


def test_closing_from_another_thread_wakes_the_reader(client, server):
    server.serve(["one"], then="stall")
    with client.sse(server.url) as stream:
        assert stream.incoming.get(timeout=PATIENCE).data == "one"
        closer = threading.Thread(target=stream.close)
        closer.start()
        assert list(stream.incoming) == []
        closer.join(PATIENCE)
        assert stream.state is ReadyState.CLOSED


def test_plain_requests_go_the_same_way(client, session, server):
    server.respond(200, body=b"plain")
    assert client.get(server.url).content == b"plain"
    assert session.sent == [("GET", False)]


def test_hooks_of_a_request_are_handed_on(session, server):
    heard = []

    class Listening:
        def on_request(self, request):
            request.register_hook("response", lambda response, **_: heard.append(response.url))

    server.respond(200)
    HttpClient(session).install(Listening).get(server.url)
    assert heard == [server.url]


def test_a_failure_to_connect_is_told_as_that_without_the_address(client, session):
    told = MaxRetryError("Max retries exceeded with url: /?token=secret")
    told.reason = ProtocolError("refused", ConnectionRefusedError(111, "Connection refused"))
    session.error = FailedConnection(told)
    with pytest.raises(ConnectionFailedError, match="Connection refused") as caught:
        client.sse("http://127.0.0.1:1/?token=secret")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert not caught.value.permanent
    assert "secret" not in str(caught.value)
    assert not caught.value.was_sent


@pytest.mark.parametrize("resets", [True, False])
def test_a_request_that_may_have_been_sent_is_told_as_that(client, session, server, resets):
    server.handler = lambda exchange: exchange.reset()
    url = server.url if resets else "http://127.0.0.1:1/"
    with pytest.raises(ConnectionFailedError) as caught:
        client.sse(url)
    assert caught.value.was_sent is resets
    assert ("cannot connect to " in str(caught.value)) is not resets


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ReadTimeoutError("Read timed out."), requests.Timeout),
        (ProtocolError("cut short"), requests.ConnectionError),
        (TooOdd("too odd"), requests.RequestException),
    ],
)
def test_a_plain_request_raises_what_requests_would(client, session, error, kind):
    session.error = error
    with pytest.raises(kind) as caught:
        client.get("http://127.0.0.1:1/")
    assert type(caught.value) is kind


def test_an_address_that_it_refuses_is_a_wrong_value(client):
    with pytest.raises(ValueError, match="the scheme is 'odd'") as caught:
        client.sse("odd://?token=secret")
    assert "secret" not in str(caught.value)


def test_a_body_that_breaks_off_is_told_as_that(client, session, server):
    session.read_error = ProtocolError("the peer has gone")
    server.serve(["one"], then="end")
    stream = client.sse(server.url, reconnect="never")
    with stream, pytest.raises(StreamInterruptedError, match="the peer has gone"):
        next(stream.incoming)


def test_a_session_that_has_to_be_awaited_is_refused():
    class Awaited(Session):
        async def send(self, request):
            """Take some time."""

    with pytest.raises(TypeError, match="a blocking requests session, not Awaited"):
        HttpClient(Awaited())


def test_what_is_no_session_is_refused():
    with pytest.raises(TypeError, match="a blocking requests session, not str"):
        HttpClient("session")


def test_a_session_of_requests_stays_what_it_is():
    with requests.Session() as session:
        assert adapted(session) is session


CAUSE = ConnectionResetError(104, "reset")
CHAINED = ProtocolError("reset")
CHAINED.__cause__ = CAUSE


@each_of(
    ("error", "kind", "told"),
    [
        (FailedConnection(CAUSE), ConnectionResetError, "reset"),
        (FailedConnection(CHAINED), ConnectionResetError, "reset"),
        (FailedConnection("/?token=secret"), requests.ConnectionError, ""),
        (TooOdd("/?token=secret"), requests.RequestException, ""),
        (InvalidURL("/?token=secret"), requests.exceptions.InvalidURL, ""),
        (InvalidURL(LocationParseError("secret")), requests.exceptions.InvalidURL, ""),
        (MaxRetryError("url: /?token=secret"), urllib3.exceptions.ProtocolError, ""),
        (ReadTimeoutError("Read timed out."), TimeoutError, "timed out"),
        (ProtocolError("cut short"), urllib3.exceptions.ProtocolError, "cut short"),
        (KeyError("a bug"), KeyError, "a bug"),
    ],
)
def test_an_error_becomes_one_that_requests_or_urllib3_has(error, kind, told):
    with pytest.raises(kind) as caught, translated_errors():
        raise error
    assert type(caught.value) is kind
    assert told in str(caught.value)
    assert "secret" not in f"{caught.value!r}{caught.value}"
    assert caught.value.__cause__ is None


def test_a_body_that_comes_from_no_connection_has_no_socket():
    assert socket_of(urllib3.HTTPResponse(b"")) is None


def test_a_connection_without_a_plain_socket_is_left_alone():
    raw = SimpleNamespace(_fp=LowLevelResponse(), connection=SimpleNamespace(sock=object()))
    assert socket_of(raw) is None


def test_the_socket_of_a_response_is_that_of_its_connection():
    with socket.socket() as sock:
        raw = SimpleNamespace(_fp=LowLevelResponse(), connection=SimpleNamespace(sock=sock))
        assert socket_of(raw) is sock


def test_any_other_body_is_read_as_it_is():
    raw = urllib3.HTTPResponse(b"body", preload_content=False)
    assert reader_of(raw, 2).func == raw.read1


class Connection:
    """Replaces a connection of urllib3-future."""

    def __init__(self, sock):
        self.sock = sock
        self._new = sock
        self.timeout = None
        self.responds_within = []
        self.is_idle = True
        self.requested = []
        self.closed = 0

    @property
    def is_saturated(self):
        return bool(self.requested)

    def request(self, method, *, preload_content):
        assert preload_content is False
        self.requested.append(method)

    def close(self):
        self.closed += 1

    def _new_conn(self):
        return self._new

    def getresponse(self, *, promise):
        self.responds_within.append(self.timeout)
        return promise


class Watcher:
    """Records the objects that it is shown."""

    header_timeout = 7.0

    def __init__(self):
        self.shown = []

    def watch(self, sock):
        self.shown.append(("new", sock))

    def reads_response_from(self, sock):
        self.shown.append(("responds", sock))


class Adapter(requests.adapters.HTTPAdapter):
    """An adapter of requests in an environment where urllib3-future has replaced urllib3."""

    def get_connection_with_tls_context(self, request, verify, **_):
        return self.pool


class ForeignAdapter(requests.adapters.BaseAdapter):
    """An adapter of niquests."""

    def get_connection(self, url, proxies):
        return self.pool

    def close(self):
        """Do nothing: nothing is open."""


def watched_pool(adapter, kind):
    """A pool that is prepared for streams."""
    pool = SimpleNamespace(ConnectionCls=Connection)
    with kind() as session:
        session.mount("http://", adapter())
        session.get_adapter("http://127.0.0.1/").pool = pool
        prepared = requests.Request("GET", "http://127.0.0.1/").prepare()
        for _ in range(2):  # a watched pool stays watched
            settings = {"verify": True, "proxies": {}, "cert": None}
            watch_pool(adapted(session), prepared, settings)
    return pool


@pytest.mark.parametrize(
    ("adapter", "kind"), [(Adapter, requests.Session), (ForeignAdapter, Session)]
)
def test_a_stream_is_shown_the_sockets_of_urllib3_future(niquests, adapter, kind):
    pool, watcher = watched_pool(adapter, kind), Watcher()
    with socket.socket() as sock:
        connection = pool.ConnectionCls(sock)
        with watched_by(watcher):
            assert connection._new_conn() is sock
            assert connection.getresponse(promise="kept") == "kept"
            assert sock.gettimeout() is None
        assert watcher.shown == [("new", sock), ("responds", sock)]
        assert connection._new_conn() is sock
        assert connection.getresponse(promise="kept") == "kept"
    assert connection.responds_within == [Watcher.header_timeout, None]
    assert len(watcher.shown) == 2


def test_a_pool_that_is_made_later_shows_its_sockets_too(niquests):
    # A pool that its manager drops before it is used is created again.
    class Pool:
        ConnectionCls = Connection

    class Adapter(ForeignAdapter):
        poolmanager = SimpleNamespace(pool_classes_by_scheme={"http": Pool})
        proxy_manager: ClassVar = {"http://proxy": SimpleNamespace(pool_classes_by_scheme={})}

    watched_pool(Adapter, Session)
    registered = Adapter.poolmanager.pool_classes_by_scheme["http"]
    assert registered.__name__ == "Pool"
    assert registered.ConnectionCls is with_watcher(Connection, current_watcher)
    assert Pool.ConnectionCls is Connection


def test_a_connection_that_is_none_yet_is_not_shown():
    connection = with_watcher(Connection, Watcher)(None)
    assert connection.getresponse(promise="kept") == "kept"


def test_the_plugin_is_installed_as_in_any_client(session):
    with HttpClient(session).install(SSE) as client:
        assert client.plugin(SSE)


class Police:
    """Where urllib3-future keeps the connections of a pool."""

    def __init__(self):
        self.told = []

    def forget(self, raw):
        self.told.append(("forget", raw))

    def kill(self, connection):
        self.told.append(("kill", connection))
        connection.close()


@pytest.fixture
def watched(niquests):
    """A connection, as a pool creates it for streams."""
    return watched_pool(ForeignAdapter, Session).ConnectionCls(None)


def test_a_stream_does_not_join_the_requests_of_others(watched):
    watcher = Watcher()
    with watched_by(watcher):
        assert not watched.is_saturated
        watched.is_idle = False
        assert watched.is_saturated
    assert not watched.is_saturated


def test_the_connection_of_a_stream_is_no_one_elses_as_long_as_there_is_the_stream(watched):
    watcher = Watcher()
    with watched_by(watcher):
        watched.request("GET", preload_content=False)
        assert watched.is_saturated  # as it reports itself, with one request in progress
        watched.requested.clear()
        assert not watched.is_saturated
    assert watched.is_saturated
    with watched_by(Watcher()):
        assert watched.is_saturated
    del watcher
    assert not watched.is_saturated


def test_the_connection_knows_the_attempt_that_it_works_for_by_a_weak_reference(watched):
    attempt = AbortableSocket(print, SYSTEM_CLOCK)
    with watched_by(attempt):
        watched.request("GET", preload_content=False)
    assert watched._server_of() is attempt


def test_a_plain_request_leaves_a_connection_free_for_others(watched):
    watched.request("GET", preload_content=False)
    watched.requested.clear()
    assert not watched.is_saturated


def test_a_connection_that_leaves_its_pool_is_closed_with_its_response(watched):
    police = Police()
    raw = Raw(SimpleNamespace(_connection=Connection(None), close=lambda: None))
    raw.connection, raw._police_officer = watched, police
    assert take_from_pool(raw) is watched
    assert police.told == [("forget", raw), ("kill", watched)]
    assert watched.closed == 0
    assert take_from_pool(raw) is None
    close_response(raw, watched)
    assert watched.closed == 1


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_connection_of_a_stream_is_shut_down_before_it_is_closed(watched, is_ours, monkeypatch):
    watcher = Watcher()
    watched.sock, server = socket.socketpair()
    with watched.sock, server:
        with watched_by(watcher):
            watched.request("GET", preload_content=False)
        if not is_ours:  # as in a forked child
            monkeypatch.setattr(os, "getpid", lambda: 0)
        watched.close()
        server.setblocking(False)
        if is_ours:
            assert server.recv(1) == b""
        else:
            with pytest.raises(BlockingIOError):
                server.recv(1)
    assert watched.closed == 1


def test_the_connection_of_others_is_closed_as_it_is(watched):
    watched.sock = object()  # which cannot be shut down
    watched.close()
    assert watched.closed == 1


def test_another_connection_stays_where_it_is():
    raw = SimpleNamespace(connection=Connection(None), _police_officer=Police())
    assert take_from_pool(raw) is None
    assert raw._police_officer.told == []


def test_a_pool_that_blocks_keeps_a_connection_that_it_can_share():
    pool = SimpleNamespace(block=True, ConnectionCls=Connection)
    raw = SimpleNamespace(connection=Connection(None), _pool=pool)
    assert keep_out_of_pool(raw) is None
    assert raw._pool is pool
