"""The tree of errors, the attributes of each, and that each can be sent to another process."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import requests
from tables import each_of

from sse_client import SessionFailedError, errors
from sse_client.errors import SSEClientError
from sse_client.event_stream.events import ServerSentEvent
from sse_client.session import merging

TREE = {
    "SSEClientError": "Exception",
    "PluginNotInstalledError": "SSEClientError",
    "DuplicatePluginError": "SSEClientError",
    "ConnectionFailedError": "SSEClientError",
    "UnexpectedStatusError": "SSEClientError",
    "CursorExpiredError": "UnexpectedStatusError",
    "UnexpectedContentTypeError": "SSEClientError",
    "StreamInterruptedError": "SSEClientError",
    "IdleTimeoutError": "StreamInterruptedError",
    "TotalTimeoutError": "SSEClientError",
    "ErrorEventError": "SSEClientError",
    "EventTooLargeError": "SSEClientError",
    "ChannelOverflowError": "SSEClientError",
    "ReconnectionExhaustedError": "SSEClientError",
    "SessionClosedError": "SSEClientError",
    "DeserializationError": "SSEClientError",
    "SessionFailedError": "SSEClientError",
    "CursorError": "SSEClientError",
}


def answer(status: int = 503) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


RESPONSE = answer()

#: An error of each kind, the expected attributes, and its response.
ERRORS: list[tuple[SSEClientError, dict[str, object]]] = [
    (SSEClientError("no"), {"response": None}),
    (SSEClientError("no", response=RESPONSE), {"response": RESPONSE}),
    (errors.PluginNotInstalledError("no"), {"response": None}),
    (errors.DuplicatePluginError("no"), {"response": None}),
    (errors.ConnectionFailedError("no"), {"permanent": False, "was_sent": False, "response": None}),
    (errors.ConnectionFailedError("no", was_sent=True), {"was_sent": True}),
    (errors.ConnectionFailedError("no", permanent=True), {"permanent": True}),
    (
        errors.UnexpectedStatusError("no", response=RESPONSE),
        {"status_code": 503, "body": b"", "retry_after": None, "response": RESPONSE},
    ),
    (
        errors.UnexpectedStatusError("no", response=RESPONSE, body=b"busy", retry_after=1.5),
        {"status_code": 503, "body": b"busy", "retry_after": 1.5},
    ),
    (
        errors.CursorExpiredError("no", response=RESPONSE, last_event_id="7"),
        {"status_code": 503, "body": b"", "retry_after": None, "last_event_id": "7"},
    ),
    (
        errors.UnexpectedContentTypeError("no", response=RESPONSE, content_type=""),
        {"content_type": "", "body": b"", "response": RESPONSE},
    ),
    (
        errors.UnexpectedContentTypeError(
            "no", response=RESPONSE, content_type="text/html", body=b"<p>"
        ),
        {"content_type": "text/html", "body": b"<p>"},
    ),
    (errors.StreamInterruptedError("no", response=RESPONSE), {"response": RESPONSE}),
    (
        errors.IdleTimeoutError("no", timeout=2.5, waited_for="bytes"),
        {"timeout": 2.5, "waited_for": "bytes", "response": None},
    ),
    (
        errors.IdleTimeoutError("no", timeout=2.5, waited_for="event", response=RESPONSE),
        {"waited_for": "event", "response": RESPONSE},
    ),
    (errors.TotalTimeoutError("no", timeout=2.5), {"timeout": 2.5, "response": None}),
    (
        errors.ErrorEventError("no", event=ServerSentEvent("a")),
        {"event": ServerSentEvent("a"), "response": None},
    ),
    (errors.EventTooLargeError("no", limit=10), {"limit": 10, "events": (), "response": None}),
    (
        errors.EventTooLargeError("no", limit=10, events=[ServerSentEvent("a", id="1")]),
        {"limit": 10, "events": (ServerSentEvent("a", id="1"),)},
    ),
    (
        errors.ChannelOverflowError("no", capacity=3, capacity_bytes=100),
        {"capacity": 3, "capacity_bytes": 100, "response": None},
    ),
    (
        errors.ReconnectionExhaustedError("no", attempts=5),
        {"attempts": 5, "last_cause": None, "response": None},
    ),
    (errors.SessionClosedError("no"), {"response": None}),
    (errors.DeserializationError("no"), {"event": None, "response": None}),
    (
        SessionFailedError("no", session=None, error=None),
        {"session": None, "error": None, "response": None, "buffer": b""},
    ),
    (errors.CursorError("no"), {"path": None, "response": None}),
    (errors.CursorError("no", path="position.json"), {"path": "position.json"}),
]


def defined_errors() -> dict[str, type[BaseException]]:
    return {
        name: value
        for module in (errors, merging)
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and value.__module__ == module.__name__
    }


class TestTree:
    def test_holds_each_error_below_its_base(self) -> None:
        assert {
            name: [base.__name__ for base in error.__bases__]
            for name, error in defined_errors().items()
        } == {name: [base] for name, base in TREE.items()}

    def test_is_drawn_at_the_top_of_the_module(self) -> None:
        drawing = (errors.__doc__ or "").split()
        for name in TREE:
            assert name in drawing

    def test_each_error_is_among_the_ones_tested_here(self) -> None:
        assert {type(error) for error, _ in ERRORS} == set(defined_errors().values())


of_each_error = each_of(("error", "attributes"), ERRORS)


class TestEachError:
    @of_each_error
    def test_says_its_message(self, error: SSEClientError, attributes: dict[str, object]) -> None:
        assert str(error) == "no"
        assert error.args == ("no",)

    @of_each_error
    def test_carries_its_attributes(
        self, error: SSEClientError, attributes: dict[str, object]
    ) -> None:
        assert {name: getattr(error, name) for name in attributes} == attributes

    @of_each_error
    def test_has_an_empty_buffer_to_begin_with(
        self, error: SSEClientError, attributes: dict[str, object]
    ) -> None:
        assert error.buffer == b""

    @of_each_error
    def test_is_pickled_without_its_response(
        self, error: SSEClientError, attributes: dict[str, object]
    ) -> None:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            twin = pickle.loads(pickle.dumps(error, protocol))
            assert type(twin) is type(error), protocol
            assert str(twin) == "no", protocol
            assert twin.args == ("no",), protocol
            assert vars(twin) == {**vars(error), "response": None}, protocol

    @of_each_error
    def test_keeps_its_response_when_it_is_pickled(
        self, error: SSEClientError, attributes: dict[str, object]
    ) -> None:
        pickle.dumps(error)
        assert {name: getattr(error, name) for name in attributes} == attributes


class TestPickling:
    def test_takes_the_buffer_along(self) -> None:
        error = errors.StreamInterruptedError("broke off")
        error.buffer = b"data: 1\n\n"
        assert pickle.loads(pickle.dumps(error)).buffer == b"data: 1\n\n"
        assert copy.copy(error).buffer == b"data: 1\n\n"

    def test_takes_the_last_cause_along_without_its_response(self) -> None:
        cause = errors.UnexpectedStatusError("503", response=RESPONSE, body=b"busy")
        error = errors.ReconnectionExhaustedError("gave up", attempts=2, last_cause=cause)
        twin = pickle.loads(pickle.dumps(error))
        assert twin.attempts == 2
        assert type(twin.last_cause) is errors.UnexpectedStatusError
        assert twin.last_cause.status_code == 503
        assert twin.last_cause.body == b"busy"
        assert twin.last_cause.response is None

    def test_takes_what_a_user_has_added_along(self) -> None:
        error = errors.ConnectionFailedError("refused", permanent=True)
        error.url = "http://localhost/"  # type: ignore[attr-defined]  # a user's own
        assert pickle.loads(pickle.dumps(error)).url == "http://localhost/"


class TestAttributes:
    def test_giving_up_is_about_the_response_of_its_last_cause(self) -> None:
        cause = errors.UnexpectedStatusError("503", response=RESPONSE)
        error = errors.ReconnectionExhaustedError("gave up", attempts=2, last_cause=cause)
        assert error.last_cause is cause
        assert error.response is RESPONSE

    def test_events_are_kept_apart_from_the_list_they_came_in(self) -> None:
        several = [ServerSentEvent("a")]
        error = errors.EventTooLargeError("no", limit=1, events=several)
        several.clear()
        assert error.events == (ServerSentEvent("a"),)

    def test_details_go_by_name_alone(self) -> None:
        with pytest.raises(TypeError):
            SSEClientError("no", RESPONSE)  # type: ignore[call-arg]  # what is tested
        with pytest.raises(TypeError):
            errors.EventTooLargeError("no", 10)  # type: ignore[call-arg]  # what is tested
