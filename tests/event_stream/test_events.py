"""Events as values, and in the wire format."""

from __future__ import annotations

import copy
import enum
import json
import pickle
from typing import Any

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tables import each_of

from sse_client.event_stream.events import MAX_RETRY_DIGITS, ServerSentEvent
from sse_client.event_stream.parser import EventStreamParser

FIELDS = ("data", "event", "id", "retry", "comments")
LARGEST_RETRY = 10**MAX_RETRY_DIGITS - 1

#: Characters with a meaning in the format, and those that other code treats as line breaks.
_TRICKY = [
    *(" ", ":", ": ", "data", "data: ", "id", "message", "\ufeff", "\ufffd"),
    *("\u2028", "\u2029", "\u0085", "\v", "\f", "\x1c", "\t"),
    *("\u00e9", "\u20ac", "\U0001f600", "a", "0", ""),
    *("\n", "\n\n", "\0"),
]


def texts(*, without: str) -> st.SearchStrategy[str]:
    """Return a strategy for valid texts without these characters."""
    allowed = [text for text in _TRICKY if not set(text) & set(without)]
    plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=without))
    return st.lists(st.sampled_from(allowed), max_size=8).map("".join) | plain


events = st.builds(
    ServerSentEvent,
    data=texts(without="\r"),
    event=st.just("message") | texts(without="\r\n"),
    id=st.just("") | texts(without="\r\n\0"),
    retry=st.none() | st.integers(0, LARGEST_RETRY),
    comments=st.none() | texts(without="\r"),
)


def parse(text: str, *, extras: bool) -> list[ServerSentEvent]:
    parser = EventStreamParser(show_comment_events=extras, show_retry_events=extras)
    return parser.feed(text.encode())


def is_an_extra(event: ServerSentEvent) -> bool:
    has_data = bool(event.data) or event.event != "message"
    return not has_data and (event.comments is None) != (event.retry is None)


class TestWireFormat:
    @settings(deadline=None, max_examples=examples(500))
    @given(events)
    @example(ServerSentEvent())
    @example(ServerSentEvent("\n"))
    @example(ServerSentEvent("\ufeff"))
    @example(ServerSentEvent(comments=""))
    @example(ServerSentEvent(comments="\n", retry=0))
    @example(ServerSentEvent(retry=LARGEST_RETRY, id="1"))
    @example(ServerSentEvent("", "update", " 1", 10, " a\n\nb"))
    def test_gives_the_event_back(self, event: ServerSentEvent) -> None:
        assert parse(str(event), extras=True) == [event]
        assert parse(str(event), extras=False) == ([] if is_an_extra(event) else [event])

    @settings(deadline=None)
    @given(st.lists(events, max_size=4))
    def test_can_be_put_one_behind_the_other(self, several: list[ServerSentEvent]) -> None:
        stream = "".join(str(event) for event in several)
        expected = []
        last_event_id = ""
        for event in several:
            last_event_id = event.id or last_event_id
            data, kind, _, retry, comments = event
            expected.append(ServerSentEvent(data, kind, last_event_id, retry, comments))
        assert parse(stream, extras=True) == expected

    @settings(deadline=None)
    @given(events)
    def test_has_no_line_end_but_lf_and_one_blank_line_at_the_end(
        self, event: ServerSentEvent
    ) -> None:
        text = str(event)
        assert "\r" not in text
        assert text.endswith("\n\n")

    @each_of(
        ("event", "text"),
        [
            (ServerSentEvent(), "data:\n\n"),
            (ServerSentEvent("a"), "data: a\n\n"),
            (ServerSentEvent(" a\n\nb\n"), "data:  a\ndata:\ndata: b\ndata:\n\n"),
            (ServerSentEvent("a", "message"), "data: a\n\n"),
            (
                ServerSentEvent("a", "update", "1", 10, "c\n"),
                "event: update\nid: 1\nretry: 10\n: c\n:\ndata: a\n\n",
            ),
            (ServerSentEvent(comments="c"), ": c\n\n"),
            (ServerSentEvent(comments=""), ":\n\n"),
            (ServerSentEvent(retry=10), "retry: 10\n\n"),
            (ServerSentEvent(retry=10, id="1"), "id: 1\n\nretry: 10\n\n"),
            (ServerSentEvent(comments="c", id="1"), "id: 1\n\n: c\n\n"),
            (ServerSentEvent(comments="c", retry=10), "retry: 10\n: c\ndata:\n\n"),
            (ServerSentEvent("", "update"), "event: update\ndata:\n\n"),
        ],
    )
    def test_is_written_in_one_way(self, event: ServerSentEvent, text: str) -> None:
        assert str(event) == text
        assert f"{event}" == text

    @settings(deadline=None)
    @given(texts(without="\r"), st.just("") | texts(without="\r\n\0"))
    def test_a_heartbeat_stays_a_heartbeat(self, comments: str, last_event_id: str) -> None:
        event = ServerSentEvent(comments=comments, id=last_event_id)
        parser = EventStreamParser()
        assert parser.feed(str(event).encode()) == []
        assert parser.last_event_id == last_event_id

    def test_a_retry_alone_dispatches_nothing(self) -> None:
        parser = EventStreamParser(show_comment_events=True)
        assert parser.feed(str(ServerSentEvent(retry=10, id="1")).encode()) == []
        assert parser.last_event_id == "1"
        assert parser.reconnection_time == 10

    def test_members_of_enumerations_are_written_by_value(self) -> None:
        class Kind(str, enum.Enum):
            UPDATE = "update"

        event = ServerSentEvent(Kind.UPDATE, Kind.UPDATE, Kind.UPDATE, 10, Kind.UPDATE)
        assert str(event) == "event: update\nid: update\nretry: 10\n: update\ndata: update\n\n"


