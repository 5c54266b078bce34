"""Every option of a stream: its default, its valid values, and the errors for other values."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

import pytest
from support import sse_client_for_tests
from tables import each_of

from sse_client import (
    SSE,
    BufferPolicy,
    FileCursor,
    HttpClient,
    ServerSentEvent,
    SQLiteCursor,
    SSEConfig,
)
from sse_client.http.response_check import ResponseRules
from sse_client.session.reconnection import DEFAULT_RETRY_STATUSES
from sse_client.session.time_limits import TimeLimits


def hook(*_):
    """A stand-in for any hook."""


class Store:
    """A user's cursor: any object with the three methods is one."""

    def load(self):
        """Return nothing."""

    def save(self, event_id):
        """Save nothing."""

    def close(self):
        """Close nothing."""


DEFAULTS = {
    "reconnection_time": 3.0,
    "max_reconnection_attempts": None,
    "reconnect": None,
    "reconnection_backoff": 2.0,
    "max_reconnection_time": 30.0,
    "reconnection_jitter": 0.25,
    "reconnection_deadline": None,
    "retry_statuses": frozenset(
        {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529, 530}
    ),
    "retry_if": None,
    "own_thread": False,
    "retry_first_connection": False,
    "reset_after": 5.0,
    "show_comment_events": False,
    "show_retry_events": False,
    "types": None,
    "deserialize": None,
    "max_event_size": 16 * 1024 * 1024,
    "capacity": 1024,
    "capacity_bytes": 64 * 1024 * 1024,
    "overflow": "block",
    "first_event_timeout": None,
    "event_timeout": None,
    "total_timeout": None,
    "counts_as_event": None,
    "end_of_stream": None,
    "error_event": None,
    "content_types": frozenset({"text/event-stream"}),
    "max_error_body": 64 * 1024,
    "error_body_timeout": 2.0,
    "buffer_policy": BufferPolicy.off(),
    "last_event_id": "",
    "cursor": None,
    "auto_acknowledge": True,
    "cursor_expired_statuses": frozenset({410}),
    "on_request": None,
    "on_open": None,
    "on_disconnect": None,
    "on_comment": None,
    "on_cursor_expired": None,
    "on_close": None,
}

#: Durations, and whether each may be None and 0.
DURATIONS = {
    "reconnection_time": (False, True),
    "max_reconnection_time": (False, True),
    "reconnection_deadline": (True, True),
    "reset_after": (False, True),
    "first_event_timeout": (True, False),
    "event_timeout": (True, False),
    "total_timeout": (True, False),
    "error_body_timeout": (False, True),
}

#: Numbers, which become floats, because the power of an integer has no maximum.
NUMBERS = {
    "reconnection_backoff": [1, 1.0, 3.5],
    "reconnection_jitter": [0, 0.0, 1, 2.5],
}

#: The other options: valid values, values of a wrong type, and wrong values.
TAKEN = {
    "max_reconnection_attempts": [None, 0, 1, 10**6],
    "reconnect": [None, "always", "on_error", "never"],
    "retry_statuses": [(), [503], {500, 599}, frozenset({100}), range(500, 505)],
    "retry_if": [None, hook],
    "own_thread": [True, False],
    "retry_first_connection": [True, False],
    "show_comment_events": [True, False],
    "show_retry_events": [True, False],
    "types": [None, int, {"count": int}, {}, list[int], int | None],
    "deserialize": [None, "pydantic", "msgspec", "json", hook],
    "max_event_size": [1, 10**9],
    "capacity": [1, 10**9],
    "capacity_bytes": [1, 10**12],
    "overflow": ["block", "drop_oldest", "drop_newest", "error"],
    "counts_as_event": [None, hook],
    "end_of_stream": [None, "[DONE]", "", hook],
    "error_event": [None, "error", "", hook],
    "content_types": [(), ["text/plain"], [None, "A/B; c=d"], (None,), hook],
    "max_error_body": [0, 1, 10**9],
    "buffer_policy": [BufferPolicy.off(), BufferPolicy.all()],
    "last_event_id": ["", "7", " é€\U0001f600\t\x01"],
    "cursor": [None, FileCursor("position.json"), SQLiteCursor("positions.db", "x"), Store()],
    "auto_acknowledge": [True, False],
    "cursor_expired_statuses": [(), [410], {404, 410}, frozenset({412})],
    "on_request": [None, hook],
    "on_open": [None, hook],
    "on_disconnect": [None, hook],
    "on_comment": [None, hook],
    "on_cursor_expired": [None, hook],
    "on_close": [None, hook],
}

