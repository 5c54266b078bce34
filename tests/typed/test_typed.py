"""Typed sessions: data is decoded when its consumer takes it, and a failure stops no consumer."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import sys
import threading
from dataclasses import dataclass

import msgspec
import pydantic
import pytest
from support import PATIENCE, Running, Signal, fill, sse_client_for_tests

from sse_client import (
    ChannelClosed,
    DeserializationError,
    FileCursor,
    ServerSentEvent,
    SSEConfig,
    TypedServerSentEvent,
)


@dataclass(frozen=True)
class Customer:
    name: str


class Product(pydantic.BaseModel):
    price: float


class Order(msgspec.Struct, frozen=True):
    number: int


class Unknown:
    """A type that no library can decode."""


ADA = '{"name": "Ada"}'
GRACE = '{"name": "Grace"}'
MIXED = [
    ServerSentEvent(ADA, event="customer", id="1"),
    ServerSentEvent('{"price": 2.5}', event="product", id="2"),
    ServerSentEvent("anything", event="other", id="3"),
    ServerSentEvent("text"),
]


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


def serve(server, events):
    server.serve(events)
    server.respond(204)


def without(monkeypatch, *libraries):
    """Pretend that libraries are not installed."""
    for name in libraries:
        monkeypatch.setitem(sys.modules, name, None)


def taken(channel, take):
    """Take all events and decoding errors, in one of the possible ways."""
    found = []
    while True:
        try:
            found.append(take(channel))
        except DeserializationError as error:
            found.append(error)
        except (ChannelClosed, StopIteration):
            return found


TAKES = {
    "next": next,
    "get": lambda channel: channel.get(timeout=PATIENCE),
    "get_nowait": lambda channel: channel.get_nowait(),
}


class TestSessions:
    def test_give_values_by_the_names_of_events(self, server, client):
        serve(server, MIXED)
        with client.sse(server.url, types={"customer": Customer, "product": Product}) as session:
            customer, product, other, text = session.incoming
        assert customer == TypedServerSentEvent(Customer("Ada"), event="customer", id="1")
        assert customer.source == MIXED[0]
        assert product.data == Product(price=2.5)
        assert other == MIXED[2]
        assert text == ServerSentEvent("text", id="3")

    def test_give_values_of_one_type(self, server, client):
        serve(server, [ADA, ServerSentEvent(GRACE, event="customer", retry=5)])
        with client.sse(server.url, types=Customer) as session:
            ada, grace = session.incoming
        assert ada == TypedServerSentEvent(Customer("Ada"))
        assert grace == TypedServerSentEvent(Customer("Grace"), event="customer", retry=5)

    def test_take_the_option_of_the_plugin_and_of_the_call(self, server):
        with sse_client_for_tests(types=Customer) as client:
            for types, expected in [(str, TypedServerSentEvent(ADA)), (None, ServerSentEvent(ADA))]:
                serve(server, [ADA])
                with client.sse(server.url, types=types) as session:
                    assert list(session.incoming) == [expected]
            serve(server, [ADA])
            with client.sse(server.url) as session:
                assert [event.data for event in session.incoming] == [Customer("Ada")]

    def test_leave_text_as_it_is(self, server, client):
        serve(server, ['"quoted"'])
        with client.sse(server.url, types=str) as session:
            assert [event.data for event in session.incoming] == ['"quoted"']

    def test_give_events_without_data_as_they_are(self, server, client):
        serve(server, [b": hello\n\n", b"retry: 7\n\n", f": why\ndata: {ADA}\n\n".encode()])
        shown = {"show_comment_events": True, "show_retry_events": True}
        with client.sse(server.url, types=Customer, **shown) as session:
            comment, retry, customer = session.incoming
        assert comment == ServerSentEvent(comments="hello")
        assert retry == ServerSentEvent(retry=7)
        assert customer == TypedServerSentEvent(Customer("Ada"), comments="why")

    @pytest.mark.parametrize("shown", ["neither", "show_comment_events", "show_retry_events"])
    def test_decode_empty_data_unless_it_may_be_an_extra_that_is_shown(self, server, client, shown):
        serve(server, [b": why\ndata:\n\n", b"retry: 7\ndata:\n\n", b"data:\n\n"])
        options = {} if shown == "neither" else {shown: True}
        with client.sse(server.url, types=str, **options) as session:
            kinds = [type(event) for event in session.incoming]
        expected = [TypedServerSentEvent] * 3
        if options:
            expected[["show_comment_events", "show_retry_events"].index(shown)] = ServerSentEvent
        assert kinds == expected

    def test_look_for_the_end_of_the_stream_in_the_text(self, server, client):
        server.serve([ADA, "[DONE]"], then="stall")
        with client.sse(server.url, types=Customer, end_of_stream="[DONE]") as session:
            assert [event.data for event in session.incoming] == [Customer("Ada")]

    def test_decode_on_the_consumers_thread(self, server, client):
        threads = []

        def deserialize(wanted, data):
            threads.append((threading.get_ident(), wanted, data))
            return data.upper()

        server.serve(["a", "b"], then="stall")
        with client.sse(server.url, types=Customer, deserialize=deserialize) as session:
            fill(session.incoming, 2)
            assert threads == []
            assert [next(session.incoming).data, session.incoming.get().data] == ["A", "B"]
        assert threads == [(threading.get_ident(), Customer, each) for each in "ab"]

    def test_let_several_consumers_decode_at_the_same_time(self, server, client):
        both = threading.Barrier(2, timeout=PATIENCE)

        def deserialize(wanted, data):
            both.wait()  # no lock is held, otherwise the other thread never arrives
            return json.loads(data)

        serve(server, ["1", "2"])
        with client.sse(server.url, types=int, deserialize=deserialize) as session:
            consumers = [Running(lambda: list(session.incoming)) for _ in range(2)]
            taken = [event.data for each in consumers for event in each.outcome()]
        assert sorted(taken) == [1, 2]

    def test_deliver_the_rest_when_they_are_drained(self, server, client):
        server.serve([ADA, GRACE], then="stall")
        with client.sse(server.url, types=Customer) as session:
            fill(session.incoming, 2)
            session.close(drain=True)
            assert [event.data.name for event in session.incoming] == ["Ada", "Grace"]

    def test_take_events_of_ones_own(self, server, client):
        server.serve([], then="stall")
        with client.sse(server.url, types=Customer) as session:
            mine = TypedServerSentEvent(Customer("mine"))
            session.incoming.put(mine)
            session.incoming.put(ServerSentEvent(ADA))
            assert session.incoming.get() is mine
            assert session.incoming.get().data == Customer("Ada")

    @pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
    def test_hand_over_what_is_no_event_as_it_is(self, server, client, take):
        server.serve([], then="stall")
        with client.sse(server.url, types=Customer) as session:
            for item in (None, "stop", ("a", "tuple")):
                session.incoming.put(item)
                assert take(session.incoming) is item

    def test_hand_themselves_to_hooks_when_only_the_channel_is_held(self, server, client):
        commented = Signal()

        def on_comment(session, _):
            commented(session.deserialize(Customer, ADA))
            session.close()

        opening = Running(
            lambda: client.sse(server.url, types=Customer, on_comment=on_comment).incoming
        )
        exchange = server.accept()
        exchange.open()
        opening.outcome()
        exchange.comment("hello")
        commented.await_()
        assert commented.calls == [(Customer("Ada"),)]


class TestFailures:
    @pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
    def test_are_raised_in_place_of_the_event(self, server, client, take):
        wrong = ServerSentEvent("nonsense", event="customer", id="2")
        serve(server, [ServerSentEvent(ADA, id="1"), wrong, ServerSentEvent(GRACE, id="3")])
        with client.sse(server.url, types=Customer) as session:
            fill(session.incoming, 3)
            channel = session.incoming
            first, error, last = take(channel), None, None
            with pytest.raises(DeserializationError) as caught:
                take(channel)
            error = caught.value
            last = take(channel)
            assert taken(channel, TAKES["get"]) == []
        assert (first.data.name, last.data.name) == ("Ada", "Grace")
        assert error.event == wrong
        assert str(error).startswith("the data of an event 'customer' cannot be decoded: ")
        assert "nonsense" not in str(error)
        assert isinstance(error.__cause__, ValueError)

    def test_do_not_end_a_loop_that_is_begun_again(self, server, client):
        serve(server, ["1", "x", "2", "y"])
        found, wrong = [], []
        with client.sse(server.url, types=int) as session:
            while True:
                try:
                    for event in session.incoming:
                        found.append(event.data)  # noqa: PERF401  # as users write it
                    break
                except DeserializationError as error:
                    wrong.append(error.event.data)
        assert (found, wrong) == ([1, 2], ["x", "y"])

    def test_of_a_function_of_ones_own_are_chained(self, server, client):
        def deserialize(wanted, data):
            raise LookupError(data)

        serve(server, ["x"])
        with (
            client.sse(server.url, types=int, deserialize=deserialize) as session,
            pytest.raises(DeserializationError, match="LookupError") as caught,
        ):
            next(session.incoming)
        assert isinstance(caught.value.__cause__, LookupError)

    def test_leave_room_to_the_reader(self, server, client):
        serve(server, ["x"] * 20)
        with client.sse(server.url, types=int, capacity=1) as session:
            found = taken(session.incoming, next)
        assert [type(each) for each in found] == [DeserializationError] * 20

    def test_travel_to_another_process(self):
        error = DeserializationError("it failed", event=MIXED[0])
        copied = pickle.loads(pickle.dumps(error))
        assert (str(copied), copied.event) == ("it failed", MIXED[0])


class TestTasks:
    def test_get_values_and_go_on_after_what_cannot_be_decoded(self, server, client):
        serve(server, [ADA, "no JSON", GRACE])

        async def main():
            async with client.sse_async(server.url, types=Customer) as session:
                assert (await anext(session.incoming)).data == Customer("Ada")
                with pytest.raises(DeserializationError) as caught:
                    await anext(session.incoming)
                assert caught.value.event == ServerSentEvent("no JSON")
                return [event.data async for event in session.incoming]

        assert asyncio.run(main()) == [Customer("Grace")]


class TestPositions:
    def test_move_over_events_that_cannot_be_decoded(self, server, client, tmp_path):
        cursor = FileCursor(tmp_path / "position.json")
        serve(server, [ServerSentEvent(data, id=id) for data, id in [("1", "1"), ("x", "2")]])
        with client.sse(server.url, types=int, cursor=cursor) as session:
            assert next(session.incoming).data == 1
            with pytest.raises(DeserializationError):
                next(session.incoming)
            assert json.loads((tmp_path / "position.json").read_text())["last_event_id"] == "1"
            assert list(session.incoming) == []
        assert json.loads((tmp_path / "position.json").read_text())["last_event_id"] == "2"

    def test_move_by_acknowledging_typed_events_and_those_that_failed(
        self, server, client, tmp_path
    ):
        path = tmp_path / "position.json"
        events = [("1", "1"), ("x", "2"), ("3", "3")]
        server.serve([ServerSentEvent(data, id=id) for data, id in events], then="stall")
        options = {"cursor": FileCursor(path), "auto_acknowledge": False}
        with client.sse(server.url, types=int, **options) as session:
            first = next(session.incoming)
            with pytest.raises(DeserializationError) as caught:
                next(session.incoming)
            last = next(session.incoming)
            for event, position in [(first, "1"), (caught.value.event, "2"), (last, "3")]:
                session.acknowledge(pickle.loads(pickle.dumps(event)))
                assert json.loads(path.read_text())["last_event_id"] == position
            with pytest.raises(ValueError, match="it did not come from a stream"):
                session.acknowledge(TypedServerSentEvent(3, id="3"))
            with pytest.raises(ValueError, match="already acknowledged"):
                session.acknowledge(last)


class TestDeserialize:
    def test_decodes_text_in_any_session(self, server, client):
        server.serve([], then="stall")
        with client.sse(server.url) as session:
            assert session.deserialize(Customer, ADA) == Customer("Ada")
            assert session.deserialize(list[Order], '[{"number": 1}]') == [Order(1)]
            assert session.deserialize(str, "text") == "text"
            with pytest.raises(DeserializationError, match="the data cannot be decoded") as caught:
                session.deserialize(Customer, "nonsense")
            assert caught.value.event is None
            with pytest.raises(TypeError, match="data must be a str, not bytes"):
                session.deserialize(Customer, b"{}")
            with pytest.raises(TypeError, match=r"no data can be decoded as .*Unknown"):
                session.deserialize(Unknown, "{}")

    def test_uses_the_function_of_ones_own(self, server, client):
        server.serve([], then="stall")
        with client.sse(server.url, deserialize=lambda wanted, data: (wanted, data)) as session:
            assert session.deserialize(int, "1") == (int, "1")


class TestLibraries:
    @pytest.mark.parametrize(
        ("wanted", "data", "expected"),
        [
            (Product, '{"price": 1}', Product(price=1.0)),
            (list[Product], '[{"price": 1}]', [Product(price=1.0)]),
            (Order, '{"number": 1}', Order(1)),
            (dict[str, Order], '{"a": {"number": 1}}', {"a": Order(1)}),
        ],
    )
    def test_are_chosen_by_the_type(self, server, client, wanted, data, expected):
        serve(server, [data])
        with client.sse(server.url, types=wanted) as session:
            assert [event.data for event in session.incoming] == [expected]

    @pytest.mark.parametrize(
        ("missing", "decoded"),
        [
            ((), 1),  # pydantic converts a string to an int
            (("pydantic",), "ValidationError"),
            (("pydantic", "msgspec"), "ValueError"),
        ],
    )
    def test_are_chosen_by_what_is_installed(self, server, client, monkeypatch, missing, decoded):
        @dataclass
        class Counted:  # a new type each time, because decoders are cached
            count: int

        without(monkeypatch, *missing)
        serve(server, ['{"count": "1"}', '{"count": 2}'])
        with client.sse(server.url, types=Counted) as session:
            first, second = taken(session.incoming, next)
        got = type(first.__cause__).__name__ if isinstance(first, Exception) else first.data.count
        assert got == decoded
        assert second.data == Counted(2)

    @pytest.mark.parametrize("library", ["pydantic", "msgspec", "json"])
    def test_can_be_named(self, server, client, library):
        serve(server, [ADA])
        with client.sse(server.url, types=Customer, deserialize=library) as session:
            assert [event.data for event in session.incoming] == [Customer("Ada")]

    @pytest.mark.parametrize("library", ["pydantic", "msgspec"])
    def test_that_are_named_and_missing_are_told_with_their_extra(self, monkeypatch, library):
        class Fresh:
            pass

        without(monkeypatch, library)
        with pytest.raises(ImportError, match=rf"pip install 'sse-client\[{library}\]'") as caught:
            SSEConfig(types=Fresh, deserialize=library)
        assert caught.value.name == library

    def test_that_could_help_are_told_with_their_extra(self, monkeypatch):
        without(monkeypatch, "pydantic", "msgspec")
        with pytest.raises(TypeError, match=r"types: .*plain JSON cannot be decoded") as caught:
            SSEConfig(types={"a": set[bytes]})
        assert "pip install 'sse-client[pydantic]'" in str(caught.value)
        assert "pip install 'sse-client[msgspec]'" in str(caught.value)

    @pytest.mark.parametrize(
        ("wanted", "library"),
        [
            *((Unknown, None), (Unknown, "pydantic"), (Unknown, "msgspec"), (Unknown, "json")),
            *((Product, "msgspec"), (dict[str, Product], "msgspec"), (Order, "pydantic")),
            *((Order, "json"), (7, None)),
        ],
    )
    def test_that_cannot_do_a_type_refuse_it_at_once(self, wanted, library):
        with pytest.raises(TypeError, match=r"^types: "):
            SSEConfig(types=wanted, deserialize=library)

    def test_are_asked_about_types_that_hold_themselves(self):
        SSEConfig(types=Linked, deserialize="msgspec")

    def test_take_types_that_have_no_hash(self):
        from typing import Annotated

        SSEConfig(types=Annotated[int, []], deserialize="json")

    @pytest.mark.parametrize("wanted", ["Customer", {"a": "Customer"}, b"x"])
    def test_want_the_type_itself(self, wanted):
        with pytest.raises(TypeError, match=r"^types: give the type itself, not its name"):
            SSEConfig(types=wanted)

    def test_want_names_of_events(self):
        with pytest.raises(TypeError, match="types must have event names as keys, not 1"):
            SSEConfig(types={1: int})

    def test_are_not_imported_without_types(self, monkeypatch):
        without(monkeypatch, "pydantic", "msgspec")
        SSEConfig()


class Linked(msgspec.Struct):
    after: Linked | None = None


class TestTypedServerSentEvent:
    def test_is_a_value(self):
        event = TypedServerSentEvent(Customer("Ada"), "customer", "1", 5, "why", MIXED[0])
        same = TypedServerSentEvent(Customer("Ada"), "customer", "1", 5, "why")
        assert event == same
        assert hash(event) == hash(same)
        assert event != TypedServerSentEvent(Customer("Ada"))
        assert event != MIXED[0]
        assert repr(event) == (
            "TypedServerSentEvent(data=Customer(name='Ada'), event='customer', id='1', retry=5, "
            "comments='why')"
        )

    def test_cannot_be_changed(self):
        event = TypedServerSentEvent(1)
        for name in ("data", "event", "source"):
            with pytest.raises(AttributeError):
                setattr(event, name, "x")
        with pytest.raises((AttributeError, TypeError)):
            event.other = 1

    def test_is_hashable_only_if_its_data_is(self):
        with pytest.raises(TypeError, match="unhashable"):
            hash(TypedServerSentEvent([1]))

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event))]
    )
    def test_can_be_copied_and_pickled(self, duplicate):
        event = TypedServerSentEvent(Customer("Ada"), "customer", "1", source=MIXED[0])
        copied = duplicate(event)
        assert copied == event
        assert copied.source == MIXED[0]

    def test_can_be_matched(self):
        match TypedServerSentEvent(Customer("Ada"), "customer"):
            case TypedServerSentEvent(Customer(name), "customer"):
                assert name == "Ada"
            case _:
                pytest.fail("it does not match")

    def test_can_be_annotated(self):
        assert TypedServerSentEvent[Customer](Customer("Ada")).data == Customer("Ada")