class TestFields:
    def test_are_empty_unless_given(self) -> None:
        event = ServerSentEvent()
        assert event.data == ""
        assert event.event == "message"
        assert event.id == ""
        assert event.retry is None
        assert event.comments is None

    def test_are_taken_in_the_order_of_ktor(self) -> None:
        event = ServerSentEvent("d", "e", "i", 1, "c")
        by_name = ServerSentEvent(data="d", event="e", id="i", retry=1, comments="c")
        assert event == by_name
        assert (event.data, event.event, event.id, event.retry, event.comments) == event[:]

    def test_an_empty_event_type_is_message(self) -> None:
        assert ServerSentEvent("a", "") == ServerSentEvent("a", "message")

    @pytest.mark.parametrize("name", [*FIELDS, "other"])
    def test_cannot_be_set(self, name: str) -> None:
        event = ServerSentEvent("a")
        with pytest.raises(AttributeError):
            setattr(event, name, "b")
        with pytest.raises(AttributeError):
            delattr(event, name)
        assert event == ServerSentEvent("a")

    def test_have_no_dictionary_beside_them(self) -> None:
        assert not hasattr(ServerSentEvent(), "__dict__")

    def test_unknown_ones_are_refused(self) -> None:
        with pytest.raises(TypeError, match="name"):
            ServerSentEvent(name="update")  # type: ignore[call-arg]  # what is tested


class TestChecks:
    @each_of("name", ["data", "event", "id", "comments"])
    @each_of("value", [b"a", 1, ["a"], True])
    def test_texts_must_be_str(self, name: str, value: Any) -> None:
        with pytest.raises(TypeError, match=f"^{name} must be a str, not {type(value).__name__}$"):
            ServerSentEvent(**{name: value})

    @pytest.mark.parametrize("name", ["data", "event", "id"])
    def test_only_comments_and_retry_may_be_none(self, name: str) -> None:
        with pytest.raises(TypeError, match=f"^{name} must be a str, not NoneType$"):
            ServerSentEvent(**{name: None})  # type: ignore[arg-type]  # what is tested

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("data", "a\rb"),
            ("data", "a\r\n"),
            ("event", "\r"),
            ("event", "a\nb"),
            ("id", "a\r"),
            ("id", "\n"),
            ("comments", "a\rb"),
        ],
    )
    def test_line_breaks_that_cannot_be_written_are_refused(self, name: str, value: str) -> None:
        with pytest.raises(ValueError, match=f"^{name} cannot hold this line break"):
            ServerSentEvent(**{name: value})  # type: ignore[arg-type]  # always a str

    @pytest.mark.parametrize("value", ["\0", "a\0b"])
    def test_a_null_in_the_id_is_refused(self, value: str) -> None:
        with pytest.raises(ValueError, match=r"^id cannot hold a null"):
            ServerSentEvent(id=value)

    def test_a_null_elsewhere_is_none_of_its_business(self) -> None:
        event = ServerSentEvent("\0", "\0", comments="\0")
        assert parse(str(event), extras=False) == [event]

    @pytest.mark.parametrize("name", ["data", "event", "id", "comments"])
    def test_a_lone_surrogate_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"^{name} cannot hold a lone surrogate"):
            ServerSentEvent(**{name: "a\ud800"})  # type: ignore[arg-type]  # always a str

    @pytest.mark.parametrize("value", ["1", 1.0, b"1", True, False])
    def test_retry_must_be_an_int(self, value: Any) -> None:
        with pytest.raises(TypeError, match=rf"^retry must be an int.*{type(value).__name__}$"):
            ServerSentEvent(retry=value)

    @pytest.mark.parametrize("value", [-1, LARGEST_RETRY + 1])
    def test_retry_must_be_in_range(self, value: int) -> None:
        with pytest.raises(ValueError, match=rf"^retry must be from 0 to .*, not {value}$"):
            ServerSentEvent(retry=value)

    def test_a_message_does_not_repeat_a_long_value(self) -> None:
        with pytest.raises(ValueError, match="data") as caught:
            ServerSentEvent("x" * 10_000 + "\r")
        assert len(str(caught.value)) < 200


