"""Arguments of a request with a wrong type: the error names them, and nothing is sent."""

from __future__ import annotations

import http.cookies
import io
import json

import pytest
import requests
from support import sse_client_for_tests
from tables import each_of

from sse_client import ConnectionFailedError, ServerSentEvent

THING = object()

#: Arguments that are refused, with the type of the error and its message.
WRONG = [
    ({"method": 3}, TypeError, "method must be a str, not int"),
    ({"method": None}, TypeError, "method must be a str, not NoneType"),
    ({"method": b"GET"}, TypeError, "method must be a str, not bytes"),
    ({"method": ""}, ValueError, "method must be a token such as 'GET', not ''"),
    ({"method": "G\nT"}, ValueError, r"method must be a token such as 'GET', not 'G\\nT'"),
    ({"params": 3}, TypeError, "params must be a mapping, pairs, or text, not int"),
    ({"params": [1]}, TypeError, "params must be a mapping, pairs, or text, not list"),
    ({"params": [("a",)]}, TypeError, "params must be a mapping, pairs, or text, not list"),
    ({"headers": ["a"]}, TypeError, "headers must be a mapping, not list"),
    ({"headers": {"a": 3}}, ValueError, "the header 'a' cannot be sent: its value must be"),
    ({"data": 3}, TypeError, "data must be text, bytes, a mapping, pairs, a file, .* not int"),
    ({"data": [1]}, TypeError, "data must be text, .* not list"),
    ({"data": lambda: 3}, TypeError, "data must be text, .* not int"),
    ({"data": THING}, TypeError, "data must be text, .* not object"),
    ({"json": float("nan")}, ValueError, "json cannot be encoded: Out of range float"),
    ({"json": {1}}, TypeError, "set is not JSON serializable"),
    ({"auth": "secret"}, TypeError, "auth must be a pair .*, a callable or None, not str"),
    ({"auth": ("secret",)}, TypeError, "auth must be a pair .*, a callable or None, not tuple"),
    ({"cookies": "a=secret"}, TypeError, "cookies must be a mapping or a CookieJar, not str"),
    ({"cookies": {"a": 3}}, TypeError, "each value of cookies must be a str, not int"),
    ({"cookies": http.cookies.SimpleCookie("a=1")}, TypeError, "cookies must .* not Morsel"),
    ({"proxies": "secret"}, TypeError, "proxies must be a mapping of schemes to addresses, not"),
    ({"proxies": {"http": 3}}, TypeError, "each value of proxies must be a str, not int"),
    ({"verify": 3}, TypeError, "verify must be True, False or the path of a CA bundle, not int"),
    ({"verify": "no such file"}, ValueError, "verify must be .*: 'no such file' does not exist"),
    ({"cert": 3}, TypeError, "cert must be the path of a certificate, .* not int"),
    ({"cert": (3, "key")}, TypeError, "cert must be the path of a certificate, .* not int"),
    ({"timeout": "3"}, TypeError, "timeout must be seconds, .* not str"),
    ({"timeout": (1, 2, 3)}, ValueError, "timeout must be seconds, .* not a tuple of 3"),
    ({"timeout": float("inf")}, ValueError, "timeout must be seconds, .* at most 2147483, not inf"),
    ({"timeout": float("nan")}, ValueError, "timeout must be seconds, .* above 0, not nan"),
    ({"allow_redirects": "no"}, TypeError, "allow_redirects must be True or False, not str"),
    ({"allow_redirects": None}, TypeError, "allow_redirects must be True or False, not NoneType"),
    ({"block": 3}, TypeError, "block must be a function or None, not int"),
]

#: Arguments of each type that requests accepts.
RIGHT = [
    {"params": "a=1"},
    {"params": b"a=1"},
    {"params": {"a": [1, 2], "b": None}},
    {"params": [("a", "1"), ["b", "2"]]},
    {"params": (pair for pair in [("a", "1")])},
    {"headers": {"A": "1", "B": b"2", "C": None, "D": lambda: "4"}},
    {"data": "text"},
    {"data": b"bytes"},
    {"data": {"a": "1"}},
    {"data": [("a", "1")]},
    {"data": io.BytesIO(b"file")},
    {"data": lambda: iter([b"chunk"])},
    {"json": [1]},
    {"auth": ("user", "password")},
    {"auth": lambda prepared: prepared},
    {"cookies": {"a": "1", "b": None}},
    {"cookies": requests.cookies.cookiejar_from_dict({"a": "1"})},
    {"proxies": {"https": "http://127.0.0.1:1", "ftp": None}},
    {"verify": False},
    {"timeout": 2_147_483},
    {"timeout": (1, None)},
    {"allow_redirects": False},
    {"block": lambda session: session.incoming.get()},
]