WRONG_TYPES = {
    "max_reconnection_attempts": ["3", 3.0, True],
    "reconnection_backoff": ["2", None, True, timedelta(1)],
    "reconnection_jitter": ["0.1", None, False],
    "retry_statuses": [503, "503", b"503", None],
    "retry_if": [1, "yes", True],
    "own_thread": [1, None, "yes"],
    "retry_first_connection": [1, None, "yes"],
    "show_comment_events": [0, None],
    "show_retry_events": [0, None],
    "deserialize": [1, 0, b"json"],
    "max_event_size": ["1", 1.5, True, None],
    "capacity": ["1", 2.0, True, None],
    "capacity_bytes": ["1", 2.0, True, None],
    "counts_as_event": [1, "ping"],
    "end_of_stream": [1, b"[DONE]"],
    "error_event": [1, b"error"],
    "content_types": ["text/plain", b"text/plain", None, 1],
    "max_error_body": ["1", 1.5, True, None],
    "buffer_policy": [None, "off", BufferPolicy],
    "last_event_id": [None, 7, b"7"],
    "cursor": ["position.json", FileCursor, object()],
    "auto_acknowledge": [0, None],
    "cursor_expired_statuses": [410, "410", None],
    "on_request": [1, "print"],
    "on_open": [1, "print"],
    "on_disconnect": [1, "print"],
    "on_comment": [1, "print"],
    "on_cursor_expired": [1, "print"],
    "on_close": [1, "print"],
}

WRONG_VALUES = {
    "max_reconnection_attempts": [-1],
    "reconnect": ["", "sometimes", True],
    "reconnection_backoff": [0.99, 0, -1, 10**400, float("inf"), float("nan")],
    "reconnection_jitter": [-0.01, float("inf"), float("nan")],
    "retry_statuses": [[99], [600], [503.0], ["503"], [None], [500, 1000]],
    "types": [{"": int}],
    "content_types": [[""], ["text"], [b"text/plain"], [1], ["*/*"]],
    "max_error_body": [-1],
    "deserialize": ["", "orjson"],
    "max_event_size": [0, -1],
    "capacity": [0, -1],
    "capacity_bytes": [0, -1],
    "overflow": ["", "drop", None],
    "last_event_id": ["a\0", "a\nb", "a\rb"],
    "cursor_expired_statuses": [[99], [410.0], ["410"]],
}


def of_each_option(table):
    """Call a test with each option and its values."""
    return each_of(("name", "values"), table.items())


def refusal(kind, name, value):
    """Return the error for a value."""
    try:
        SSEConfig(**{name: value})
    except kind as error:
        return str(error)
    return f"{name}={value!r} is taken"


DURATION_NAMES = list(DURATIONS)


class TestDefaults:
    def test_are_the_documented_ones(self):
        assert dataclasses.asdict(SSEConfig(), dict_factory=dict).keys() == DEFAULTS.keys()
        config = SSEConfig()
        assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS

    def test_are_those_of_the_installed_plugin(self):
        with HttpClient().install(SSE) as client:
            assert client.plugin(SSE).config == SSEConfig()

    def test_every_option_is_tested_here(self):
        names = {field.name for field in dataclasses.fields(SSEConfig)}
        assert names == set(DEFAULTS) == {*DURATIONS, *NUMBERS, *TAKEN}
        # Choices are checked only by their values. test_typed covers wrong types.
        assert {*DURATIONS, *WRONG_TYPES, "reconnect", "overflow", "types"} == names

    def test_the_retried_statuses_are_one_constant(self):
        assert SSEConfig().retry_statuses is DEFAULT_RETRY_STATUSES


class TestRightValues:
    @of_each_option(TAKEN)
    def test_are_taken_as_they_are(self, name, values):
        for value in values:
            assert getattr(SSEConfig(**{name: value}), name) is value
            assert getattr(SSEConfig().replace({name: value}), name) is value
            assert getattr(SSE(**{name: value}).config, name) is value

    @of_each_option(NUMBERS)
    def test_of_numbers_become_floats(self, name, values):
        for value in values:
            for config in (SSEConfig(**{name: value}), SSEConfig().replace({name: value})):
                assert getattr(config, name) == value
                assert type(getattr(config, name)) is float

    @each_of("name", DURATION_NAMES)
    def test_of_durations_are_numbers_of_seconds_or_timedeltas(self, name):
        spellings = {2: 2, 2.5: 2.5, timedelta(milliseconds=1500): 1.5, timedelta(hours=1): 3600.0}
        for value, seconds in spellings.items():
            for config in (SSEConfig(**{name: value}), SSEConfig().replace({name: value})):
                assert getattr(config, name) == seconds
                assert type(getattr(config, name)) is float

    @pytest.mark.parametrize("name", DURATION_NAMES)
    def test_of_some_durations_are_none_or_zero(self, name):
        takes_none, takes_zero = DURATIONS[name]
        if takes_none:
            assert getattr(SSEConfig(**{name: None}), name) is None
        if takes_zero:
            assert getattr(SSEConfig(**{name: 0}), name) == 0
            assert getattr(SSEConfig(**{name: timedelta()}), name) == 0


