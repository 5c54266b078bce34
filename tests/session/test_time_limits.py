"""The time limits of a stream: its first event, the next ones, and the whole stream."""

from __future__ import annotations

import pytest
from support import PATIENCE, Running, sse_client_for_tests

from sse_client import (
    IdleTimeoutError,
    ReconnectionExhaustedError,
    ServerSentEvent,
    StreamInterruptedError,
    TotalTimeoutError,
)

URL = "https://api.example.com/events"

PING = ServerSentEvent("", event="ping")


def is_event(event):
    return event.event != "ping"


@pytest.fixture
def client(sse_memory):
    with sse_memory.client(reconnect="never") as made:
        yield made


class TestFirstEventTimeout:
    def test_bounds_the_wait_for_the_first_event(self, client, sse_memory, sse_clock):
        sse_memory.serve([], then="stall")
        with client.sse(URL, first_event_timeout=300) as session:
            assert sse_clock.wait_for_sleepers() == (300,)
            sse_clock.advance(300)
            with pytest.raises(IdleTimeoutError) as caught:
                session.incoming.get(timeout=PATIENCE)
            assert caught.value.timeout == 300

    def test_does_not_bound_the_wait_for_the_second(self, client, sse_memory, sse_clock):
        sse_memory.serve(["one"], then="stall")
        with client.sse(URL, first_event_timeout=300, event_timeout=2) as session:
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            assert sse_clock.wait_for_sleepers() == (2,)
            sse_clock.advance(2)
            with pytest.raises(IdleTimeoutError) as caught:
                session.incoming.get(timeout=PATIENCE)
            assert caught.value.timeout == 2

    def test_replaces_event_timeout_until_then(self, client, sse_memory, sse_clock):
        opening = Running(lambda: client.sse(URL, first_event_timeout=300, event_timeout=2))
        exchange = sse_memory.accept()
        exchange.open()
        with opening.outcome() as session:
            assert sse_clock.wait_for_sleepers() == (300,)
            sse_clock.advance(299)
            exchange.send("one")
            assert session.incoming.get(timeout=PATIENCE).data == "one"

    def test_lets_the_second_take_any_time_without_event_timeout(
        self, client, sse_memory, sse_clock
    ):
        opening = Running(lambda: client.sse(URL, first_event_timeout=300))
        exchange = sse_memory.accept()
        exchange.send("one")
        with opening.outcome() as session:
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            sse_clock.advance(10_000)
            exchange.send("two")
            assert session.incoming.get(timeout=PATIENCE).data == "two"

    def test_holds_for_each_connection(self, sse_memory, sse_clock):
        sse_memory.serve(["one"], then="reset")
        sse_memory.serve([], then="stall")
        with (
            sse_memory.client(
                reconnection_time=1, max_reconnection_attempts=1, reset_after=1000
            ) as client,
            client.sse(URL, first_event_timeout=300) as session,
        ):
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            assert sse_clock.advance_to_next() == 1
            assert sse_clock.advance_to_next() == 300
            with pytest.raises(ReconnectionExhaustedError) as caught:
                session.incoming.get(timeout=PATIENCE)
            assert isinstance(caught.value.last_cause, IdleTimeoutError)

    def test_bounds_the_header_too(self, server):
        with sse_client_for_tests(first_event_timeout=0.1, reconnect="never") as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            error = opening.outcome()
            assert "header" in str(error)
            assert exchange.wait_closed()

    def test_is_longer_than_event_timeout_for_the_header(self, server):
        with sse_client_for_tests(
            first_event_timeout=PATIENCE, event_timeout=0.05, reconnect="never"
        ) as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            opening._thread.join(0.2)  # four times what event_timeout alone would allow
            exchange.send("one")
            with opening.outcome() as session:
                assert session.incoming.get(timeout=PATIENCE).data == "one"


class TestCountsAsEvent:
    def test_leaves_pings_out_of_event_timeout(self, client, sse_memory, sse_clock):
        opening = Running(lambda: client.sse(URL, event_timeout=10, counts_as_event=is_event))
        exchange = sse_memory.accept()
        exchange.send("one")
        with opening.outcome() as session:
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            assert sse_clock.wait_for_sleepers() == (10,)
            sse_clock.advance(6)
            exchange.send("", event="ping")
            assert session.incoming.get(timeout=PATIENCE) == PING
            assert sse_clock.wait_for_sleepers() == (4,)
            sse_clock.advance(4)
            with pytest.raises(IdleTimeoutError) as caught:
                session.incoming.get(timeout=PATIENCE)
            assert caught.value.timeout == 10

    def test_leaves_pings_out_of_first_event_timeout(self, client, sse_memory, sse_clock):
        opening = Running(
            lambda: client.sse(
                URL, first_event_timeout=100, event_timeout=10, counts_as_event=is_event
            )
        )
        exchange = sse_memory.accept()
        exchange.send("", event="ping")
        with opening.outcome() as session:
            assert session.incoming.get(timeout=PATIENCE) == PING
            assert sse_clock.wait_for_sleepers() == (100,)

    def test_that_raises_ends_the_stream_after_the_events(self, client, sse_memory):
        def counts(_):
            raise LookupError("no")

        sse_memory.serve(["one"], then="stall")
        with client.sse(URL, event_timeout=10, counts_as_event=counts) as session:
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            with pytest.raises(LookupError):
                session.incoming.get(timeout=PATIENCE)