@pytest.fixture
def client():
    with sse_client_for_tests() as made:
        yield made


def arguments_of(wrong):
    method = "POST" if "data" in wrong or "json" in wrong else "GET"
    return {"method": method, **wrong}


@each_of(("wrong", "kind", "message"), WRONG)
def test_a_stream_refuses_it_by_name(wrong, kind, message, client, server):
    with pytest.raises(kind, match=message) as caught:
        client.sse(server.url, **arguments_of(wrong))
    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)
    assert not server.requests


@each_of(
    ("wrong", "kind", "message"),
    [case for case in WRONG if "block" not in case[0] and "json" not in case[0]],
)
def test_a_plain_request_refuses_it_by_name(wrong, kind, message, client, server):
    with pytest.raises(kind, match=message) as caught:
        client.request(url=server.url, **arguments_of(wrong))
    assert type(caught.value) is kind
    assert not server.requests


@pytest.mark.parametrize("url", [3, None, b"http://127.0.0.1/"])
def test_a_plain_request_needs_an_address(url, client):
    with pytest.raises(TypeError, match="url must be a str"):
        client.get(url)


@pytest.mark.parametrize("right", RIGHT)
def test_what_requests_takes_is_taken(right, client, server):
    server.serve([ServerSentEvent("one")], then="stall")
    taken = client.sse(server.url, **arguments_of(right))
    if "block" in right:
        assert taken.data == "one"
    else:
        with taken:
            assert taken.incoming.get().data == "one"


class OwnError(ValueError):
    """An error that a user's function raises."""


LOCKED = r"^the vault is locked$"


def fail(*_, **__):
    raise OwnError("the vault is locked")


class Auth(requests.auth.AuthBase):
    def __call__(self, prepared):
        fail()


class Plugin:
    on_request = fail


#: Functions of the user, all of which raise an error.
OWN = {
    "a header": {"headers": {"Authorization": fail}},
    "a parameter": {"params": {"a": fail}},
    "the data": {"method": "POST", "data": fail},
    "an auth": {"auth": Auth()},
    "a function as an auth": {"auth": fail},
    "on_request": {"on_request": fail},
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_an_error_of_a_function_is_not_hidden(own, client, server):
    with pytest.raises(OwnError, match=LOCKED):
        client.sse(server.url, **own)
    assert not server.requests


def test_an_error_of_an_iterator_is_not_hidden(client, server):
    server.handler = lambda exchange: exchange.stall()

    def chunks():
        yield b"chunk"
        fail()

    with pytest.raises(OwnError, match=LOCKED):
        client.sse(server.url, method="POST", data=chunks())


def test_an_auth_that_reaches_nobody_is_a_failed_connection(client, server):
    def auth(_):
        raise requests.ConnectionError("the vault is down")

    with pytest.raises(ConnectionFailedError, match="ConnectionError"):
        client.sse(server.url, auth=auth)


def test_an_error_of_a_plugin_is_not_hidden(client, server):
    client.install(Plugin)
    with pytest.raises(OwnError, match=LOCKED):
        client.sse(server.url)


def test_an_error_of_what_a_session_has_is_not_hidden(server):
    server.handler = lambda exchange: exchange.respond(200)
    with requests.Session() as session, sse_client_for_tests(session) as client:
        session.auth = fail
        with pytest.raises(OwnError, match=LOCKED):
            client.sse(server.url)
        session.auth = None
        session.hooks["response"].append(fail)
        with pytest.raises(OwnError, match=LOCKED):
            client.sse(server.url)


def test_an_error_of_a_reconnection_is_not_hidden(client, server):
    server.serve([ServerSentEvent("one")], then="drop")
    results = iter(["token"])

    def token():
        return next(results, None) or fail()

    with client.sse(server.url, headers={"Authorization": token}) as session:
        assert session.incoming.get().data == "one"
        with pytest.raises(OwnError, match=LOCKED):
            session.incoming.get()


def test_an_auth_of_requests_that_cannot_be_encoded_shows_no_secret(client, server):
    with pytest.raises(ValueError, match=r"cannot be sent: UnicodeEncodeError$") as caught:
        client.sse(server.url, auth=("user", "\N{SNOWMAN} secret"))
    assert "secret" not in json.dumps([str(caught.value), repr(caught.value.__cause__)])


def test_a_request_keeps_its_auth(client, server):
    seen = []
    server.respond(401)
    server.serve([ServerSentEvent("one")], then="stall")

    class Watching:
        def on_unauthorized(self, request, _):
            seen.append(request.auth)
            return True

    def auth(prepared):
        return prepared

    client.install(Watching)
    with client.sse(server.url, auth=auth) as session:
        assert session.incoming.get().data == "one"
    assert seen == [auth]
