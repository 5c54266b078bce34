"""No secret goes to another origin or is sent in the clear, and no event ID can add to a request.

An origin is a scheme, a host and a port. Redirects lead from one real server to another. The
``Last-Event-ID`` is sent after a redirect, as in browsers (WHATWG HTML, section 9.2.3: it is a
header of the request, and redirects do not remove it). An ID is not a secret.
"""

from __future__ import annotations

import traceback

import pytest
import requests
from canaries import CANARY, tells
from support import sse_client_for_tests

from sse_client import (
    SSE,
    BearerAuth,
    BufferPolicy,
    ConnectionFailedError,
    CursorExpiredError,
    DefaultRequest,
    EventTooLargeError,
    FileCursor,
    HttpClient,
    IdleTimeoutError,
    ReconnectionExhaustedError,
    ServerSentEvent,
    SQLiteCursor,
    SSEClientError,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.http.request import RequestDescription, SendOptions
from sse_client.testing import SSEServer


@pytest.fixture
def other():
    with SSEServer() as started:
        yield started


@pytest.fixture
def other_with_tls(tls):
    with SSEServer(ssl_context=tls.server_context) as started:
        yield started


@pytest.fixture(params=["port", "host", "https to http", "http to https"])
def pair(request, server, other, tls_server, other_with_tls):
    """Two servers with different origins, and the address of the second."""
    if request.param == "port":
        return server, other, other.url
    if request.param == "host":
        return server, other, other.url.replace("127.0.0.1", "localhost")
    if request.param == "https to http":
        return tls_server, other, other.url
    return server, other_with_tls, other_with_tls.url


@pytest.fixture
def client(tls, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls.ca_bundle)
    with sse_client_for_tests() as client:
        yield client


def everything_sent_to(server):
    return "\n".join(
        f"{request.method} {request.target}\n{request.headers!r}\n"
        + "\n".join(f"{name}: {request.headers.get_all(name)}" for name in request.headers)
        + f"\n{request.body!r}"
        for request in server.requests
    )


class OwnAuth(requests.auth.AuthBase):
    """A user's own auth."""

    def __call__(self, prepared):
        prepared.headers["Authorization"] = f"Own {CANARY}"
        return prepared


SECRETS = {
    "a pair": {"auth": ("user", CANARY)},
    "an auth": {"auth": OwnAuth()},
    "a header": {"headers": {"Authorization": f"Bearer {CANARY}"}},
    "a callable header": {"headers": {"Authorization": lambda: f"Bearer {CANARY}"}},
    "a callable header of another name": {"headers": {"X-Api-Key": lambda: CANARY}},
    "a cookie": {"cookies": {"sid": CANARY}},
    "a cookie header": {"headers": {"Cookie": f"sid={CANARY}"}},
    "a jar": {"cookies": requests.cookies.cookiejar_from_dict({"sid": CANARY})},
    "params": {"params": {"token": CANARY}},
}


class TestRedirectsToAnotherOrigin:
    def follow(self, client, pair, **arguments):
        first, second, address = pair
        first.redirect(address)
        second.serve(["one"], then="stall")
        with client.sse(first.url, **arguments) as session:
            assert session.incoming.get().data == "one"
        assert len(second.requests) == 1
        return first, second

    def check(self, client, pair, **arguments):
        first, second = self.follow(client, pair, **arguments)
        assert tells(everything_sent_to(first))
        assert not tells(everything_sent_to(second))
        assert "Referer" not in second.requests[0].headers

    @pytest.mark.parametrize("secret", SECRETS)
    def test_take_no_secret_of_the_call_along(self, client, pair, secret):
        self.check(client, pair, **SECRETS[secret])

    @pytest.mark.parametrize("secret", SECRETS)
    def test_of_plain_requests_take_none_along_either(self, client, pair, secret):
        first, second, address = pair
        first.redirect(address)
        second.respond(200)
        response = client.get(first.url, **SECRETS[secret])
        assert (response.status_code, len(response.history)) == (200, 1)
        # What was sent can still be seen.
        assert tells(f"{response.history[0].request.url} {response.history[0].request.headers}")
        assert tells(everything_sent_to(first))
        assert not tells(everything_sent_to(second))

    @pytest.mark.parametrize("secret", ["a callable header of another name", "a cookie"])
    @pytest.mark.parametrize("is_stream", [True, False])
    def test_behind_a_challenge_that_was_met_take_none_along(self, client, pair, secret, is_stream):
        first, second, address = pair
        challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
        first.respond(401, challenge)
        first.redirect(address)
        auth = requests.auth.HTTPDigestAuth("user", "password")
        if is_stream:
            second.serve([], then="stall")
            client.sse(first.url, auth=auth, **SECRETS[secret]).close()
        else:
            second.respond(200)
            # What was sent can still be seen.
            for each in client.get(first.url, auth=auth, **SECRETS[secret]).history:
                assert tells(f"{each.request.headers}")
        repeated = first.requests[1].headers
        assert repeated["Authorization"].startswith("Digest")
        assert tells(everything_sent_to(first))
        assert len(second.requests) == 1
        assert not tells(everything_sent_to(second))
        assert "Authorization" not in second.requests[0].headers

    def test_take_no_user_info_along(self, client, pair):
        first, second, address = pair
        first.redirect(address)
        second.serve([], then="stall")
        client.sse(first.url.replace("://", f"://user:{CANARY}@")).close()
        assert tells(everything_sent_to(first))
        assert not tells(everything_sent_to(second))

    def test_take_no_bearer_token_along(self, client, pair):
        client.install(BearerAuth, load=lambda: CANARY, refresh=lambda: CANARY)
        self.check(client, pair)

    @pytest.mark.parametrize("name", ["Authorization", "X-Api-Key"])
    def test_take_no_callable_header_of_a_plugin_along(self, client, pair, name):
        client.install(DefaultRequest, headers={name: lambda: CANARY})
        self.check(client, pair)

    def test_take_no_authorization_of_the_session_along(self, client, pair):
        client._session.headers["Authorization"] = f"Bearer {CANARY}"
        self.check(client, pair)

    def test_take_no_entry_of_netrc_to_another_host(
        self, client, server, other, tmp_path, monkeypatch
    ):
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user password {CANARY}\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        address = other.url.replace("127.0.0.1", "localhost")
        self.check(client, (server, other, address))

    def test_take_headers_along_that_hold_no_secret(self, client, pair):
        _, second = self.follow(client, pair, headers={"Accept-Language": "ka", "User-Agent": "x"})
        assert second.requests[0].headers["Accept-Language"] == "ka"
        assert second.requests[0].headers["User-Agent"] == "x"

    @pytest.mark.parametrize("value", [CANARY, lambda: CANARY], ids=["static", "callable"])
    def test_take_no_other_header_of_the_call_along(self, client, pair, value):
        first, second = self.follow(client, pair, headers={"X-Api-Key": value})
        assert first.requests[0].headers["X-Api-Key"] == CANARY
        assert "X-Api-Key" not in second.requests[0].headers

    def test_take_no_other_header_of_default_request_along(self, client, pair):
        client.install(DefaultRequest, headers={"X-Api-Key": CANARY})
        first, second = self.follow(client, pair)
        assert first.requests[0].headers["X-Api-Key"] == CANARY
        assert "X-Api-Key" not in second.requests[0].headers

    def test_take_the_last_event_id_along(self, client, pair):
        _, second = self.follow(client, pair, last_event_id="7")
        assert second.requests[0].headers["Last-Event-ID"] == "7"

    def test_and_back_do_not_bring_the_secrets_back(self, client, server, other):
        server.redirect(other.url)
        other.redirect(server.url_for("/back"))
        server.serve([], then="stall")
        client.sse(server.url, auth=("user", CANARY), cookies={"sid": CANARY}).close()
        assert not tells(everything_sent_to(other))
        assert "Authorization" not in server.requests[1].headers
        assert "Cookie" not in server.requests[1].headers

    @pytest.mark.parametrize("secret", sorted({*SECRETS} - {"params", "a cookie header"}))
    def test_within_the_origin_takes_them_along(self, client, server, secret):
        server.redirect("/there")
        server.serve([], then="stall")
        client.sse(server.url, **SECRETS[secret]).close()
        first, second = server.requests
        assert {name: second.headers[name] for name in second.headers} == {
            name: first.headers[name] for name in first.headers
        }

    def test_is_decided_for_each_attempt_anew(self, client, server, other):
        for _ in range(2):
            server.redirect(other.url)
            other.serve(["one"], then="drop")
        server.respond(204)
        with client.sse(server.url, auth=("user", CANARY), cookies={"sid": CANARY}) as session:
            assert len(list(session.incoming)) == 2
        assert all("Authorization" in request.headers for request in server.requests)
        assert all("Cookie" in request.headers for request in server.requests)
        assert not tells(everything_sent_to(other))

    def test_leave_cookies_of_the_session_to_where_they_belong(self, client, server, other):
        server.serve([], headers={"Set-Cookie": f"sid={CANARY}"}, then="stall")
        client.sse(server.url).close()
        address = other.url.replace("127.0.0.1", "localhost")
        self.check(client, (server, other, address))


class TestProxyAuthorization:
    def test_goes_neither_to_the_origin_nor_along_with_a_redirect(
        self, client, server, other, monkeypatch
    ):
        # The first address is requested through a proxy, and that of the redirect is not.
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.redirect(other.url)
        other.serve([], then="stall")
        proxy = f"http://user:{CANARY}@127.0.0.1:{server.port}"
        monkeypatch.setenv("HTTP_PROXY", proxy)
        client.sse("http://elsewhere.invalid/").close()
        assert tells(everything_sent_to(server))
        assert not tells(everything_sent_to(other))

    def test_does_not_go_through_a_tunnel(self, client, server, tls_server):
        server.handler = lambda exchange: exchange.respond(407)
        proxies = {"https": f"http://user:{CANARY}@127.0.0.1:{server.port}"}
        with pytest.raises(ConnectionFailedError) as caught:
            client.sse(tls_server.url, proxies=proxies)
        assert not tells("".join(traceback.format_exception(caught.value)))
        assert tls_server.requests == []


def test_tls_is_verified_unless_told_otherwise(tls_server):
    with sse_client_for_tests() as client:
        with pytest.raises(ConnectionFailedError, match="certificate verify failed") as caught:
            client.sse(tls_server.url)
        assert caught.value.permanent
        with pytest.raises(requests.exceptions.SSLError):
            client.get(tls_server.url)
    assert tls_server.requests == []


def test_a_redirect_to_tls_that_nobody_trusts_is_not_followed(server, tls_server):
    server.redirect(tls_server.url)
    with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError) as caught:
        client.sse(server.url, verify=True)
    assert caught.value.permanent
    assert tls_server.requests == []


