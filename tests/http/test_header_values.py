"""A header that cannot be sent: the error names the header, and never shows its value."""

from __future__ import annotations

import traceback

import pytest
import requests
from canaries import CANARY, tells
from support import sse_client_for_tests

from sse_client import DefaultRequest

LINE_BREAK = "its value has a line break"

#: Values, and the problem of each.
WRONG = {
    "a line feed": (f"{CANARY}\n", LINE_BREAK),
    "another header": (f"{CANARY}\r\nX-Evil: 1", LINE_BREAK),
    "a carriage return": (f"{CANARY}\r", LINE_BREAK),
    "a line break in bytes": (f"{CANARY}\n".encode(), LINE_BREAK),
    "beyond Latin-1": (
        f"{CANARY}\u20ac",
        "its value has characters outside Latin-1; encode it as bytes",
    ),
    "an int": (12345, "its value must be a str or bytes, not int"),
    "a list": ([CANARY], "its value must be a str or bytes, not list"),
    "a leading blank": (f" {CANARY}", "its value begins with whitespace"),
    "a leading tab": (f"\t{CANARY}".encode(), "its value begins with whitespace"),
}

NAME = "X-Token"


def of_the_call(client, session, server, value):
    client.sse(server.url, headers={NAME: value})


def of_a_callable(client, session, server, value):
    client.sse(server.url, headers={NAME: lambda: value})


def of_default_request(client, session, server, value):
    client.install(DefaultRequest, headers={NAME: value})
    client.sse(server.url)


def of_a_callable_of_default_request(client, session, server, value):
    client.install(DefaultRequest, headers={NAME: lambda: value})
    client.sse(server.url)


def of_the_session(client, session, server, value):
    session.headers[NAME] = value
    client.sse(server.url)


def of_on_request(client, session, server, value):
    client.sse(server.url, on_request=lambda _, request: request.headers.update({NAME: value}))


def of_a_plugin(client, session, server, value):
    class Plugin:
        def on_request(self, request):
            request.headers[NAME] = value

    client.install(Plugin)
    client.sse(server.url)


PLACES = [
    of_the_call,
    of_a_callable,
    of_default_request,
    of_a_callable_of_default_request,
    of_the_session,
    of_on_request,
    of_a_plugin,
]


@pytest.fixture
def session():
    with requests.Session() as session:
        yield session


@pytest.fixture
def client(session):
    with sse_client_for_tests(session) as client:
        yield client


@pytest.fixture(params=PLACES)
def open_with(request, client, session, server):
    """Open a stream with a header of this value, set in one of the possible places."""
    return lambda value: request.param(client, session, server, value)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_names_the_header_and_not_the_value(open_with, server, wrong, caplog):
    value, problem = WRONG[wrong]
    with caplog.at_level("DEBUG"), pytest.raises(ValueError) as caught:
        open_with(value)
    assert str(caught.value) == f"the header {NAME!r} cannot be sent: {problem}"
    assert type(caught.value) is ValueError
    assert not tells("".join(traceback.format_exception_only(caught.value)) + caplog.text)
    assert "12345" not in str(caught.value)
    assert server.requests == []


def test_a_wrong_value_of_a_reconnection_ends_the_session(client, server):
    server.serve(["one"], then="drop")
    values = iter(["fine", f"{CANARY}\n"])
    headers = {NAME: lambda: next(values)}
    with (
        client.sse(server.url, headers=headers) as stream,
        pytest.raises(ValueError, match=r"^the header 'X-Token' cannot be sent: its value"),
    ):
        list(stream.incoming)
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", [f"{CANARY}\n", f"{CANARY}\u20ac"])
def test_a_wrong_value_that_an_auth_sets_names_the_header(client, server, value):
    def auth(prepared):
        prepared.headers[NAME] = value
        return prepared

    with pytest.raises(ValueError, match=r"^the header 'X-Token' cannot be sent: ") as caught:
        client.sse(server.url, auth=auth)
    assert not tells(str(caught.value))
    assert server.requests == []


def test_a_wrong_value_of_the_session_that_the_call_replaces_does_no_harm(client, session, server):
    session.headers[NAME] = "wrong\n"
    server.respond(204)
    client.sse(server.url, headers={NAME.lower(): "right"})
    assert server.requests[0].headers[NAME] == "right"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "its name is not a token"),
        ("X Token", "its name is not a token"),
        ("X-Token:", "its name is not a token"),
        ("X\nToken", "its name is not a token"),
        (" X", "its name is not a token"),
        ("\u20ac", "its name is not a token"),
        (1, "its name must be a str, not int"),
        (None, "its name must be a str, not NoneType"),
    ],
)
def test_a_wrong_name_is_reported(client, server, name, problem):
    with pytest.raises(ValueError) as caught:
        client.sse(server.url, headers={name: CANARY})
    assert str(caught.value) == f"a header cannot be sent: {problem}"
    with pytest.raises(ValueError) as caught:
        client.install(DefaultRequest, headers={name: CANARY})
    assert str(caught.value) == f"a header cannot be sent: {problem}"
    assert server.requests == []


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("", b""),
        ("a b", b"a b"),
        ("\xe9", b"\xe9"),
        (b"\xe2\x82\xac", b"\xe2\x82\xac"),
        ("a\tb", b"a\tb"),
        ("trailing ", b"trailing"),
    ],
)
def test_any_other_value_is_sent(open_with, server, value, sent):
    server.respond(204)
    open_with(value)
    assert server.requests[0].headers[NAME].encode("utf-8", "surrogateescape") == sent
