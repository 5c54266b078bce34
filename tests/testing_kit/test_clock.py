"""The manual clock: waiting for it, waking threads, and its use by a session."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import PATIENCE, Running, Signal

from sse_client import (
    SSE,
    HttpClient,
    IdleTimeoutError,
    ReconnectionExhaustedError,
    UnexpectedStatusError,
)
from sse_client.clock import SYSTEM_CLOCK, Clock, Doorbell
from sse_client.testing import InMemoryServer, ManualClock, SSEServer

URL = "https://api.example.com/events"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def memory(clock):
    with InMemoryServer(clock=clock) as server:
        yield server


def sleeping(clock: ManualClock, deadline: float) -> tuple[Running, Doorbell]:
    """A thread that waits for the clock, and the doorbell that also wakes it."""
    doorbell = Doorbell()
    return Running(lambda: clock.wait_until(doorbell, deadline)), doorbell


def open_stream(memory: InMemoryServer, client: HttpClient, **arguments):
    """A session whose stream is open, and the exchange with which the test continues."""
    opening = Running(lambda: client.sse(URL, **arguments))
    exchange = memory.accept()
    exchange.open()
    return opening.outcome(), exchange


class TestTheClockItself:
    def test_begins_at_zero_in_the_year_2000(self, clock):
        assert (clock.monotonic(), clock.time()) == (0.0, 946684800.0)
        assert clock.http_date() == "Sat, 01 Jan 2000 00:00:00 GMT"
        assert clock.http_date(61) == "Sat, 01 Jan 2000 00:01:01 GMT"

    def test_moves_only_when_it_is_moved(self, clock):
        clock.advance(1.5)
        clock.advance(0)
        assert (clock.monotonic(), clock.time()) == (1.5, 946684801.5)

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
    def test_never_goes_back_nor_out_of_sight(self, clock, seconds):
        with pytest.raises(ValueError, match="seconds must be a finite number of at least 0"):
            clock.advance(seconds)

    def test_has_chance_in_hand(self, clock):
        assert clock.random() == 0.0
        assert ManualClock(random=lambda: 0.5).random() == 0.5

    def test_and_the_system_s_are_both_clocks(self, clock):
        assert isinstance(clock, Clock)
        assert isinstance(SYSTEM_CLOCK, Clock)
        assert 0 <= SYSTEM_CLOCK.random() < 1

    def test_shows_who_waits(self, clock):
        assert (clock.pending, repr(clock)) == ((), "<ManualClock 0 s, pending ()>")
        clock.advance(0.1)
        waiting = [sleeping(clock, deadline)[0] for deadline in (0.3, 0.2)]
        assert clock.wait_for_sleepers(2) == clock.pending == (0.1, 0.2)
        assert repr(clock) == "<ManualClock 0.1 s, pending (0.1, 0.2)>"
        clock.advance(1)
        assert clock.pending == ()
        assert [each.outcome() for each in waiting] == [None, None]

    def test_does_not_let_wait_for_what_is_over(self, clock):
        clock.advance(1)
        clock.wait_until(Doorbell(), 1.0)

    def test_wakes_only_who_has_waited_long_enough(self, clock):
        (short, _), (long, _) = sleeping(clock, 1.0), sleeping(clock, 2.0)
        clock.wait_for_sleepers(2)
        clock.advance(1)
        short.outcome()
        assert clock.pending == (1.0,)
        assert clock.advance_to_next() == 1.0
        long.outcome()

    def test_lets_a_doorbell_wake_its_sleeper(self, clock):
        waiting, doorbell = sleeping(clock, 5.0)
        clock.wait_for_sleepers()
        doorbell.ring()
        waiting.outcome()
        assert clock.pending == ()

    def test_does_not_count_a_sleeper_that_is_about_to_look_again(self, clock):
        looking = threading.Event()

        class SlowToLook(Doorbell):
            def wait(self, timeout=None):
                super().wait(timeout)
                looking.wait(PATIENCE)

        doorbell = SlowToLook()
        sleeper = Running(lambda: clock.wait_until(doorbell, 5.0))
        assert clock.wait_for_sleepers() == (5.0,)
        doorbell.ring()
        assert clock.pending == ()
        with pytest.raises(TimeoutError):
            clock.advance_to_next(timeout=0)
        looking.set()
        assert sleeper.outcome() is None

    def test_takes_sums_of_floats_for_what_they_mean(self, clock):
        clock.advance(0.1)
        waiting, _ = sleeping(clock, 0.7)
        clock.wait_for_sleepers()
        clock.advance(0.6)  # which rounds 0.7 down
        waiting.outcome()
        assert clock.monotonic() == 0.7

    def test_says_when_nobody_comes_to_wait(self, clock):
        with pytest.raises(TimeoutError, match="0 of 2 threads"):
            clock.wait_for_sleepers(2, timeout=0.01)
        with pytest.raises(TimeoutError, match="0 of 1 threads"):
            clock.advance_to_next(timeout=0.01)


class TestTheClientTakes:
    @pytest.mark.parametrize("clock", [object(), ManualClock, 5])
    def test_nothing_else_for_a_clock(self, clock):
        with pytest.raises(TypeError, match="clock must be a ManualClock or None, not"):
            HttpClient(clock=clock)


class TestASession:
    def test_waits_longer_each_time_up_to_the_cap_and_as_the_server_asks(self, clock, memory):
        memory.serve(["one"], then="reset")
        for _ in range(6):
            memory.respond(503)
        memory.respond(503, {"Retry-After": "120"})
        memory.respond(429, {"Retry-After": clock.http_date(after=1000)})
        memory.serve(["two"], then="stall")
        with memory.client(reconnection_time=1) as client, client.sse(URL) as session:
            assert session.incoming.get().data == "one"
            waits = [clock.advance_to_next() for _ in range(8)]
            assert waits == [1, 2, 4, 8, 16, 30, 30, 120]
            clock.advance_to_next()
            assert clock.monotonic() == 1000  # the date was computed at the beginning
            assert session.incoming.get().data == "two"

    def test_adds_the_jitter_that_chance_says(self):
        clock = ManualClock(random=lambda: 0.5)
        with InMemoryServer(clock=clock) as memory, memory.client() as client:
            memory.serve(["one"], then="reset")
            with client.sse(URL):
                assert clock.wait_for_sleepers() == (3.375,)

    def test_obeys_the_retry_of_the_stream(self, clock, memory):
        memory.serve([b"retry: 7500\n\n"], then="drop")
        with memory.client() as client, client.sse(URL):
            assert clock.wait_for_sleepers() == (7.5,)

    @pytest.mark.parametrize(("held", "next_wait"), [(5, 3), (4.9, 12)])
    def test_waits_as_at_first_once_a_connection_has_held(self, clock, memory, held, next_wait):
        opened = Signal()
        memory.serve([], then="reset")
        memory.respond(503)
        with memory.client(on_open=opened) as client, client.sse(URL):
            assert [clock.advance_to_next() for _ in range(2)] == [3, 6]
            exchange = memory.accept()
            opened.clear()
            exchange.open()
            opened.await_()
            clock.advance(held)
            exchange.drop()
            assert clock.wait_for_sleepers() == (next_wait,)

    def test_closes_while_it_waits_for_a_clock_that_nobody_moves(self, clock, memory):
        memory.serve(["one"], then="reset")
        with memory.client() as client, client.sse(URL) as session:
            clock.wait_for_sleepers()
            session.close()
            assert clock.pending == ()

    def test_reconnects_at_once_if_asked_to(self, clock, memory):
        memory.serve(["one"], then="reset")
        memory.serve(["two"], then="stall")
        with memory.client() as client, client.sse(URL) as session:
            clock.wait_for_sleepers()
            session.reconnect()
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
            assert clock.monotonic() == 0

    def test_gives_up_after_the_deadline(self, clock, memory):
        memory.handler = lambda exchange: exchange.respond(503)
        memory.serve([], then="reset")
        options = {"reconnection_time": 10, "reconnection_deadline": 100}
        with memory.client(**options) as client, client.sse(URL) as session:
            assert [clock.advance_to_next() for _ in range(4)] == [10, 20, 30, 30]
            with pytest.raises(ReconnectionExhaustedError, match="deadline") as caught:
                session.incoming.get()
            assert isinstance(caught.value.last_cause, UnexpectedStatusError)

    def test_whose_first_connection_fails_waits_too(self, clock, memory):
        memory.respond(503)
        memory.respond(503)
        memory.serve(["one"])
        with (
            memory.client(retry_first_connection=True, reconnection_time=1) as client,
            ThreadPoolExecutor() as pool,
        ):
            opening = pool.submit(client.sse, URL)
            assert [clock.advance_to_next() for _ in range(2)] == [1, 2]
            with opening.result() as session:
                assert session.incoming.get().data == "one"

    def test_waits_for_an_event_on_the_clock_whatever_the_heartbeats(self, clock, memory):
        heard = Signal()
        with memory.client(event_timeout=60, reconnect="never", on_comment=heard) as client:
            session, exchange = open_stream(memory, client)
            assert clock.wait_for_sleepers() == (60,)
            clock.advance(59)
            exchange.comment("still here")
            heard.await_()
            assert clock.wait_for_sleepers() == (1,)
            clock.advance(1)
            with pytest.raises(IdleTimeoutError, match=r"no event arrived .* for 60 s"):
                session.incoming.get()

    def test_waits_for_bytes_on_the_clock(self, clock, memory):
        with memory.client(reconnect="never") as client:
            session, _ = open_stream(memory, client, timeout=(10, 25))
            assert clock.advance_to_next() == 25
            with pytest.raises(IdleTimeoutError, match=r"no bytes arrived .* for 25 s"):
                session.incoming.get()

    def test_does_not_read_on_forever_of_a_refusal_that_never_ends(self, clock, memory):
        with memory.client() as client:
            opening = Running(lambda: client.sse(URL))
            memory.accept().write_raw(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nno")
            assert clock.advance_to_next() == 2
            error = opening.outcome()
            assert isinstance(error, UnexpectedStatusError)
            assert error.body == b"no"

    def test_of_a_real_server_waits_for_its_reconnection_on_the_clock(self, clock):
        with SSEServer() as server, HttpClient(clock=clock).install(SSE) as client:
            server.serve(["one"], then="reset")
            server.serve(["two"], then="stall")
            with client.sse(server.url) as session:
                assert clock.advance_to_next() == 3
                events = [session.incoming.get() for _ in range(2)]
                assert [event.data for event in events] == ["one", "two"]