class TestWrongTypes:
    @of_each_option(WRONG_TYPES)
    def test_are_refused_by_the_option_s_name(self, name, values):
        for value in values:
            message = refusal(TypeError, name, value)
            assert re.search(f"^{name} must be .+, not {type(value).__name__}$", message), value

    @each_of("name", DURATION_NAMES)
    def test_of_durations_are_refused_by_the_option_s_name(self, name):
        for value in ("3", True, [1], object()):
            message = refusal(TypeError, name, value)
            assert re.search(f"^{name} must be seconds .+ or a timedelta", message), value

    @pytest.mark.parametrize("name", DURATION_NAMES)
    def test_none_is_refused_where_it_means_nothing(self, name):
        if not DURATIONS[name][0]:
            with pytest.raises(TypeError, match=f"^{name} must be .+ timedelta, not NoneType"):
                SSEConfig(**{name: None})


class TestWrongValues:
    @of_each_option(WRONG_VALUES)
    def test_are_refused_by_the_option_s_name(self, name, values):
        for value in values:
            assert refusal(ValueError, name, value).startswith(f"{name} must "), value

    @each_of("name", DURATION_NAMES)
    def test_of_durations_are_refused_by_the_option_s_name(self, name):
        infinite = (float("inf"), float("nan"), float("-inf"))
        for value in (-0.001, -1, 10**400, timedelta(seconds=-1), *infinite):
            message = refusal(ValueError, name, value)
            assert message.startswith(f"{name} must be a finite duration"), value

    @pytest.mark.parametrize("value", [0, 0.0, timedelta()])
    def test_no_time_at_all_is_no_event_timeout(self, value):
        with pytest.raises(ValueError, match=r"^event_timeout must be .+ above 0"):
            SSEConfig(event_timeout=value)

    def test_the_choices_are_listed(self):
        with pytest.raises(ValueError, match="'block', 'drop_oldest', 'drop_newest', 'error'"):
            SSEConfig(overflow="drop")
        with pytest.raises(ValueError, match="'always', 'on_error', 'never'"):
            SSEConfig(reconnect="no")


class TestUnknownOptions:
    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("reconection_time", "reconnection_time"),
            ("max_reconnect_attempts", "max_reconnection_attempts"),
            ("on_opened", "on_open"),
            ("buffer_polcy", "buffer_policy"),
        ],
    )
    def test_are_refused_by_name_with_a_suggestion(self, server, wrong, right):
        message = f"SSE has no option '{wrong}'; did you mean '{right}'\\?"
        with HttpClient() as client:
            with pytest.raises(TypeError, match=message):
                client.install(SSE, **{wrong: 1})
            assert client.plugin_or_none(SSE) is None
            client.install(SSE)
            with pytest.raises(TypeError, match=message):
                client.sse(server.url, **{wrong: 1})
        assert server.requests == []

    def test_that_resemble_nothing_are_refused_by_name_alone(self):
        with pytest.raises(TypeError, match=r"^SSE has no option 'colour'$"):
            SSE(colour="red")
        with pytest.raises(TypeError, match=r"^SSE has no option 'colour'$"):
            SSEConfig().replace({"colour": "red"})


class TestFrozen:
    def test_no_option_can_be_set_afterwards(self):
        for name, value in DEFAULTS.items():
            with pytest.raises(dataclasses.FrozenInstanceError, match=name):
                setattr(SSEConfig(), name, value)

    def test_replacing_makes_another(self):
        config = SSEConfig(capacity=7)
        other = config.replace({"reconnection_time": timedelta(seconds=1)})
        assert (config.reconnection_time, config.capacity) == (3.0, 7)
        assert (other.reconnection_time, other.capacity) == (1.0, 7)
        assert config.replace({}) == config


