"""The BearerAuth plugin: which requests get the token, which refresh it, and which wait for it."""

from __future__ import annotations

import io
import itertools
import os
import threading

import pytest
import requests
from canaries import CANARY
from support import PATIENCE, Running, Signal, sse_client_for_tests

from sse_client import (
    BearerAuth,
    ConnectionFailedError,
    DefaultRequest,
    HttpClient,
    Plugin,
    ServerSentEvent,
    SessionClosedError,
    UnexpectedStatusError,
)
from sse_client.plugins import bearer_auth as auth
from sse_client.testing import SSEServer


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


@pytest.fixture
def other():
    """A server with another origin."""
    with SSEServer() as started:
        yield started


class Tokens:
    """A source of tokens (T1, T2, and so on), which records its calls."""

    def __init__(self):
        self._numbers = itertools.count(1)
        self.calls = []
        self.valid = {f"{CANARY}1"}

    def load(self):
        self.calls.append("load")
        return f"{CANARY}{next(self._numbers)}"

    def refresh(self):
        self.calls.append("refresh")
        token = f"{CANARY}{next(self._numbers)}"
        self.valid = {token}
        return token

    def are_valid(self, exchange):
        scheme, _, token = exchange.request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and token in self.valid


@pytest.fixture
def tokens():
    return Tokens()


@pytest.fixture
def bearer(client, tokens):
    """A client with the plugin."""
    return client.install(BearerAuth, load=tokens.load, refresh=tokens.refresh)


def sent(server):
    return [request.headers.get("Authorization") for request in server.requests]


def bearers(*numbers):
    return [f"Bearer {CANARY}{number}" for number in numbers]


def follow(client, server, **arguments):
    """Follow the stream to its end, and return the data of its events."""
    with client.sse(server.url, **arguments) as session:
        return [event.data for event in session.incoming]


class TestToken:
    def test_is_loaded_once_and_sent_with_each_request(self, bearer, server, tokens):
        server.respond(200)
        server.respond(200)
        server.serve(["one"])
        server.respond(204)
        assert bearer.get(server.url).ok
        assert bearer.post(server.url, data="x").ok
        assert follow(bearer, server) == ["one"]
        assert sent(server) == bearers(1, 1, 1, 1)
        assert tokens.calls == ["load"]

    def test_is_not_loaded_before_it_is_needed(self, bearer, tokens):
        assert tokens.calls == []

    def test_wins_over_the_session_and_over_netrc(self, server, tokens, tmp_path, monkeypatch):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login user password netrc\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        with requests.Session() as own:
            own.headers["Authorization"] = "Bearer own"
            own.auth = ("user", "password")
            with sse_client_for_tests(own) as client:
                client.install(BearerAuth, load=tokens.load, refresh=tokens.refresh)
                server.respond(200)
                server.serve(then="stall")
                client.get(server.url)
                client.sse(server.url).close()
        assert sent(server) == bearers(1, 1)

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"headers": {"Authorization": "Bearer own"}}, "Bearer own"),
            ({"headers": {"authorization": lambda: "Bearer own"}}, "Bearer own"),
            ({"headers": {"Authorization": None}}, None),
            ({"auth": ("a", "b")}, "Basic YTpi"),
            ({"auth": lambda prepared: prepared}, None),
        ],
        ids=["header", "function", "none", "auth", "empty auth"],
    )
    def test_gives_way_to_what_the_request_says(self, bearer, server, tokens, arguments, expected):
        server.respond(401)
        server.respond(401)
        assert bearer.get(server.url, **arguments).status_code == 401
        with pytest.raises(UnexpectedStatusError):
            bearer.sse(server.url, **arguments)
        assert sent(server) == [expected, expected]
        assert tokens.calls == []

    def test_gives_way_to_the_address(self, bearer, server, tokens):
        server.respond(200)
        bearer.get(server.url.replace("//", "//a:b@"))
        assert sent(server) == ["Basic YTpi"]
        assert tokens.calls == []

    def test_gives_way_to_a_plugin_before_it(self, client, server, tokens):
        client.install(DefaultRequest, headers={"Authorization": "Bearer default"})
        client.install(BearerAuth, load=tokens.load, refresh=tokens.refresh)
        server.respond(200)
        client.get(server.url)
        assert sent(server) == ["Bearer default"]

    def test_does_not_hide_what_is_wrong_with_the_address(self, bearer):
        with pytest.raises(ValueError, match="cannot be sent"):
            bearer.sse("http://[::1/")

    def test_can_be_added_where_a_plugin_has_taken_the_headers_away(self, client, server, tokens):
        class Bare:
            def on_request(self, request):
                request.headers = None

        client.install(Bare).install(BearerAuth, load=tokens.load, refresh=tokens.refresh)
        server.respond(200)
        client.get(server.url)
        assert sent(server) == bearers(1)

    @pytest.mark.parametrize("missing", ["load", "refresh"])
    def test_needs_both_functions(self, client, tokens, missing):
        both = {"load": tokens.load, "refresh": tokens.refresh}
        with pytest.raises(TypeError, match=f"^{missing} must be a callable, not str$"):
            client.install(BearerAuth, **{**both, missing: "token"})
        del both[missing]
        with pytest.raises(TypeError, match=missing):
            client.install(BearerAuth, **both)