class TestComparison:
    @settings(deadline=None)
    @given(events, events)
    def test_compares_all_fields(self, one: ServerSentEvent, other: ServerSentEvent) -> None:
        same = all(getattr(one, name) == getattr(other, name) for name in FIELDS)
        assert (one == other) is same
        assert (one != other) is not same
        if same:
            assert hash(one) == hash(other)

    @pytest.mark.parametrize(
        "other",
        [
            ServerSentEvent("b", "e", "i", 1, "c"),
            ServerSentEvent("a", "f", "i", 1, "c"),
            ServerSentEvent("a", "e", "j", 1, "c"),
            ServerSentEvent("a", "e", "i", 2, "c"),
            ServerSentEvent("a", "e", "i", 1, "d"),
        ],
    )
    def test_each_field_makes_a_difference(self, other: ServerSentEvent) -> None:
        event = ServerSentEvent("a", "e", "i", 1, "c")
        assert event != other
        assert not event == other  # noqa: SIM201 - the other operator

    def test_a_tuple_is_no_event(self) -> None:
        event = ServerSentEvent("a")
        plain = ("a", "message", "", None, None)
        assert event != plain
        assert plain != event
        assert not event == plain  # noqa: SIM201 - the other operator
        assert not plain == event  # noqa: SIM201 - the other operator

    def test_an_event_of_a_subclass_is_another(self) -> None:
        class Special(ServerSentEvent):
            __slots__ = ()

        assert Special("a") == Special("a")
        assert Special("a") != ServerSentEvent("a")
        assert ServerSentEvent("a") != Special("a")

    @pytest.mark.parametrize("other", [None, "a", 1, object()])
    def test_nothing_else_is_an_event(self, other: object) -> None:
        assert ServerSentEvent("a") != other
        assert other != ServerSentEvent("a")

    def test_the_other_side_may_decide(self) -> None:
        class Anything:
            def __eq__(self, _other: object) -> bool:
                return True

            def __ne__(self, _other: object) -> bool:
                return False

            __hash__ = None  # type: ignore[assignment]  # not hashable

        assert ServerSentEvent("a") == Anything()
        assert not ServerSentEvent("a") != Anything()  # noqa: SIM202 - the other operator

    def test_can_be_members_and_keys(self) -> None:
        several = [ServerSentEvent("a"), ServerSentEvent("b"), ServerSentEvent("a")]
        assert len(set(several)) == 2
        assert {several[0]: 1}[several[2]] == 1


class TestCopies:
    def test_with_fields_changed_are_checked_like_any_other(self) -> None:
        event = ServerSentEvent("d", "e", "i", 1, "c")
        assert event.__replace__(id="j") == ServerSentEvent("d", "e", "j", 1, "c")
        with pytest.raises(ValueError, match="id cannot hold"):
            event.__replace__(id="\0")
        with pytest.raises(TypeError, match="nonsense"):
            event.__replace__(nonsense=1)

    @settings(deadline=None)
    @given(events)
    def test_equal_the_event(self, event: ServerSentEvent) -> None:
        copies = [copy.copy(event), copy.deepcopy(event), eval(repr(event))]
        copies += [
            pickle.loads(pickle.dumps(event, protocol))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ]
        for twin in copies:
            assert type(twin) is ServerSentEvent
            assert twin == event

    def test_of_a_parsed_event_equal_it(self) -> None:
        stream = (
            b"id: \xff\nevent: a\0\nretry: 99999999999999999999\n: \0\xff\ndata: \0\xed\xa0\x80"
        )
        (event,) = EventStreamParser().feed(stream + b"\n\n")
        assert pickle.loads(pickle.dumps(event)) == event
        assert copy.deepcopy(event) == event
        assert parse(str(event), extras=False) == [event]

    def test_the_repr_names_each_field(self) -> None:
        assert repr(ServerSentEvent("a", id="1")) == (
            "ServerSentEvent(data='a', event='message', id='1', retry=None, comments=None)"
        )


class TestJson:
    @pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True]}, [], "a", 1, None, "\u20ac"])
    def test_is_decoded(self, value: object) -> None:
        assert ServerSentEvent(json.dumps(value)).json() == value

    def test_may_span_data_lines(self) -> None:
        assert ServerSentEvent('{"a":\n1}').json() == {"a": 1}

    @pytest.mark.parametrize("data", ["", "[DONE]", "{", "nul"])
    def test_that_is_none_is_refused(self, data: str) -> None:
        with pytest.raises(json.JSONDecodeError):
            ServerSentEvent(data).json()