class Remembered:
    """A cursor that loads a given ID."""

    def __init__(self, position):
        self._position = position

    def load(self):
        return self._position

    def save(self, event_id):
        pass

    def close(self):
        pass


#: IDs, and the header for each: UTF-8 without whitespace around it, or no header.
IDS = {
    "CR LF": ("1\r\nX-Evil: 1", None),
    "CR": ("1\rX-Evil: 1", None),
    "LF": ("1\nX-Evil: 1", None),
    "two line ends": ("1\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", None),
    "NUL": ("1\0X-Evil: 1", None),
    "DEL": ("1\x7f", None),
    "escape": ("1\x1b[31m", None),
    "leading blanks": (" \t1", "1"),
    "trailing blanks": ("1 \t", "1"),
    "blanks alone": ("  ", None),
    "a tab": ("a\tb", "a\tb"),
    "a line separator": ("a\u2028X-Evil: 1", "a\u2028X-Evil: 1"),
    "a next line": ("a\u0085X-Evil: 1", "a\u0085X-Evil: 1"),
    "Latin-1": ("\xe9\xff", "\xe9\xff"),
    "beyond Latin-1": ("\u20ac\U0001f600", "\u20ac\U0001f600"),
    "a low byte in another plane": ("\u010d\u010aX-Evil: 1", "\u010d\u010aX-Evil: 1"),
    "a surrogate": ("1\ud800", "1?"),
    "64 KiB": ("x" * 65536, "x" * 65536),
    "more than 64 KiB": ("x" * 65537, None),
}