class TestRefreshing:
    def test_happens_at_a_401_and_tries_again_at_once(self, bearer, server, tokens):
        server.respond(401)
        server.respond(200, body="fine")
        assert bearer.get(server.url).text == "fine"
        server.respond(401)
        server.respond(200, body="fine")
        assert bearer.post(server.url, data="question").text == "fine"
        assert sent(server) == bearers(1, 2, 2, 3)
        assert [request.body for request in server.requests[2:]] == [b"question"] * 2
        assert tokens.calls == ["load", "refresh", "refresh"]

    def test_happens_at_the_first_connection(self, bearer, server, tokens):
        server.respond(401)
        server.serve(["one"], then="stall")
        with bearer.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            assert session.statistics.attempts == 1
        assert sent(server) == bearers(1, 2)

    def test_happens_at_a_reconnection_without_a_wait(self, bearer, server, tokens):
        lost = Signal()
        server.serve([ServerSentEvent("one", id="7")])
        server.respond(401, body="expired")
        server.serve(["two"])
        server.respond(204)
        assert follow(bearer, server, on_disconnect=lost) == ["one", "two"]
        assert sent(server) == bearers(1, 1, 2, 2)
        assert [request.headers.get("Last-Event-ID") for request in server.requests] == [
            *(None, "7", "7", "7")
        ]
        # The 401 is not counted as a lost connection. Only two streams ended.
        assert [error for _, error, _ in lost.calls] == [None, None]

    def test_happens_with_a_post_that_streams(self, bearer, server):
        asked = itertools.count(1)
        server.respond(401)
        server.serve(["one"])
        assert follow(bearer, server, method="POST", json=lambda: next(asked)) == ["one"]
        assert [request.body for request in server.requests] == [b"1", b"2"]

    def test_happens_once_a_second_401_is_final(self, bearer, server, tokens):
        server.handler = lambda exchange: exchange.respond(401, body="no entry")
        with pytest.raises(UnexpectedStatusError) as caught:
            bearer.sse(server.url, retry_first_connection=True)
        assert caught.value.status_code == 401
        assert caught.value.body == b"no entry"
        assert sent(server) == bearers(1, 2)
        assert bearer.get(server.url).status_code == 401
        assert sent(server) == bearers(1, 2, 2, 3)

    def test_a_second_401_ends_a_session(self, bearer, server):
        server.serve(["one"])
        server.handler = lambda exchange: exchange.respond(401)
        with bearer.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            with pytest.raises(UnexpectedStatusError, match="responded with 401"):
                session.incoming.get()
        assert sent(server) == bearers(1, 1, 2)

    @pytest.mark.parametrize("status", [400, 403, 407])
    def test_does_not_happen_at_another_status(self, bearer, server, tokens, status):
        server.respond(status)
        server.respond(status)
        assert bearer.get(server.url).status_code == status
        with pytest.raises(UnexpectedStatusError):
            bearer.sse(server.url)
        assert tokens.calls == ["load"]

    def test_leaves_a_request_alone_whose_data_can_be_read_once(self, bearer, server, tokens):
        server.respond(401)
        server.respond(401)
        assert bearer.post(server.url, data=io.BytesIO(b"x")).status_code == 401
        with pytest.raises(UnexpectedStatusError, match="responded with 401"):
            bearer.sse(server.url, method="POST", data=iter([b"x"]))
        assert sent(server) == bearers(1, 1)
        assert tokens.calls == ["load"]

    def test_shows_each_response_to_the_plugins(self, bearer, server):
        statuses = []

        class Watching:
            def on_response(self, response):
                statuses.append(response.status_code)

        bearer.install(Watching)
        server.respond(401)
        server.respond(200)
        bearer.get(server.url)
        server.respond(401)
        server.serve(then="stall")
        bearer.sse(server.url).close()
        assert statuses == [401, 200, 401, 200]

    def test_leaves_no_connection_of_the_refused_response_behind(self, bearer, server):
        exchanges = []

        def refuse(exchange):
            exchanges.append(exchange)
            exchange.write_raw(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
            exchange.stall()

        server._queue(refuse)
        server.serve(["one"], then="stall")
        with bearer.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            assert exchanges[0].wait_closed()

    def test_with_an_equal_token_still_counts_as_new(self, client, server):
        calls = []
        client.install(BearerAuth, load=lambda: "same", refresh=lambda: calls.append(1) or "same")
        server.respond(401)
        server.respond(200)
        assert client.get(server.url).ok
        assert sent(server) == ["Bearer same"] * 2
        assert calls == [1]


class TestOtherPlugins:
    def test_may_want_a_request_sent_anew(self, client, server):
        seen = []

        class Signing:
            def on_request(self, request):
                request.headers["X-Try"] = str(len(seen))

            def on_unauthorized(self, request, response):
                seen.append((request.headers["X-Try"], response.status_code))
                return True

        class Refusing:
            def on_unauthorized(self, request, response):
                return False

        class NotAsked:
            def on_unauthorized(self, request, response):
                raise AssertionError

        client.install(Refusing).install(Signing).install(NotAsked)
        server.respond(401)
        server.respond(200)
        assert client.get(server.url).ok
        assert [request.headers["X-Try"] for request in server.requests] == ["0", "1"]
        assert seen == [("0", 401)]

    def test_of_the_same_kind_come_second(self, bearer, server):
        class Second(BearerAuth):
            pass

        def fail():
            raise AssertionError

        bearer.install(Second, load=fail, refresh=fail)
        server.respond(401)
        server.respond(401)
        assert bearer.get(server.url).status_code == 401
        assert sent(server) == bearers(1, 2)

    def test_of_the_same_kind_refresh_their_own_tokens_alone(self, client, server, tokens):
        with HttpClient() as second:
            second.install(BearerAuth, load=tokens.load, refresh=tokens.refresh)
            client.install(BearerAuth, load=tokens.load, refresh=tokens.refresh)
            server.respond(200)
            second.get(server.url)
            server.respond(401)
            borrowed = second.plugin(BearerAuth)._token
            assert client.get(server.url, auth=borrowed).status_code == 401
        assert sent(server) == bearers(1, 1)
        assert tokens.calls == ["load"]

    def test_that_do_nothing_of_their_own_leave_a_401_alone(self, client, server):
        client.install(Plugin)
        server.respond(401)
        assert client.get(server.url).status_code == 401


class TestRedirects:
    def test_to_the_same_origin_take_the_token_along(self, bearer, server):
        for _ in range(2):
            server.redirect("/there")
            server.respond(401)
            server.redirect("/there")
            server.serve(["one"], then="stall")
            with bearer.sse(server.url) as session:
                assert session.incoming.get().data == "one"
        assert sent(server) == bearers(1, 1, 2, 2, 2, 2, 3, 3)

    def test_of_plain_requests_take_it_along_too(self, bearer, server):
        server.redirect("/there")
        server.respond(401)
        server.redirect("/there")
        server.respond(200)
        assert bearer.get(server.url).ok
        assert sent(server) == bearers(1, 1, 2, 2)

    def test_to_another_origin_do_not_and_its_401_refreshes_nothing(
        self, bearer, server, other, tokens
    ):
        server.handler = lambda exchange: exchange.redirect(other.url)
        other.handler = lambda exchange: exchange.respond(401)
        with pytest.raises(UnexpectedStatusError, match="responded with 401"):
            bearer.sse(server.url, retry_first_connection=True)
        assert bearer.get(server.url).status_code == 401
        assert sent(server) == bearers(1, 1)
        assert sent(other) == [None, None]
        assert tokens.calls == ["load"]

    def test_from_https_to_http_do_not(self, bearer, tls_server, tls, server, tokens):
        tls_server.handler = lambda exchange: exchange.redirect(server.url)
        server.handler = lambda exchange: exchange.respond(401)
        with pytest.raises(UnexpectedStatusError, match="responded with 401"):
            bearer.sse(tls_server.url, verify=tls.ca_bundle)
        assert bearer.get(tls_server.url, verify=tls.ca_bundle).status_code == 401
        assert sent(tls_server) == bearers(1, 1)
        assert sent(server) == [None, None]
        assert tokens.calls == ["load"]


@pytest.fixture
def waiting(monkeypatch):
    """Reports when a thread begins to wait for the token that another thread fetches."""
    signal = Signal()
    wait = auth._Call.wait

    def noted(call, raise_if_aborted):
        signal()
        wait(call, raise_if_aborted)

    monkeypatch.setattr(auth._Call, "wait", noted)
    return signal


class Slow:
    """A function that reports when it has begun, and waits until it is released."""

    def __init__(self, then):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.count = 0
        self._then = then

    def __call__(self):
        self.count += 1
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return self._then()


class TestManyAtOnce:
    COUNT = 8

    def test_requests_load_once(self, client, server, tokens, waiting):
        slow = Slow(tokens.load)
        client.install(BearerAuth, load=slow, refresh=tokens.refresh)
        server.handler = lambda exchange: exchange.respond(200)
        calls = [Running(lambda: client.get(server.url)) for _ in range(2)]
        waiting.await_()
        slow.go_on.set()
        assert [call.outcome().status_code for call in calls] == [200, 200]
        assert tokens.calls == ["load"]

    def test_sessions_refresh_once(self, bearer, server, tokens):
        expired = threading.Event()
        all_refused = threading.Barrier(self.COUNT)

        def handle(exchange):
            if not tokens.are_valid(exchange):
                all_refused.wait(PATIENCE)
                exchange.respond(401)
            elif expired.is_set():
                exchange.send("new")
                exchange.stall()
            else:
                exchange.send("old")
                expired.wait(PATIENCE)
                exchange.drop()

        server.handler = handle
        sessions = [bearer.sse(server.url) for _ in range(self.COUNT)]
        assert [session.incoming.get().data for session in sessions] == ["old"] * self.COUNT
        tokens.valid = set()
        expired.set()
        assert [session.incoming.get().data for session in sessions] == ["new"] * self.COUNT
        assert tokens.calls == ["load", "refresh"]
        for session in sessions:
            session.close()

    def test_requests_that_come_late_use_the_newer_token(self, bearer, server, tokens):
        """A 401 for a token that has been refreshed meanwhile does not refresh it again."""
        late = Running(lambda: bearer.get(server.url))
        exchange = server.accept()
        server.respond(401)
        server.respond(200)
        assert bearer.get(server.url).ok
        server.respond(200)
        exchange.respond(401)
        assert late.outcome().ok
        assert sent(server) == bearers(1, 1, 2, 2)
        assert tokens.calls == ["load", "refresh"]

    def test_requests_that_begin_meanwhile_wait_for_the_new_token(
        self, client, server, tokens, waiting
    ):
        slow = Slow(tokens.refresh)
        client.install(BearerAuth, load=tokens.load, refresh=slow)
        server.respond(401)
        server.handler = lambda exchange: exchange.respond(200)
        first = Running(lambda: client.get(server.url))
        assert slow.begun.wait(PATIENCE)
        second = Running(lambda: client.get(server.url))
        waiting.await_()
        slow.go_on.set()
        assert first.outcome().ok
        assert second.outcome().ok
        assert sent(server) == bearers(1, 2, 2)


class TestClosing:
    """Closing while one thread refreshes the token, and another waits for it."""

    @pytest.fixture
    def slow(self, client, tokens):
        slow = Slow(tokens.refresh)
        client.install(BearerAuth, load=tokens.load, refresh=slow)
        yield slow
        slow.go_on.set()

    def test_a_session_that_waits_ends_it_at_once(self, client, server, slow, waiting):
        server.serve(["one"], then="stall")
        session = client.sse(server.url)
        assert session.incoming.get().data == "one"
        server.respond(401)
        refreshing = Running(lambda: client.get(server.url))
        assert slow.begun.wait(PATIENCE)
        session.reconnect()
        waiting.await_()
        session.close()
        thread = session._reader._thread()
        assert thread is None or not thread.is_alive()
        assert session.error is None
        server.respond(200)
        slow.go_on.set()
        assert refreshing.outcome().ok
        assert slow.count == 1

    def test_the_client_ends_those_who_wait(self, client, server, slow, waiting):
        server.respond(401)
        refreshing = Running(lambda: client.get(server.url))
        assert slow.begun.wait(PATIENCE)
        plain = Running(lambda: client.get(server.url))
        waiting.await_()
        waiting.clear()
        opening = Running(lambda: client.sse(server.url))
        waiting.await_()
        client.close()
        assert isinstance(plain.outcome(), SessionClosedError)
        assert isinstance(opening.outcome(), SessionClosedError)
        slow.go_on.set()
        # The refresh had begun, and its token is no longer needed.
        assert isinstance(refreshing.outcome(), SessionClosedError)
        assert len(server.requests) == 1

    def test_a_session_that_refreshes_leaves_the_connection_of_others_alone(
        self, client, server, slow
    ):
        """The connection of the 401 has returned to the pool, and serves another request by now."""
        server.serve(["one"])
        server.respond(401)
        session = client.sse(server.url)
        assert session.incoming.get().data == "one"
        assert slow.begun.wait(PATIENCE)
        plain = Running(lambda: client.get(server.url, headers={"Authorization": None}))
        exchange = server.accept()
        assert exchange.request.client_port == server.requests[1].client_port
        session.close(timeout=0.0)
        exchange.respond(200)
        assert plain.outcome().ok
        slow.go_on.set()
        session.close()

    def test_a_session_that_refreshes_does_not_wait_for_that(self, client, server, slow):
        server.serve(["one"])
        server.respond(401)
        session = client.sse(server.url)
        assert session.incoming.get().data == "one"
        assert slow.begun.wait(PATIENCE)
        session.close(timeout=0.0)
        slow.go_on.set()
        session.close()
        thread = session._reader._thread()
        assert thread is None or not thread.is_alive()
        assert session.error is None
        assert len(server.requests) == 2
        # The other requests use the token that it got.
        server.respond(200)
        client.get(server.url)
        assert sent(server) == bearers(1, 1, 2)


class TestTheSameClient:
    def test_fetches_the_token_and_sends_none_with_that(self, client, server):
        def fetch():
            return client.post(server.url_for("/token")).json()

        client.install(BearerAuth, load=fetch, refresh=fetch)
        server.respond(200, body='"T1"')
        server.respond(401)
        server.respond(200, body='"T2"')
        server.serve(["one"], then="stall")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
        assert [request.target for request in server.requests] == ["/token", "/"] * 2
        assert sent(server) == [None, "Bearer T1", None, "Bearer T2"]

    def test_is_refused_the_token_without_asking_for_another(self, client, server):
        def fetch():
            response = client.post(server.url_for("/token"))
            response.raise_for_status()

        client.install(BearerAuth, load=lambda: "T1", refresh=fetch)
        server.handler = lambda exchange: exchange.respond(401)
        with pytest.raises(ConnectionFailedError, match=r"refresh\(\) failed: HTTPError 401$"):
            client.get(server.url)
        assert [request.target for request in server.requests] == ["/", "/token"]


class TestErrors:
    @pytest.fixture(params=["load", "refresh"])
    def install(self, request, client, tokens):
        """Install the plugin with one of the two functions replaced, and return its name."""

        def install(function):
            functions = {"load": tokens.load, "refresh": tokens.refresh, request.param: function}
            client.install(BearerAuth, **functions)
            return request.param

        return install

    @pytest.mark.parametrize(
        ("kind", "text", "told"),
        [
            (OSError, "token server down", "token server down"),
            (TimeoutError, "too slow", "too slow"),
            (requests.ConnectionError, "http://a:b@c/", "ConnectionError"),
            (requests.HTTPError, "no response", "HTTPError"),
            (LookupError, "access_token", "LookupError"),
            (ValueError, "revoked", "ValueError"),
        ],
    )
    def test_fail_the_request(self, client, server, install, kind, text, told):  # noqa: PLR0917  # a table
        def fail():
            raise kind(text)

        name = install(fail)
        server.handler = lambda exchange: exchange.respond(401)
        for attempt in (client.get, client.sse):
            with pytest.raises(ConnectionFailedError) as caught:
                attempt(server.url)
            assert str(caught.value) == f"no bearer token: {name}() failed: {told}"
            assert caught.value.permanent is not issubclass(kind, OSError)
            # The message of an error of requests may contain an address.
            chained = None if issubclass(kind, requests.RequestException) else kind
            assert type(caught.value.__cause__) is (chained or type(None))
            assert caught.value.__suppress_context__

    @pytest.mark.parametrize(
        ("status", "permanent"),
        [(400, True), (401, True), (403, True), (408, False), (429, False), (500, False)],
    )
    def test_of_the_token_server_are_final_if_it_refuses(self, client, server, status, permanent):
        def fetch():
            client.post(server.url_for("/token")).raise_for_status()

        client.install(BearerAuth, load=fetch, refresh=fetch)
        server.respond(status)
        with pytest.raises(ConnectionFailedError) as caught:
            client.sse(server.url)
        assert str(caught.value).endswith(f"load() failed: HTTPError {status}")
        assert caught.value.permanent is permanent

    @pytest.mark.parametrize("value", [None, b"T", 7])
    def test_of_a_token_of_the_wrong_kind(self, client, server, install, value):
        name = install(lambda: value)
        server.handler = lambda exchange: exchange.respond(401)
        with pytest.raises(ConnectionFailedError, match=r"failed: TypeError$") as caught:
            client.sse(server.url)
        assert caught.value.permanent
        kind = type(value).__name__
        assert str(caught.value.__cause__) == f"{name}() must return a str, not {kind}"

    @pytest.mark.parametrize("value", ["", "a b", "a\r\nX: y", "a\n", "\u20ac", "\x7f"])
    def test_of_a_token_that_no_header_can_carry(self, client, server, install, value):
        name = install(lambda: value)
        server.handler = lambda exchange: exchange.respond(401)
        with pytest.raises(ConnectionFailedError, match=r"failed: ValueError$") as caught:
            client.sse(server.url)
        assert caught.value.permanent
        told = f"{name}() must return printable ASCII without spaces"
        assert str(caught.value.__cause__) == told

    def test_that_pass_make_a_stream_try_again(self, client, server, tokens):
        outcomes = iter([OSError("token server down"), None])

        def refresh():
            if (error := next(outcomes)) is not None:
                raise error
            return tokens.refresh()

        client.install(BearerAuth, load=tokens.load, refresh=refresh)
        lost = Signal()
        server.serve(["one"])
        server.respond(401)
        server.respond(401)
        server.serve(["two"])
        server.respond(204)
        assert follow(client, server, on_disconnect=lost) == ["one", "two"]
        assert sent(server) == bearers(1, 1, 1, 2, 2)
        assert [str(error) for _, error, _ in lost.calls if error] == [
            "no bearer token: refresh() failed: token server down"
        ]

    def test_that_are_final_end_a_stream(self, client, server, tokens):
        def refresh():
            raise LookupError("no refresh token")

        client.install(BearerAuth, load=tokens.load, refresh=refresh)
        server.serve(["one"])
        server.respond(401)
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            with pytest.raises(ConnectionFailedError, match="LookupError"):
                session.incoming.get()

    def test_are_raised_by_all_who_waited(self, client, server, tokens, waiting):

        def fail():
            raise OSError("token server down")

        slow = Slow(fail)
        client.install(BearerAuth, load=slow, refresh=tokens.refresh)
        calls = [Running(lambda: client.get(server.url)) for _ in range(2)]
        waiting.await_()
        slow.go_on.set()
        errors = [call.outcome() for call in calls]
        assert [type(error) for error in errors] == [ConnectionFailedError] * 2
        assert errors[0] is not errors[1]
        assert slow.count == 1
        # The next request calls it again.
        server.respond(200)
        client.plugin(BearerAuth)._load = tokens.load
        assert client.get(server.url).ok

    def test_of_somebody_who_is_interrupted_are_not_those_of_who_waited(
        self, client, server, tokens, waiting
    ):
        outcomes = iter([KeyboardInterrupt, None])

        def then():
            if (error := next(outcomes)) is not None:
                raise error
            return "T1"

        slow = Slow(then)
        client.install(BearerAuth, load=slow, refresh=tokens.refresh)
        server.respond(200)
        first = Running(lambda: client.get(server.url))
        assert slow.begun.wait(PATIENCE)
        second = Running(lambda: client.get(server.url))
        waiting.await_()
        slow.go_on.set()
        assert isinstance(first.outcome(), KeyboardInterrupt)
        assert second.outcome().ok
        assert slow.count == 2


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(server, tokens, monkeypatch):
    with HttpClient() as client:
        slow = Slow(tokens.load)
        client.install(BearerAuth, load=slow, refresh=tokens.refresh)
        first = Running(lambda: client.get(server.url))
        assert slow.begun.wait(PATIENCE)
        client.plugin(BearerAuth)._load = tokens.load
        server.handler = lambda exchange: exchange.respond(200)
        # What the child sees, run in this process, because coverage does not follow a fork.
        pid = os.getpid() + 1
        monkeypatch.setattr(os, "getpid", lambda: pid)
        assert client.get(server.url).ok
        slow.go_on.set()
        assert first.outcome().ok
