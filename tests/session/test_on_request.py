"""The hook ``on_request``: it sees the request of each attempt and may change all of it."""

from __future__ import annotations

import logging

import pytest
import requests
from support import PATIENCE, Signal, sse_client_for_tests

from sse_client import (
    BearerAuth,
    ConnectionFailedError,
    DefaultRequest,
    ServerSentEvent,
    StreamInterruptedError,
)


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


def test_sees_the_last_event_id_of_each_attempt(client, server):
    server.serve([ServerSentEvent("one", id="\u20ac")], then="drop")
    server.serve([ServerSentEvent("two", id="2")], then="drop")
    server.respond(204)
    seen = []

    def on_request(session, request):
        seen.append((session, request.headers["Last-Event-ID"], request.headers["Accept"]))

    with client.sse(server.url, on_request=on_request) as session:
        assert [event.data for event in session.incoming] == ["one", "two"]
    assert [value for _, value, _ in seen] == [None, "\u20ac".encode(), b"2"]
    assert all(first is session for first, _, _ in seen)
    assert {accept for *_, accept in seen} == {"text/event-stream"}


def test_sees_what_plugins_have_added_and_the_values_of_callables(client, server):
    client.install(DefaultRequest, base_url=server.url, headers={"X-Default": "d"})
    client.install(BearerAuth, load=lambda: "token", refresh=lambda: "token")
    server.respond(204)
    seen = {}

    def on_request(_, request):
        seen.update(request.headers, url=request.url, method=request.method)

    client.sse("/x", headers={"X-Call": lambda: "c"}, on_request=on_request, method="post")
    assert seen["url"] == server.url + "x"
    assert seen["method"] == "POST"
    assert (seen["X-Default"], seen["X-Call"]) == ("d", "c")


def test_may_change_method_address_headers_and_body(client, server):
    server.serve([ServerSentEvent("one", id="1")], then="drop")
    server.respond(204)

    def on_request(_, request):
        if request.headers["Last-Event-ID"] is not None:  # continue the POST with a GET
            request.method, request.json = "GET", None
            request.url += "?part=2"
            request.headers["X-Part"] = "2"
            request.headers["Last-Event-ID"] = b"other"
        else:
            request.json = {"part": 1}

    with client.sse(
        server.url, method="POST", json={}, reconnect="always", on_request=on_request
    ) as session:
        assert [event.data for event in session.incoming] == ["one"]
    first, second = server.requests
    assert (first.method, first.body, first.target) == ("POST", b'{"part": 1}', "/")
    assert (second.method, second.body, second.target) == ("GET", b"", "/?part=2")
    assert (second.headers["X-Part"], second.headers["Last-Event-ID"]) == ("2", "other")
    assert "X-Part" not in first.headers


def test_a_change_does_not_reach_the_next_attempt(client, server):
    server.serve(["one"], then="drop")
    server.respond(204)
    lengths = []

    def on_request(_, request):
        lengths.append(len(request.headers))
        request.headers[f"X-{len(lengths)}"] = "x"

    with client.sse(server.url, on_request=on_request) as session:
        list(session.incoming)
    assert lengths[0] == lengths[1]
    assert "X-1" not in server.requests[1].headers


def test_is_called_once_more_after_a_401_that_a_plugin_deals_with(client, server):
    client.install(BearerAuth, load=lambda: "a", refresh=lambda: "b")
    server.respond(401)
    server.respond(204)
    hook = Signal()
    client.sse(server.url, on_request=hook)
    assert len(hook.calls) == len(server.requests) == 2


def test_is_not_called_for_a_redirect(client, server):
    server.redirect("/there")
    server.respond(204)
    hook = Signal()
    client.sse(server.url, on_request=hook)
    assert len(hook.calls) == 1


@pytest.mark.parametrize("error", [OSError("no disk"), requests.ConnectionError("no token")])
def test_an_os_error_is_a_failed_attempt(client, server, error):
    server.serve(["one"], then="drop")
    server.serve(["two"], then="stall")
    attempts = []

    def on_request(*_):
        attempts.append(None)
        if len(attempts) in {2, 3}:
            raise error

    lost = Signal()
    with client.sse(server.url, on_request=on_request, on_disconnect=lost) as session:
        assert [session.incoming.get(timeout=PATIENCE).data for _ in "12"] == ["one", "two"]
    assert len(attempts) == 4
    kinds = [type(call[1]) for call in lost.calls]
    assert kinds == [StreamInterruptedError, ConnectionFailedError, ConnectionFailedError]
    assert not lost.calls[1][1].was_sent
    assert len(server.requests) == 2


def test_an_os_error_of_the_first_attempt_is_raised(client, server):
    def on_request(*_):
        raise OSError("no disk")

    with pytest.raises(ConnectionFailedError, match="could not be made: no disk") as caught:
        client.sse(server.url, on_request=on_request)
    assert not caught.value.was_sent
    assert isinstance(caught.value.__cause__, OSError)
    assert server.requests == []


def test_the_first_attempt_is_repeated_if_asked_for(client, server):
    server.serve(["one"], then="stall")
    attempts = []

    def on_request(*_):
        attempts.append(None)
        if len(attempts) < 3:
            raise OSError("no disk")

    with client.sse(
        server.url, method="POST", on_request=on_request, retry_first_connection=True
    ) as session:
        assert session.incoming.get().data == "one"
    assert len(attempts) == 3
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), RuntimeError("x")], ids=repr)
def test_another_error_is_raised_as_it_is(client, server, error):
    def on_request(*_):
        raise error

    with pytest.raises(type(error)) as caught:
        client.sse(server.url, on_request=on_request, retry_first_connection=True)
    assert caught.value is error
    assert server.requests == []


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), RuntimeError("x")], ids=repr)
def test_another_error_of_a_reconnection_ends_the_session_with_it(client, server, error):
    server.serve(["one"], then="drop")

    def on_request(_, request):
        if server.requests:
            raise error

    received = []
    with (
        client.sse(server.url, on_request=on_request) as session,
        pytest.raises(type(error)) as caught,
    ):
        received.extend(event.data for event in session.incoming)
    assert received == ["one"]
    assert caught.value is error is session.error
    assert len(server.requests) == 1


def test_may_close_the_session(client, server):
    server.serve(["one"], then="drop")

    def on_request(session, _):
        if server.requests:
            session.close()

    with client.sse(server.url, on_request=on_request) as session:
        received = [event.data for event in session.incoming]
    assert received in (["one"], [])  # closing drops the events that were not taken
    assert session.error is None
    assert len(server.requests) == 1


def test_an_address_that_it_sets_is_checked(client, server, caplog):
    caplog.set_level(logging.DEBUG)

    def on_request(_, request):
        request.url = "/secret?token"

    with pytest.raises(ValueError, match=r"^url must begin with http:// or https://"):
        client.sse(server.url, on_request=on_request)
    assert "token" not in caplog.text