class TestEventIds:
    def check(self, requests_seen, expected):
        assert [request.target for request in requests_seen] == ["/"] * len(requests_seen)
        last = requests_seen[-1].headers
        assert "X-Evil" not in last
        assert last.get_all("Last-Event-ID") == ([] if expected is None else [expected])

    @pytest.mark.parametrize("kind", sorted({*IDS} - {"64 KiB"}))
    def test_of_a_stream_smuggle_nothing_in(self, server, kind):
        sent, expected = IDS[kind]
        data = sent.encode("utf-8", "replace")
        # As a server may write it. The text after a line end is another line, as always.
        server.serve([b"id: " + data + b"\ndata: one\n\n"], then="drop")
        server.respond(204)
        if "\r" in sent or "\n" in sent:
            expected = "1"
        if kind in {"leading blanks", "blanks alone"}:
            expected = sent.strip() or None
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            assert len(list(session.incoming)) <= 1
        self.check(server.requests, expected)

    @pytest.mark.parametrize("kind", sorted({*IDS} - {"64 KiB"}))
    def test_of_a_cursor_smuggle_nothing_in(self, server, kind):
        kept, expected = IDS[kind]
        server.serve([], then="stall")
        with sse_client_for_tests(cursor=Remembered(kept)) as client:
            client.sse(server.url).close()
        self.check(server.requests, expected)

    @pytest.mark.parametrize("kind", sorted({*IDS} - {"64 KiB"}))
    def test_of_a_hook_smuggle_nothing_in(self, server, kind):
        chosen, expected = IDS[kind]
        server.respond(410)
        server.serve([], then="stall")
        with sse_client_for_tests(on_cursor_expired=lambda _: chosen) as client:
            if any(forbidden in chosen for forbidden in "\r\n\0"):
                with pytest.raises(CursorExpiredError):
                    client.sse(server.url, last_event_id="old")
            else:
                client.sse(server.url, last_event_id="old").close()
                self.check(server.requests, expected)

    @pytest.mark.parametrize("kind", sorted({*IDS} - {"64 KiB"}))
    def test_of_an_option_smuggle_nothing_in(self, server, kind):
        given, expected = IDS[kind]
        with sse_client_for_tests() as client:
            if any(forbidden in given for forbidden in "\r\n\0"):
                with pytest.raises(ValueError, match="last_event_id"):
                    client.sse(server.url, last_event_id=given)
                assert server.requests == []
            else:
                server.serve([], then="stall")
                client.sse(server.url, last_event_id=given).close()
                self.check(server.requests, expected)


