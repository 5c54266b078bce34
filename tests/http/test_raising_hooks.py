"""A hook that raises an error leaves no connection open, whichever response it is called with."""

from __future__ import annotations

import pytest
import requests
from support import sse_client_for_tests

from sse_client import BearerAuth, ConnectionFailedError


class HookError(Exception):
    """An error that a user's hook raises."""


class Raising:
    """Raises an error at the n-th call, as a hook of requests or of a plugin."""

    def __init__(self, call: int, error: Exception) -> None:
        self._calls_left = call
        self._error = error

    def __call__(self, response: requests.Response, *_: object, **__: object) -> None:
        self._calls_left -= 1
        if not self._calls_left:
            raise self._error

    on_response = __call__


def stalled(exchange):
    exchange.send("one")
    exchange.stall()


def redirected(exchange):
    if exchange.request.path == "/there":
        stalled(exchange)
    else:
        exchange.write_raw(
            b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 5\r\n\r\nhello"
        )
        exchange.stall()


def unauthorized(exchange):
    exchange.write_raw(
        b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n'
        b"Content-Length: 500\r\n\r\nhello"
    )
    exchange.stall()


def unauthorized_at_first(exchange):
    if exchange.request.headers.get("Authorization") in {None, "Bearer a"}:
        unauthorized(exchange)
    else:
        stalled(exchange)


#: The behaviour of the server, and the response for which the hook raises an error.
CASES = {
    "the first response": (stalled, 1),
    "a redirect": (redirected, 1),
    "the response after a redirect": (redirected, 2),
    "a 401": (unauthorized, 1),
}


@pytest.fixture
def exchanges(server):
    """Let the server record its exchanges. A test sets ``server.handler`` through this."""
    found = []

    def use(act):
        def handler(exchange):
            found.append(exchange)
            act(exchange)

        server.handler = handler
        return found

    return use


def failure_of(client, url, **arguments):
    with pytest.raises((HookError, ConnectionFailedError)) as caught:
        client.sse(url, **arguments)
    return caught.value


def check_closed(found, error):
    """Check that each connection is closed while the error holds all its frames."""
    for exchange in found:
        assert exchange.wait_closed(), exchange
    assert found
    assert error.__traceback__ is not None


class DigestAuth(requests.auth.HTTPDigestAuth):
    """Calls another hook after the hook of the auth, so that it gets the second response."""

    def __init__(self, hook) -> None:
        super().__init__("user", "password")
        self._hook = hook

    def __call__(self, prepared):
        prepared = super().__call__(prepared)
        prepared.register_hook("response", self._hook)
        return prepared


@pytest.mark.parametrize("case", CASES)
def test_of_the_session_leaves_no_connection(server, exchanges, case):
    act, call = CASES[case]
    found = exchanges(act)
    with requests.Session() as session, sse_client_for_tests(session) as client:
        session.hooks["response"].append(Raising(call, HookError()))
        error = failure_of(client, server.url)
    assert isinstance(error, HookError)
    check_closed(found, error)


@pytest.mark.parametrize("case", CASES)
def test_that_fails_with_an_error_of_requests_leaves_no_connection(server, exchanges, case):
    act, call = CASES[case]
    found = exchanges(act)
    with requests.Session() as session, sse_client_for_tests(session) as client:
        session.hooks["response"].append(Raising(call, requests.HTTPError("refused")))
        error = failure_of(client, server.url)
    assert isinstance(error, ConnectionFailedError)
    assert error.was_sent
    check_closed(found, error)


def test_after_the_hook_of_an_auth_leaves_no_connection(server, exchanges):
    found = exchanges(unauthorized_at_first)
    with sse_client_for_tests() as client:
        error = failure_of(client, server.url, auth=DigestAuth(Raising(1, HookError())))
    assert isinstance(error, HookError)
    check_closed(found, error)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("act", "call"),
    [(stalled, 1), (redirected, 1), (unauthorized, 1), (unauthorized_at_first, 2)],
    ids=["the first", "after a redirect", "a 401", "after a 401"],
)
def test_of_a_plugin_leaves_no_connection(server, exchanges, act, call):
    found = exchanges(act)
    with sse_client_for_tests() as client:
        client.install(BearerAuth, load=lambda: "a", refresh=lambda: "b")
        client.install(Raising, call=call, error=HookError())
        error = failure_of(client, server.url)
    assert isinstance(error, HookError)
    check_closed(found, error)
