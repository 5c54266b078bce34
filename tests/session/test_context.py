"""The context (contextvars) in which the user's code runs on the reader thread."""

from __future__ import annotations

import contextvars
import threading

import pytest
import requests
from support import PATIENCE, Signal, sse_client_for_tests

from sse_client import ServerSentEvent

CALLER = contextvars.ContextVar("CALLER", default="nobody")


@pytest.fixture(autouse=True)
def caller():
    token = CALLER.set("the caller")
    yield
    CALLER.reset(token)


class Witness:
    """Records the context in which each of the user's functions is called, and its thread."""

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = {}
        self.threads: set[str] = set()

    def __call__(self, name, result=None):
        """Return a function that records the context and returns a result."""

        def function(*_, **__):
            self.seen.setdefault(name, set()).add(CALLER.get())
            self.threads.add(threading.current_thread().name)
            return result

        return function


def plugin_of(witness):
    class Witnessing:
        on_request = staticmethod(witness("Plugin.on_request"))
        on_response = staticmethod(witness("Plugin.on_response"))
        on_unauthorized = staticmethod(witness("Plugin.on_unauthorized", result=True))

    return Witnessing


def test_is_the_caller_s_for_all_of_the_users_code(server):
    witness = Witness()
    closed = Signal()
    own = requests.Session()
    own.hooks["response"].append(witness("a hook of requests"))
    server.respond(401)
    server.serve([b": hello\n", ServerSentEvent("one", id="1")], then="drop")
    server.respond(503)
    server.respond(410)
    server.serve(["two"], then="drop")
    server.respond(204)
    with (
        own,
        sse_client_for_tests(
            own,
            on_request=witness("on_request"),
            on_open=witness("on_open"),
            on_comment=witness("on_comment"),
            on_disconnect=witness("on_disconnect"),
            on_cursor_expired=witness("on_cursor_expired", result=""),
            on_close=lambda _: (witness("on_close")(), closed()),
            retry_if=witness("retry_if"),
            end_of_stream=witness("end_of_stream"),
            error_event=witness("error_event"),
            counts_as_event=witness("counts_as_event"),
        ) as client,
    ):
        client.install(plugin_of(witness))
        with client.sse(
            server.url,
            method="POST",
            reconnect="always",
            headers={"X-Header": witness("a header", result="x")},
            params={"p": witness("a parameter", result="x")},
            data=witness("data", result=b"x"),
            auth=lambda prepared: (witness("auth")(), prepared)[1],
        ) as session:
            assert [event.data for event in session.incoming] == ["one", "two"]
            closed.await_()
    assert len(server.requests) == 6
    assert len(witness.seen) == 18
    assert set().union(*witness.seen.values()) == {"the caller"}
    assert witness.threads == {"sse-client:127.0.0.1"}


def test_is_that_of_the_moment_when_sse_was_called(server):
    server.serve(["one"], then="drop")
    server.serve(["two"], then="stall")
    seen = []
    with sse_client_for_tests(on_open=lambda _: seen.append(CALLER.get())) as client:
        token = CALLER.set("another caller")
        session = client.sse(server.url)
        CALLER.reset(token)
        assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
        session.close()
    assert seen == ["another caller"] * 2


def test_is_one_copy_for_an_attempt_and_one_for_each_call_between_attempts(server):
    server.serve(["one"], then="drop")
    server.respond(503)
    server.serve([b": hello\n", "two"], then="stall")
    found = []

    def note(name):
        def hook(*_):
            found.append((name, CALLER.get()))
            CALLER.set(name)

        return hook

    hooks = ("on_request", "on_open", "on_comment", "on_disconnect", "retry_if")
    with (
        sse_client_for_tests(**{name: note(name) for name in hooks}) as client,
        client.sse(server.url) as session,
    ):
        assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
    assert found == [
        ("on_request", "the caller"),
        ("on_open", "on_request"),
        ("retry_if", "the caller"),
        ("on_disconnect", "the caller"),
        ("on_request", "the caller"),
        ("retry_if", "the caller"),
        ("on_disconnect", "the caller"),
        ("on_request", "the caller"),
        ("on_open", "on_request"),
        ("on_comment", "on_open"),
    ]
    assert CALLER.get() == "the caller"


def test_of_two_sessions_of_a_client_is_each_its_own(server):
    server.handler = lambda exchange: (exchange.send("one"), exchange.drop())
    found = {}

    def lost(session, *_):
        found.setdefault(session, []).append(CALLER.get())

    with sse_client_for_tests(on_disconnect=lost, reconnection_time=0.0) as client:
        sessions = []
        for name in ("first", "second"):
            CALLER.set(name)
            sessions.append(client.sse(server.url))
        for session in sessions:
            for _ in range(3):
                assert session.incoming.get(timeout=PATIENCE).data == "one"
            session.close()
    assert [set(found[session]) for session in sessions] == [{"first"}, {"second"}]