def assert_silent(*things):
    for thing in things:
        assert not tells(repr(thing)), type(thing)
        assert not tells(str(thing)), type(thing)
        if isinstance(thing, BaseException):
            assert not tells("".join(traceback.format_exception(thing)))


EVERYTHING = {
    "params": {"token": CANARY},
    "headers": {"X-Api-Key": CANARY, "X-Callable": lambda: CANARY},
    "cookies": {"sid": CANARY},
    "auth": ("user", CANARY),
}


def secret_address(server):
    address = server.url.replace("://", f"://user:{CANARY}@")
    return f"{address}?token={CANARY}#{CANARY}"


class TestReprs:
    def test_of_all_that_is_public_tell_no_secret(self, server, tmp_path):
        cursors = FileCursor(tmp_path / "position.json"), SQLiteCursor(tmp_path / "db", "name")
        server.serve([ServerSentEvent("one", id="1")], then="stall")
        with HttpClient() as client:
            client.install(SSE).install(
                DefaultRequest, headers={"X-Own": CANARY}, params={"token": CANARY}
            )
            client.install(BearerAuth, load=lambda: CANARY, refresh=lambda: CANARY)
            plugins = [client.plugin(kind) for kind in (SSE, DefaultRequest, BearerAuth)]
            with client.sse(secret_address(server), cursor=cursors[0], **EVERYTHING) as session:
                assert session.incoming.get().id == "1"
                held = [session, session.incoming, session.statistics, session.state]
                held += [session.response, session._reader, session._reader.stream.options]
                assert_silent(client, client._session, *plugins, *cursors, *held)
                assert_silent(plugins[0].config, client.plugin(BearerAuth)._token)
        address = secret_address(server)
        secret = {"data": CANARY, "json": {"a": CANARY}}
        description = RequestDescription("GET", address, **EVERYTHING, **secret)
        assert repr(description) == "<RequestDescription GET 127.0.0.1>"
        proxies = {"http": f"http://user:{CANARY}@127.0.0.1:9"}
        assert_silent(description, description.make(int), SendOptions(proxies=proxies))


#: The cause of each error: the behaviour of the server, and the options.
FAILURES = {
    ConnectionFailedError: (lambda exchange: exchange.drop(), {}),
    UnexpectedStatusError: (lambda exchange: exchange.respond(403, body=CANARY), {}),
    CursorExpiredError: (
        lambda exchange: exchange.respond(410, body=CANARY),
        {"last_event_id": CANARY},
    ),
    UnexpectedContentTypeError: (
        lambda exchange: exchange.respond(
            200, {"Content-Type": "text/html", "Set-Cookie": CANARY}, body=CANARY
        ),
        {},
    ),
    StreamInterruptedError: (
        lambda exchange: (exchange.send(CANARY), exchange.drop()),
        {"reconnect": "never"},
    ),
    IdleTimeoutError: (
        lambda exchange: (exchange.send(CANARY), exchange.stall()),
        {"reconnect": "never", "timeout": (5, 0.1)},
    ),
    EventTooLargeError: (
        lambda exchange: exchange.write(b"data: " + CANARY.encode() * 100),
        {"max_event_size": 100},
    ),
    ReconnectionExhaustedError: (
        lambda exchange: exchange.respond(503, body=CANARY),
        {"retry_first_connection": True, "max_reconnection_attempts": 1},
    ),
}


class TestErrors:
    @pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
    def test_of_a_real_exchange_tell_no_secret(self, server, kind):
        server.handler, options = FAILURES[kind]
        policy = BufferPolicy.all()
        with sse_client_for_tests(buffer_policy=policy) as client:

            def consume():
                with client.sse(secret_address(server), **EVERYTHING, **options) as session:
                    for _ in session.incoming:
                        pass

            with pytest.raises(SSEClientError) as caught:
                consume()
            assert type(caught.value) is kind
            assert_silent(caught.value, caught.value.response)
            if kind is ReconnectionExhaustedError:
                assert_silent(caught.value.last_cause)