class TestTotalTimeout:
    def test_ends_a_stream_that_sends_events_all_the_time(self, client, sse_memory, sse_clock):
        opening = Running(lambda: client.sse(URL, total_timeout=60))
        exchange = sse_memory.accept()
        exchange.open()
        with opening.outcome() as session:
            for _ in range(3):
                exchange.send("one")
                assert session.incoming.get(timeout=PATIENCE).data == "one"
                sse_clock.wait_for_sleepers()
                sse_clock.advance(20)
            with pytest.raises(TotalTimeoutError) as caught:
                session.incoming.get(timeout=PATIENCE)
            assert caught.value.timeout == 60
            assert session.error is caught.value
            assert exchange.wait_closed()

    def test_bounds_the_call_of_sse(self, client, sse_memory, sse_clock):
        opening = Running(lambda: client.sse(URL, total_timeout=60))
        exchange = sse_memory.accept()
        assert sse_clock.wait_for_sleepers() == (60,)
        sse_clock.advance(60)
        assert isinstance(opening.outcome(), TotalTimeoutError)
        assert exchange.wait_closed()

    def test_bounds_outages(self, sse_memory, sse_clock):
        sse_memory.serve(["one"], then="reset")
        with (
            sse_memory.client(reconnection_time=100) as client,
            client.sse(URL, total_timeout=60) as session,
        ):
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            assert sse_clock.advance_to_next() == 60
            with pytest.raises(TotalTimeoutError) as caught:
                session.incoming.get(timeout=PATIENCE)
            assert isinstance(caught.value.__cause__, StreamInterruptedError)
        assert len(sse_memory.requests) == 1

    def test_bounds_the_wait_for_room_and_loses_nothing_that_has_arrived(
        self, client, sse_memory, sse_clock
    ):
        sse_memory.serve(["one", "two", "three"], then="stall")
        with client.sse(URL, total_timeout=60, capacity=1) as session:
            assert sse_clock.wait_for_sleepers() == (60,)
            sse_clock.advance(60)
            received = []
            with pytest.raises(TotalTimeoutError):
                received.extend(event.data for event in session.incoming)
            assert received == ["one", "two", "three"]

    def test_is_not_a_reason_to_reconnect(self, sse_memory, sse_clock):
        sse_memory.serve(["one"], then="stall")
        asked = []
        with (
            sse_memory.client(
                reconnection_time=1, retry_if=lambda *given: asked.append(given) or True
            ) as client,
            client.sse(URL, total_timeout=60) as session,
        ):
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            assert sse_clock.advance_to_next() == 60
            with pytest.raises(TotalTimeoutError):
                session.incoming.get(timeout=PATIENCE)
        assert asked == []

    def test_is_counted_over_connections(self, sse_memory, sse_clock):
        sse_memory.serve(["one"], then="reset")
        sse_memory.serve(["two"], then="stall")
        with (
            sse_memory.client(reconnection_time=10) as client,
            client.sse(URL, total_timeout=60) as session,
        ):
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            assert sse_clock.advance_to_next() == 10
            assert session.incoming.get(timeout=PATIENCE).data == "two"
            assert sse_clock.wait_for_sleepers() == (50,)

    def test_that_is_shorter_than_event_timeout_is_the_one_to_blame(
        self, client, sse_memory, sse_clock
    ):
        sse_memory.serve(["one"], then="stall")
        with client.sse(URL, total_timeout=5, event_timeout=10, timeout=7) as session:
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            assert sse_clock.advance_to_next() == 5
            with pytest.raises(TotalTimeoutError):
                session.incoming.get(timeout=PATIENCE)

    def test_ends_a_real_stream(self, server):
        server.handler = lambda exchange: (exchange.send("one"), exchange.stall())
        received = []
        # On a busy machine the time may expire before the event, or even before the response.
        with (
            sse_client_for_tests(total_timeout=0.2) as client,
            pytest.raises(TotalTimeoutError),
            client.sse(server.url) as session,
        ):
            received.extend(event.data for event in session.incoming)
        assert received in ([], ["one"])

    def test_ends_a_stream_of_heartbeats(self, server):
        def respond(exchange):
            exchange.open()
            try:
                while True:
                    exchange.comment("")
            except ConnectionError:
                pass

        server.handler = respond
        with (
            sse_client_for_tests(total_timeout=0.2) as client,
            pytest.raises(TotalTimeoutError),
            client.sse(server.url) as session,
        ):
            session.incoming.get(timeout=PATIENCE)

    @pytest.mark.parametrize("slow", ["header", "silence"])
    def test_ends_a_real_call(self, server, slow):
        def respond(exchange):
            if slow == "header":
                exchange.write_raw(b"HTTP/1.1 200 OK\r\n")
            exchange.wait_closed()

        server.handler = respond
        with sse_client_for_tests(total_timeout=0.2) as client:
            outcome = Running(lambda: client.sse(server.url)).outcome()
            assert isinstance(outcome, TotalTimeoutError)
