"""Errors that the server reports inside the stream, by an event."""

from __future__ import annotations

import pytest
from support import PATIENCE, sse_client_for_tests

from sse_client import ErrorEventError, ServerSentEvent, SSEClientError

OVERLOADED = ServerSentEvent('{"type": "overloaded_error"}', event="error")


@pytest.mark.parametrize(
    "error_event", ["error", lambda event: "overloaded" in event.data], ids=["name", "function"]
)
class TestAnErrorEvent:
    def test_is_raised_after_all_earlier_events(self, server, error_event):
        server.serve(["one", "two", OVERLOADED, "three"])
        with (
            sse_client_for_tests(error_event=error_event) as client,
            client.sse(server.url, method="POST") as session,
        ):
            received = []
            with pytest.raises(ErrorEventError) as caught:
                received.extend(event.data for event in session.incoming)
            assert received == ["one", "two"]
            assert caught.value.event == OVERLOADED
            assert caught.value.response is session.response
            assert session.error is caught.value

    def test_ends_a_stream_that_would_reconnect(self, server, error_event):
        server.serve([OVERLOADED], then="stall")
        with (
            sse_client_for_tests(error_event=error_event) as client,
            client.sse(server.url) as session,
            pytest.raises(ErrorEventError),
        ):
            session.incoming.get(timeout=PATIENCE)
        assert len(server.requests) == 1

    def test_may_be_a_reason_to_reconnect(self, server, error_event):
        server.serve(["one", OVERLOADED])
        server.serve(["two"], then="stall")
        asked = []

        def retry_if(error, attempt):
            asked.append((type(error), attempt))
            return 0.0

        with (
            sse_client_for_tests(error_event=error_event, retry_if=retry_if) as client,
            client.sse(server.url) as session,
        ):
            assert [session.incoming.get(timeout=PATIENCE).data for _ in "12"] == ["one", "two"]
        assert asked == [(ErrorEventError, 1)]


def test_the_message_names_the_event_type_and_not_the_data(server):
    server.serve([ServerSentEvent("CANARY-error-event", event="error\x1b[2J")])
    with (
        sse_client_for_tests(error_event=lambda _: True) as client,
        client.sse(server.url, method="POST") as session,
        pytest.raises(ErrorEventError) as caught,
    ):
        session.incoming.get(timeout=PATIENCE)
    assert "\x1b" not in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_other_events_are_delivered(server):
    server.serve([ServerSentEvent("a", event="errors"), ServerSentEvent("error")])
    with (
        sse_client_for_tests(error_event="error") as client,
        client.sse(server.url, method="POST") as session,
    ):
        assert [event.data for event in session.incoming] == ["a", "error"]


def test_an_error_comes_before_the_mark_that_follows_it(server):
    server.serve([OVERLOADED, "[DONE]"])
    with (
        sse_client_for_tests(error_event="error", end_of_stream="[DONE]") as client,
        client.sse(server.url, method="POST") as session,
        pytest.raises(ErrorEventError),
    ):
        list(session.incoming)


def test_a_mark_comes_before_the_error_that_follows_it(server):
    server.serve(["[DONE]", OVERLOADED])
    with (
        sse_client_for_tests(error_event="error", end_of_stream="[DONE]") as client,
        client.sse(server.url, method="POST") as session,
    ):
        assert list(session.incoming) == []
        assert session.error is None


def test_a_function_that_raises_ends_the_stream_after_the_earlier_events(server):
    def error_event(event):
        if event.data == "two":
            raise LookupError("two")
        return False

    server.serve(["one", "two", "three"])
    with (
        sse_client_for_tests(error_event=error_event) as client,
        client.sse(server.url, method="POST") as session,
    ):
        assert session.incoming.get(timeout=PATIENCE).data == "one"
        with pytest.raises(LookupError):
            session.incoming.get(timeout=PATIENCE)


def test_is_an_error_of_this_package():
    assert issubclass(ErrorEventError, SSEClientError)