class TestPerCall:
    def test_an_option_of_the_call_wins_over_the_installed_one(self, server):
        with sse_client_for_tests(capacity=7, overflow="error", end_of_stream="x") as client:
            server.serve(["one", "[DONE]"])
            with client.sse(server.url, capacity=3, end_of_stream="[DONE]") as session:
                assert session.incoming.maxsize == 3
                assert session.incoming.overflow == "error"
                assert [event.data for event in session.incoming] == ["one"]
            assert client.plugin(SSE).config.capacity == 7

    def test_the_next_call_has_the_installed_ones_again(self, server):
        with sse_client_for_tests(last_event_id="installed") as client:
            for options in ({"last_event_id": "called"}, {}):
                server.serve([], then="stall")
                client.sse(server.url, **options).close()
        sent = [request.headers["Last-Event-ID"] for request in server.requests]
        assert sent == ["called", "installed"]

    @pytest.mark.parametrize("options", [{"capacity": 0}, {"reconnection_time": -1}])
    def test_a_wrong_value_is_refused_before_anything_is_sent(self, server, options):
        with sse_client_for_tests() as client, pytest.raises(ValueError, match=next(iter(options))):
            client.sse(server.url, **options)
        assert server.requests == []


class TestStreamOptions:
    @pytest.mark.parametrize("method", ["GET", "get", "HEAD", "QUERY", "query"])
    def test_streams_that_may_be_replayed_always_reconnect(self, method):
        assert SSEConfig().stream_options(method).policy.reconnect == "always"

    @pytest.mark.parametrize("method", ["POST", "post", "PUT", "PATCH", "DELETE"])
    def test_others_never_do_unless_they_are_told_to(self, method):
        assert SSEConfig().stream_options(method).policy.reconnect == "never"
        for chosen in ("always", "on_error", "never"):
            options = SSEConfig(reconnect=chosen).stream_options(method)
            assert options.policy.reconnect == chosen

    def test_pass_on_what_concerns_reconnection(self):
        given = {
            "reconnection_time": 1.0,
            "max_reconnection_attempts": 2,
            "reconnect": "on_error",
            "reconnection_backoff": 3.0,
            "max_reconnection_time": 4.0,
            "reconnection_jitter": 0.5,
            "reconnection_deadline": 6.0,
            "retry_statuses": [503],
            "retry_if": hook,
            "retry_first_connection": True,
            "reset_after": 7.0,
        }
        policy = SSEConfig(**given).stream_options("GET").policy
        assert dataclasses.asdict(policy) == {**given, "retry_statuses": frozenset({503})}

    def test_pass_on_the_rest(self):
        def ended(event):
            return event.data == "x"

        options = SSEConfig(
            first_event_timeout=timedelta(minutes=2),
            event_timeout=timedelta(seconds=9),
            total_timeout=timedelta(hours=1),
            counts_as_event=hook,
            end_of_stream=ended,
            error_event=hook,
            content_types=["text/plain"],
            max_error_body=5,
            error_body_timeout=timedelta(seconds=1),
            buffer_policy=BufferPolicy.last_event(),
            last_event_id="7",
            cursor_expired_statuses=[404, 410],
        ).stream_options("GET")
        assert options.limits == TimeLimits(120.0, 9.0, 3600.0, hook)
        assert options.response_rules == ResponseRules(["text/plain"], 5, 1.0)
        assert options.error_event is hook
        assert options.end_of_stream is ended
        assert options.buffer_policy == BufferPolicy.last_event()
        assert options.last_event_id == "7"
        assert options.cursor_expired_statuses == frozenset({404, 410})

    def test_an_end_of_stream_text_is_compared_with_the_whole_data(self):
        is_end = SSEConfig(end_of_stream="[DONE]").stream_options("POST").end_of_stream
        assert is_end(ServerSentEvent("[DONE]"))
        assert not is_end(ServerSentEvent("[DONE] "))
        assert SSEConfig().stream_options("GET").end_of_stream is None

    def test_an_empty_end_of_stream_is_empty_data_and_none_of_the_extras_that_are_shown(self):
        stream = b": note\n\nretry: 1\n\ndata:\n\n"
        shown = {"show_comment_events": True, "show_retry_events": True}
        options = SSEConfig(end_of_stream="", **shown).stream_options("GET")
        events = options.new_parser("", len).feed(stream)
        assert [options.end_of_stream(event) for event in events] == [False, False, True]
        is_end = SSEConfig(end_of_stream="").stream_options("GET").end_of_stream
        assert is_end(ServerSentEvent(comments="beside the data", retry=1))

    def test_make_parsers_that_know_their_options(self):
        comments = []
        config = SSEConfig(show_comment_events=True, show_retry_events=True, max_event_size=100)
        parser = config.stream_options("GET").new_parser("5", comments.append)
        assert parser.last_event_id == "5"
        assert parser.feed(b": note\n\nretry: 1\n\n") == [
            ServerSentEvent(comments="note", id="5"),
            ServerSentEvent(retry=1, id="5"),
        ]
        assert comments == ["note"]
