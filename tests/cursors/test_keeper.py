"""A session with a cursor: saving after processing, closing, crashes, forks, and a 410."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import random
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from support import PATIENCE, Running, Signal, fill, sse_client_for_tests

from sse_client import (
    ChannelClosed,
    CursorError,
    CursorExpiredError,
    FileCursor,
    IncomingChannel,
    ReadyState,
    ReconnectionExhaustedError,
    ServerSentEvent,
    SessionClosedError,
    SQLiteCursor,
    UnexpectedStatusError,
    merge,
    process,
)
from sse_client.clock import Deadline
from sse_client.cursors.keeper import PositionKeeper
from sse_client.process import disown_all
from sse_client.session.state import StreamState

SEED = 4


class Cursor:
    """A cursor in memory that records each call, and fails or blocks as a test sets it."""

    def __init__(self, position=None):
        self.position = position
        self.calls = []
        self.fail = None  # the error that a save raises
        self.during_save = None  # called in the middle of a save

    def load(self):
        self.calls.append("load")
        if isinstance(self.position, BaseException):
            raise self.position
        return self.position

    def save(self, event_id):
        self.calls.append(event_id)
        if self.during_save is not None:
            self.during_save()
        if self.fail is not None:
            raise self.fail
        self.position = event_id

    def close(self):
        self.calls.append("close")

    @property
    def saved(self):
        return [call for call in self.calls if call not in {"load", "close"}]

    @property
    def is_open(self):
        return [call for call in self.calls if call in {"load", "close"}][-1:] == ["load"]


class Gate:
    """Blocks a save until it is opened, and reports that a save has begun."""

    def __init__(self):
        self.came, self.opened = Signal(), Signal()

    def __call__(self):
        self.came()
        self.opened.await_()


def numbered(first, last):
    return [ServerSentEvent(f"data {n}", id=str(n)) for n in range(first, last + 1)]


def ids(events):
    return [event.id for event in events]


def asked_for(server):
    return [request.headers.get("Last-Event-ID") for request in server.requests]


@pytest.fixture
def cursor():
    return Cursor()


@pytest.fixture
def client():
    with sse_client_for_tests(reconnect="on_error") as client:
        yield client


def in_thread(function):
    outcome = Running(function).outcome()
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


# Saving.


def test_an_event_is_saved_when_its_consumer_comes_back(server, client, cursor):
    server.serve(numbered(1, 3))
    with client.sse(server.url, cursor=cursor) as session:
        assert session.incoming.get().id == "1"
        assert cursor.saved == []
        assert next(session.incoming).id == "2"
        assert cursor.saved == ["1"]
        assert session.incoming.get(timeout=PATIENCE).id == "3"
        assert cursor.saved == ["1", "2"]
        assert list(session.incoming) == []
        assert cursor.saved == ["1", "2", "3"]


@pytest.mark.parametrize("has_gil", [True, False])
def test_it_makes_no_difference_whether_there_is_a_global_lock(
    server, client, cursor, monkeypatch, has_gil
):
    monkeypatch.setattr("sse_client.channel.incoming.HAS_GIL", has_gil)
    server.serve(numbered(1, 3))
    with client.sse(server.url, cursor=cursor) as session:
        assert ids(session.incoming) == ["1", "2", "3"]
    assert cursor.saved == ["1", "2", "3"]


def test_coming_back_counts_also_when_nothing_comes(server, client, cursor):
    server.serve(numbered(1, 1), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        assert session.incoming.get().id == "1"
        with pytest.raises(queue.Empty):
            session.incoming.get_nowait()
        assert cursor.saved == ["1"]


def test_leaving_the_loop_leaves_the_event_in_hand(server, client, cursor):
    server.serve(numbered(1, 3), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        for event in session.incoming:
            if event.id == "2":
                break
    assert cursor.calls == ["load", "1", "close"]


def test_what_is_left_in_hand_can_be_acknowledged(server, client, cursor):
    server.serve(numbered(1, 3), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        for event in session.incoming:
            if event.id == "2":
                session.acknowledge(event)
                assert cursor.saved == ["1", "2"]
                break
        assert session.incoming.get().id == "3"
    assert cursor.calls == ["load", "1", "2", "close"]


def test_an_id_that_does_not_change_is_not_saved(server, client, cursor):
    server.serve([b"data: a\n\ndata: b\n\nid: 7\ndata: c\n\ndata: d\n\nid: 8\n\ndata: e\n\n"])
    with client.sse(server.url, cursor=cursor, last_event_id="") as session:
        assert ids(session.incoming) == ["", "", "7", "7", "8"]
    assert cursor.saved == ["7", "8"]


def test_an_id_that_is_reset_is_saved(server, client):
    cursor = Cursor("7")
    server.serve([b"id\ndata: a\n\n"])
    with client.sse(server.url, cursor=cursor) as session:
        assert ids(session.incoming) == [""]
    assert cursor.saved == [""]


def test_where_the_stream_began_is_not_saved(server, client, cursor):
    server.serve(["a", "b"])
    with client.sse(server.url, cursor=cursor, last_event_id="5") as session:
        assert ids(session.incoming) == ["5", "5"]
    assert cursor.calls == ["load", "close"]


def test_an_event_of_ones_own_has_no_position(server, client, cursor):
    server.serve(numbered(1, 2), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        fill(session.incoming, 2)
        session.incoming.put(ServerSentEvent("own", id="9"))
        assert [session.incoming.get().id for _ in range(3)] == ["1", "2", "9"]
        session.close(drain=True)
        assert list(session.incoming) == []
    assert cursor.calls == ["load", "1", "2", "close"]


def test_own_events_that_were_dropped_or_come_last_are_not_mistaken_for_others(cursor):
    keeper = PositionKeeper(cursor)
    keeper.load("")
    channel = IncomingChannel(3, overflow="drop_oldest")
    channel.keep_position(keeper)
    channel.put(ServerSentEvent("own", id="x"))
    channel.offer(numbered(1, 3), 1)
    assert [channel.get().id for _ in range(2)] == ["1", "2"]
    channel.put(ServerSentEvent("own", id="y"))
    channel.end()
    assert ids(channel) == ["3", "y"]
    assert cursor.calls == ["load", "1", "2", "3", "close"]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_dropped_events_do_not_hold_the_position(server, client, cursor, overflow):
    server.serve([b"".join(str(event).encode() for event in numbered(1, 9))])
    with client.sse(server.url, cursor=cursor, overflow=overflow, capacity=3) as session:
        session._reader.join(PATIENCE)
        got = ids(session.incoming)
        assert session.statistics.dropped == 6
    assert got == (["7", "8", "9"] if overflow == "drop_oldest" else ["1", "2", "3"])
    assert cursor.saved == got


# Acknowledging.


def test_without_automatic_acknowledgement_only_the_call_counts(server, client, cursor):
    server.serve(numbered(1, 4))
    with client.sse(server.url, cursor=cursor, auto_acknowledge=False) as session:
        one, two, three, four = session.incoming
        assert cursor.saved == []
        session.acknowledge(two)
        assert cursor.saved == []
        session.acknowledge(ServerSentEvent(*one))  # a copy
        assert cursor.saved == ["2"]
        with pytest.raises(ValueError, match="was already acknowledged"):
            session.acknowledge(two)
        in_thread(lambda: session.acknowledge(four))
        assert cursor.is_open
        session.acknowledge(three)
        assert cursor.calls == ["load", "2", "4", "close"]


def test_only_events_that_were_handed_out_can_be_acknowledged(server, client, cursor):
    server.serve(numbered(1, 1), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        fill(session.incoming, 1)
        with pytest.raises(ValueError, match="has not handed it out"):
            session.acknowledge(numbered(1, 1)[0])
        with pytest.raises(TypeError, match="event must be a ServerSentEvent, not str"):
            session.acknowledge("1")
        with pytest.raises(TypeError, match="event must be a ServerSentEvent, not int"):
            session.acknowledge(1)
    assert cursor.saved == []


def test_without_a_cursor_acknowledging_does_nothing(server, client):
    server.serve(numbered(1, 1))
    with client.sse(server.url) as session:
        session.acknowledge(session.incoming.get())
        session.acknowledge(ServerSentEvent("unknown"))


def test_each_consumer_acknowledges_its_own(server, client, cursor):
    server.serve(numbered(1, 3))
    turn, done = threading.Event(), threading.Event()
    with client.sse(server.url, cursor=cursor) as session:

        def slow():
            assert session.incoming.get().id == "1"
            turn.set()
            assert done.wait(PATIENCE)
            return list(session.incoming)

        other = Running(slow)
        assert turn.wait(PATIENCE)
        assert ids(session.incoming) == ["2", "3"]
        assert cursor.saved == []
        assert cursor.is_open
        done.set()
        assert other.outcome() == []
    assert cursor.calls == ["load", "3", "close"]


def test_what_a_thread_had_that_has_died_is_not_acknowledged(server, client, cursor):
    server.serve(numbered(1, 3))
    with client.sse(server.url, cursor=cursor) as session:
        # The system gives the ID of an ended thread to the next one.
        for number in ("1", "2", "3"):
            assert in_thread(session.incoming.get).id == number
        assert list(session.incoming) == []
        assert cursor.saved == []
    assert cursor.calls == ["load", "close"]


def test_consumers_that_come_back_meanwhile_share_a_save(server, client, cursor):
    gate = cursor.during_save = Gate()
    server.serve(numbered(1, 4), then="stall")
    with client.sse(server.url, cursor=cursor, auto_acknowledge=False) as session:
        events = [session.incoming.get() for _ in range(4)]
        first = Running(lambda: session.acknowledge(events[0]))
        gate.came.await_()
        progress, noted = session.incoming.keeper._progress, threading.Semaphore(0)
        acknowledge = progress.acknowledge
        progress.acknowledge = lambda event: (acknowledge(event), noted.release())
        others = [Running(lambda each=each: session.acknowledge(each)) for each in events[1:]]
        for _ in others:
            assert noted.acquire(timeout=PATIENCE)
        assert cursor.saved == ["1"]
        gate.opened()
        assert [each.outcome() for each in [first, *others]] == [None] * 4
    assert cursor.saved == ["1", "4"]


def test_many_consumers_leave_nothing_unsaved(server, client, cursor):
    server.serve([b"".join(str(event).encode() for event in numbered(1, 500))])
    with client.sse(server.url, cursor=cursor) as session:
        consumers = [Running(lambda: ids(session.incoming)) for _ in range(4)]
        got = [each for consumer in consumers for each in consumer.outcome()]
        assert sorted(got, key=int) == ids(numbered(1, 500))
        assert cursor.position == "500"
        assert cursor.calls[-1] == "close"
    assert cursor.saved == sorted(set(cursor.saved), key=int)


def test_acknowledged_out_of_order_by_many_threads(server, client, cursor):
    """Each save is compared with the acknowledgements before it."""
    rng = random.Random(SEED)
    server.serve([b"".join(str(event).encode() for event in numbered(1, 200))])
    acknowledged = {0}
    cursor.during_save = lambda: positions.append((int(cursor.calls[-1]), len(run())))
    positions = []

    def run():
        known = set(acknowledged)
        return [n for n in range(1, 201) if all(m in known for m in range(1, n + 1))]

    with client.sse(server.url, cursor=cursor, auto_acknowledge=False) as session:
        events = list(session.incoming)
        rng.shuffle(events)

        def work(part):
            for event in part:
                acknowledged.add(int(event.id))
                session.acknowledge(event)

        workers = [Running(lambda part=events[n::4]: work(part)) for n in range(4)]
        assert [worker.outcome() for worker in workers] == [None] * 4
    assert cursor.position == "200"
    assert all(saved <= possible for saved, possible in positions)


# asyncio tasks.


@pytest.fixture
def channel(cursor):
    """A channel with a position to keep. Its last two events have the same ID, and it has ended."""
    keeper = PositionKeeper(cursor)
    keeper.load("")
    channel = IncomingChannel()
    channel.keep_position(keeper)
    channel.offer([*numbered(1, 3), ServerSentEvent("the last", id="3")], 1)
    channel.end()
    return channel


def test_an_event_is_saved_when_its_task_comes_back(channel, cursor):
    async def main():
        for saved in ([], ["1"], ["1", "2"], ["1", "2", "3"]):
            await anext(channel)
            assert cursor.saved == saved
        assert cursor.is_open
        assert [event async for event in channel] == []

    asyncio.run(main())
    assert cursor.calls == ["load", "1", "2", "3", "close"]


def test_each_task_acknowledges_its_own(channel, cursor):
    async def take_the_rest():
        return [event.id async for event in channel]

    async def main():
        assert (await anext(channel)).id == "1"
        assert await asyncio.create_task(take_the_rest()) == ["2", "3", "3"]
        assert cursor.saved == []
        assert cursor.is_open
        assert await anext(channel, None) is None

    asyncio.run(main())
    assert cursor.calls == ["load", "3", "close"]


def test_a_save_does_not_block_the_loop(channel, cursor):
    gate = cursor.during_save = Gate()

    async def take_two():
        return [(await anext(channel)).id for _ in range(2)]

    async def main():
        taking = asyncio.create_task(take_two())
        await asyncio.to_thread(gate.came.await_)
        gate.opened()
        return await taking

    assert asyncio.run(main()) == ["1", "2"]


def test_cancelling_a_task_while_the_cursor_is_loaded_gives_it_back(server, client, cursor):
    gate, closed = Gate(), Signal()
    load, close = cursor.load, cursor.close
    cursor.load = lambda: (gate(), load())[-1]
    cursor.close = lambda: (close(), closed())

    async def open_it():
        await client.sse_async(server.url, cursor=cursor)

    async def main():
        opening = asyncio.create_task(open_it())
        await asyncio.to_thread(gate.came.await_)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()  # the program may have ended its loop before the cursor has loaded the position
    gate.opened()
    closed.await_()
    assert cursor.calls == ["load", "close"]
    assert server.requests == []


# Saves that fail.


@pytest.mark.parametrize("error", [CursorError("the disk is full"), OSError("full"), IndexError()])
def test_a_failed_save_is_told_and_loses_nothing(server, client, cursor, error):
    server.serve(numbered(1, 3))
    with client.sse(server.url, cursor=cursor) as session:
        assert session.incoming.get().id == "1"
        cursor.fail = error
        for _ in range(2):
            with pytest.raises(CursorError) as caught:
                session.incoming.get()
            assert caught.value is error or caught.value.__cause__ is error
        cursor.fail = None
        assert ids(session.incoming) == ["2", "3"]
    assert cursor.calls == ["load", "1", "1", "1", "2", "3", "close"]


def test_a_save_that_failed_is_tried_again_with_the_next(server, client, cursor):
    server.serve(numbered(1, 2), then="stall")
    with client.sse(server.url, cursor=cursor, auto_acknowledge=False) as session:
        events = [session.incoming.get() for _ in range(2)]
        cursor.fail = OSError("full")
        with pytest.raises(CursorError, match="cannot save the position: the cursor raised OSE"):
            session.acknowledge(events[0])
        cursor.fail = None
        session.acknowledge(events[1])
    assert cursor.saved == ["1", "2"]


def test_a_save_that_failed_at_the_end_is_tried_again(server, client, cursor):
    server.serve(numbered(1, 1))
    with client.sse(server.url, cursor=cursor) as session:
        assert session.incoming.get().id == "1"
        cursor.fail = OSError("full")
        session._reader.join(PATIENCE)
        with pytest.raises(CursorError):
            next(session.incoming)
        assert cursor.is_open
        cursor.fail = None
        assert list(session.incoming) == []
        assert cursor.calls == ["load", "1", "1", "close"]


def failed_once(session, cursor):
    assert session.incoming.get().id == "1"
    cursor.fail = OSError("full")
    with pytest.raises(CursorError):
        session.incoming.get()


def test_a_save_that_failed_is_tried_once_more_when_it_is_closed(server, client, cursor):
    server.serve(numbered(1, 2), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        failed_once(session, cursor)
        cursor.fail = None
    assert cursor.calls == ["load", "1", "1", "close"]


def test_that_is_logged_where_it_fails_again(server, client, cursor, caplog):
    server.serve(numbered(1, 2), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        failed_once(session, cursor)
    assert cursor.calls == ["load", "1", "1", "close"]
    assert "the last position was not saved" in caplog.text


def test_closing_does_not_wait_for_a_save_that_takes_long(server, client, cursor):
    server.serve(numbered(1, 2), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        failed_once(session, cursor)
        gate, cursor.fail = Gate(), None
        cursor.during_save = gate
        session.close(timeout=0.01)
        gate.came.await_()
        assert cursor.is_open
        gate.opened()
        session.incoming.keeper.wait_given_back(PATIENCE)
    assert cursor.calls == ["load", "1", "1", "close"]


def test_no_thread_is_started_when_the_interpreter_ends(server, client, cursor, monkeypatch):
    server.serve(numbered(1, 2), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        failed_once(session, cursor)

        def refuse(_):
            raise RuntimeError("can't create new thread at interpreter shutdown")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            session.close()
    assert cursor.calls == ["load", "1", "close"]


def test_closing_in_the_middle_of_a_save_leaves_the_rest_to_it(server, client, cursor):
    gate = cursor.during_save = Gate()
    server.serve(numbered(1, 2), then="stall")
    with client.sse(server.url, cursor=cursor) as session:

        def consume():
            session.incoming.get()
            return session.incoming.get()

        consumer = Running(consume)
        gate.came.await_()
        session.close(timeout=0.01)
        assert cursor.is_open
        gate.opened()
        assert isinstance(consumer.outcome(), ChannelClosed)
    assert cursor.calls == ["load", "1", "close"]


def test_a_cursor_may_close_its_session_and_acknowledge(server, client, cursor):
    server.serve(numbered(1, 3), then="stall")
    with client.sse(server.url, cursor=cursor, auto_acknowledge=False) as session:
        one, two, three = (session.incoming.get() for _ in range(3))

        def interfere():
            cursor.during_save = None
            session.acknowledge(two)
            session.close()

        cursor.during_save = interfere
        session.acknowledge(one)
        assert cursor.calls == ["load", "1", "2", "close"]
        session.acknowledge(three)
    assert cursor.calls == ["load", "1", "2", "close", "load", "3", "close"]


def test_acknowledging_while_the_cursor_is_being_closed_does_not_hang(server, client, cursor):
    server.serve(numbered(1, 3), then="stall")
    with client.sse(server.url, cursor=cursor, auto_acknowledge=False) as session:
        one, two, three = (session.incoming.get() for _ in range(3))

        def close():
            cursor.calls.append("close")
            if cursor.calls.count("close") == 1:
                session.acknowledge(one)

        cursor.close = close
        session.close()
        assert cursor.calls == ["load", "close"]
        session.acknowledge(two)
        session.acknowledge(three)
    assert cursor.saved == ["2", "3"]


def test_a_cursor_that_cannot_be_closed_is_logged(server, client, cursor, caplog):
    cursor.close = lambda: 1 / 0
    server.serve(numbered(1, 1), then="stall")
    client.sse(server.url, cursor=cursor).close()
    assert "failed" in caplog.text
    server.serve(numbered(1, 1), then="stall")
    client.sse(server.url, cursor=cursor).close()


# A cursor that blocks.

#: Much more than the second that closing may take, and much less than one second per session.
BOUND = 3.0


class Stuck(Cursor):
    """A cursor that blocks in ``close`` until it is released."""

    def __init__(self):
        super().__init__()
        self.gate = Gate()

    def close(self):
        self.gate()
        super().close()


def seconds_of(function):
    began = time.monotonic()
    in_thread(function)
    return time.monotonic() - began


@pytest.fixture
def stuck(server):
    """Five cursors that block, and are released at the end."""
    server.handler = lambda exchange: (exchange.send_event(*numbered(1, 1)), exchange.stall())
    cursors = [Stuck() for _ in range(5)]
    yield cursors
    for cursor in cursors:
        cursor.gate.opened()


@pytest.mark.parametrize("drain", [False, True])
@pytest.mark.parametrize("auto_acknowledge", [False, True])
def test_closing_is_bounded_if_the_cursor_blocks_in_close(
    server, client, stuck, drain, auto_acknowledge
):
    session = client.sse(server.url, cursor=stuck[0], auto_acknowledge=auto_acknowledge)
    event = session.incoming.get()
    if drain:
        session.acknowledge(event)
    assert seconds_of(lambda: session.close(drain=drain)) < BOUND
    stuck[0].gate.came.await_()
    assert session.state is ReadyState.CLOSED
    assert seconds_of(lambda: session.close(timeout=0.0)) < BOUND
    stuck[0].gate.opened()
    session.incoming.keeper._given_back.wait(PATIENCE)
    assert stuck[0].calls.count("close") == 1


def test_closing_is_bounded_if_the_cursor_of_an_ended_stream_blocks(server, client, stuck):
    server.handler = None
    server.serve(numbered(1, 1))
    session = client.sse(server.url, cursor=stuck[0])
    assert session.incoming.get().id == "1"
    session._reader.join(PATIENCE)
    assert seconds_of(session.close) < BOUND
    stuck[0].gate.came.await_()


def test_closing_is_bounded_if_the_cursor_blocks_in_a_save(server, client, cursor):
    gate = cursor.during_save = Gate()
    server.serve(numbered(1, 2), then="stall")
    session = client.sse(server.url, cursor=cursor)
    consumer = Running(lambda: [session.incoming.get() for _ in range(2)])
    gate.came.await_()
    assert seconds_of(session.close) < BOUND
    assert cursor.is_open
    gate.opened()
    assert isinstance(consumer.outcome(), ChannelClosed)
    assert cursor.calls == ["load", "1", "close"]


def test_closing_is_bounded_if_the_last_save_blocks(server, client, cursor):
    gate = Gate()
    server.serve(numbered(1, 2), then="stall")
    session = client.sse(server.url, cursor=cursor)
    failed_once(session, cursor)
    cursor.fail, cursor.during_save = None, gate
    assert seconds_of(session.close) < BOUND
    gate.came.await_()
    assert cursor.is_open
    gate.opened()
    session.close()
    assert cursor.calls == ["load", "1", "1", "close"]


@pytest.mark.parametrize("how", ["client", "merge", "block"])
def test_closing_many_is_bounded_if_their_cursors_block(server, client, stuck, how):
    sessions = [client.sse(server.url, cursor=cursor) for cursor in stuck]
    for session in sessions:
        session.incoming.get()
    merged = merge(sessions)
    close = {
        "client": client.close,
        "merge": merged.close,
        "block": lambda: merged.__exit__(*[None] * 3),
    }
    assert seconds_of(close[how]) < BOUND
    for cursor in stuck:
        cursor.gate.came.await_()


def test_shutting_the_channel_down_does_not_wait_for_the_cursor(server, client, stuck):
    session = client.sse(server.url, cursor=stuck[0])
    assert seconds_of(lambda: session.incoming.shutdown(immediate=True)) < BOUND
    stuck[0].gate.came.await_()
    session.close(timeout=0.0)


@contextmanager
def without_threads_to_start(monkeypatch, reader):
    """As from Python 3.12 on, where no thread can be started after the main thread has ended."""

    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as patch:
        patch.setattr(process, "_is_ending", False)
        patch.setattr(process, "_live", weakref.WeakSet([reader]))
        patch.setattr(threading.Thread, "start", refuse)
        yield patch


@pytest.mark.parametrize("is_exit", [False, True])
def test_without_another_thread_only_the_exit_leaves_the_cursor_of_an_ended_stream(
    server, client, cursor, monkeypatch, is_exit
):
    server.serve(numbered(1, 1))
    session = client.sse(server.url, cursor=cursor)
    session.incoming.get()
    session._reader.join(PATIENCE)
    with without_threads_to_start(monkeypatch, session._reader):
        if is_exit:
            process._end()
        else:
            session.close()
    assert cursor.calls == (["load"] if is_exit else ["load", "close"])
    session.close()
    assert cursor.calls == ["load", "close"]


def test_the_exit_closes_the_cursor_of_a_stream_that_ends_at_once(
    server, client, cursor, monkeypatch
):
    """As from Python 3.12 on, when the shared thread is faster than the main thread."""
    server.serve(numbered(1, 1), then="stall")
    session = client.sse(server.url, cursor=cursor)
    session.incoming.get()
    ask = StreamState.ask

    def ask_and_wait(state, request):
        ask(state, request)
        state.wait_until_finished(Deadline.after(PATIENCE))

    with without_threads_to_start(monkeypatch, session._reader) as patch:
        patch.setattr(StreamState, "ask", ask_and_wait)
        process._end()
    assert cursor.calls == ["load", "close"]


def test_the_exit_of_the_interpreter_closes_no_cursor_in_a_finaliser(cursor):
    keeper = PositionKeeper(cursor)
    keeper.load("")
    keeper.__del__(lambda: True)
    assert cursor.calls == ["load"]
    keeper.close()
    keeper.wait_given_back(PATIENCE)


def test_no_thread_is_left_for_a_cursor_that_does_not_block(server, client, cursor):
    server.serve(numbered(1, 1), then="stall")
    with client.sse(server.url, cursor=cursor) as session:
        session.incoming.get()
    # No wait is needed, because closing has waited for its threads.
    assert not [each for each in threading.enumerate() if each.name.startswith("sse-client")]
    assert cursor.calls == ["load", "close"]


def test_a_file_is_unlocked_without_a_thread(server, client, tmp_path, monkeypatch):
    server.serve(numbered(1, 1), then="stall")
    session = client.sse(server.url, cursor=FileCursor(tmp_path / "position"))
    session.incoming.get()
    session._reader.stop()
    assert not (tmp_path / "position.lock").exists()
    assert not [each for each in threading.enumerate() if each.name == "sse-client:save"]
    session.close()


def test_a_cursor_that_was_closed_once_more_meanwhile_is_saved_once_more(cursor):
    keeper = PositionKeeper(cursor, auto_acknowledge=False)
    keeper.load("")
    one, two = numbered(1, 2)
    for event in (one, two):
        keeper.hand_out(event, is_last=False)
    cursor.fail = OSError("full")
    with pytest.raises(CursorError):
        keeper.acknowledge([one])
    give_back = keeper._give_back_if_over

    def fail_late():
        """Acknowledge an event whose ID cannot be saved, just after the closing thread is done."""
        give_back()
        if keeper._is_last_save_due:
            return
        keeper._give_back_if_over = give_back
        keeper._given_back.clear()
        cursor.fail = None
        keeper.close()

    keeper._give_back_if_over = fail_late
    keeper.close()
    keeper.wait_given_back(PATIENCE)
    assert cursor.calls == ["load", "1", "1", "close", "1", "close"]


SCRIPT = """
import os, sys, threading
from sse_client import HttpClient, SSE

url, when, *places = sys.argv[1:]


class Stuck:
    def __init__(self, place):
        self.place = place
        self.saving = threading.Event()

    def load(self):
        return None

    def save(self, event_id):
        self.saving.set()
        if self.place == "save":
            threading.Event().wait()

    def close(self):
        os.write(1, f"close {self.place}\\n".encode())  # at once: others write, too
        if self.place == "close":
            threading.Event().wait()


def consume(session):
    return lambda: list(session.incoming)


clients = []
sessions = []
for place in places:
    # From Python 3.12 on a client closes its cursors one after another at the exit.
    client = HttpClient().install(SSE, reconnect="never")
    clients.append(client)
    cursor = Stuck(place)
    session = client.sse(url, cursor=cursor)
    sessions.append(session)
    if place == "save":
        threading.Thread(target=consume(session), daemon=True).start()
        cursor.saving.wait()
    else:
        session.incoming.get()
    if when == "ended":
        session._reader.join(20)
    if when == "closed":
        session.close()
print("exit", flush=True)
"""

#: Where the cursors of a process block: each in another place, or one per process.
PLACES = [
    ("save", "close", "nowhere"),
    *(pytest.param((place,), marks=pytest.mark.ci) for place in ("save", "close", "nowhere")),
]


@pytest.mark.parametrize("places", PLACES, ids=", ".join)
@pytest.mark.parametrize("when", ["open", "ended", "closed"])
def test_the_exit_of_the_interpreter_is_bounded(server, places, when):
    for _ in places:
        server.serve(numbered(1, 2), then="end" if when == "ended" else "stall")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, server.url, when, *places],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "exit" in lines
    # The cursor is in use if a save blocks. From Python 3.12 on, no thread can close it if the
    # session's thread has ended.
    if when != "ended" or sys.version_info < (3, 12):
        closed = [f"close {place}" for place in places if place != "save"]
        assert sorted(line for line in lines if line != "exit") == sorted(closed)


# The beginning.


@pytest.mark.parametrize(
    ("position", "sent"), [("7", "7"), (None, "5"), ("", None)], ids=["saved", "none", "empty"]
)
def test_a_saved_id_wins_over_the_option(server, client, position, sent):
    server.serve(["a"])
    cursor = Cursor(position)
    with client.sse(server.url, cursor=cursor, last_event_id="5") as session:
        assert list(session.incoming)
    server.serve(["a"])
    with client.sse(server.url, cursor=cursor, headers={"Last-Event-ID": "5"}) as session:
        assert list(session.incoming)
    assert asked_for(server) == [sent, sent]


@pytest.mark.parametrize("error", [CursorError("damaged"), OSError("cannot read"), 7])
def test_a_cursor_that_cannot_be_loaded_is_told_before_anything_is_sent(server, client, error):
    cursor = Cursor(error)
    for _ in range(2):
        with pytest.raises(CursorError):
            client.sse(server.url, cursor=cursor)
    assert server.requests == []
    cursor.position = "7"
    server.serve(numbered(8, 8), then="stall")
    client.sse(server.url, cursor=cursor).close()
    assert asked_for(server) == ["7"]


def test_two_sessions_cannot_share_a_cursor(server, client, cursor):
    for _ in range(2):
        server.serve(numbered(1, 1), then="stall")
    with client.sse(server.url, cursor=cursor):
        with pytest.raises(ValueError, match=r"^cursor is in use by another session"):
            client.sse(server.url, cursor=cursor)
        assert cursor.calls == ["load"]
    client.sse(server.url, cursor=cursor).close()
    assert len(server.requests) == 2


def test_a_stream_that_cannot_be_opened_gives_the_cursor_back(server, client, cursor):
    server.respond(404)
    with pytest.raises(UnexpectedStatusError):
        client.sse(server.url, cursor=cursor)
    assert cursor.calls == ["load", "close"]


def test_a_thread_that_cannot_be_started_gives_the_cursor_back(server, client, cursor, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            client.sse(server.url, cursor=cursor)
    assert cursor.calls == ["load", "close"]


def test_closing_the_client_while_the_cursor_is_loaded_gives_it_back(server, client, monkeypatch):
    cursor, gate, told = Cursor(), Gate(), Signal()
    close = PositionKeeper.close
    monkeypatch.setattr(PositionKeeper, "close", lambda keeper: (close(keeper), told()))
    cursor.load = lambda: (gate(), cursor.calls.append("load"))[-1]
    opening = Running(lambda: client.sse(server.url, cursor=cursor))
    gate.came.await_()
    closing = Running(client.close)
    told.await_()
    gate.opened()
    assert isinstance(opening.outcome(), SessionClosedError)
    closing.outcome()
    assert cursor.calls == ["load", "close"]
    assert server.requests == []


# The end.


@pytest.mark.parametrize("how", ["end", "204", "mark", "error"])
def test_the_cursor_is_closed_when_all_is_processed(server, client, cursor, how):
    events = numbered(1, 2)
    server.serve(events if how != "mark" else [*events, ServerSentEvent("[DONE]", id="9")])
    if how == "204":
        server.respond(204)
    if how == "error":
        server.respond(404)
    options = {"end_of_stream": "[DONE]"} if how == "mark" else {}
    if how in {"204", "error"}:
        options["reconnect"] = "always"
    session = client.sse(server.url, cursor=cursor, **options)
    assert [next(session.incoming).id for _ in range(2)] == ["1", "2"]
    session._reader.join(PATIENCE)
    assert cursor.calls == ["load", "1"]
    with pytest.raises(UnexpectedStatusError if how == "error" else ChannelClosed):
        session.incoming.get()
    assert cursor.calls == ["load", "1", "2", "close"]
    session.close()
    assert cursor.calls == ["load", "1", "2", "close"]


def test_the_cursor_of_a_stream_without_events_is_closed_at_its_end(server, client, cursor):
    server.respond(204)
    session = client.sse(server.url, cursor=cursor)
    session._reader.join(PATIENCE)
    assert cursor.calls == ["load", "close"]


def test_closing_passes_nothing_that_was_not_delivered(server, client, cursor):
    server.serve(numbered(1, 5), then="stall")
    session = client.sse(server.url, cursor=cursor)
    fill(session.incoming, 5)
    assert session.incoming.get().id == "1"
    session.close()
    assert cursor.calls == ["load", "close"]
    assert list(session.incoming) == []
    assert cursor.calls == ["load", "close", "load", "1", "close"]


def test_draining_lets_the_consumers_go_on(server, client, cursor):
    server.serve(numbered(1, 3), then="stall")
    session = client.sse(server.url, cursor=cursor)
    fill(session.incoming, 3)
    session.close(drain=True)
    assert cursor.is_open
    assert ids(session.incoming) == ["1", "2", "3"]
    assert cursor.calls == ["load", "1", "2", "3", "close"]


def test_closing_for_good_ends_the_draining(server, client, cursor):
    server.serve(numbered(1, 3), then="stall")
    session = client.sse(server.url, cursor=cursor)
    fill(session.incoming, 3)
    session.close(drain=True)
    session.close()
    assert cursor.calls == ["load", "close"]


def test_closing_the_client_closes_the_cursor(server, client, cursor):
    server.serve(numbered(1, 3), then="stall")
    session = client.sse(server.url, cursor=cursor)
    client.close()
    assert cursor.calls == ["load", "close"]
    assert session.state is ReadyState.CLOSED


def late(server, client, cursor):
    """Return a closed session, and the event that its consumer is still processing."""
    server.serve(numbered(1, 1), then="stall")
    session = client.sse(server.url, cursor=cursor, auto_acknowledge=False)
    event = session.incoming.get()
    session.close()
    return session, event


def test_what_is_acknowledged_late_counts(server, client, cursor):
    session, event = late(server, client, cursor)
    session.acknowledge(event)
    assert cursor.calls == ["load", "close", "load", "1", "close"]


def test_what_is_acknowledged_late_does_not_move_the_position_back(server, client, cursor):
    session, event = late(server, client, cursor)
    cursor.position = "9"  # another process has continued
    session.acknowledge(event)
    assert cursor.calls == ["load", "close", "load", "close"]
    assert cursor.position == "9"


def test_what_is_acknowledged_late_leaves_the_next_session_alone(server, client, cursor):
    session, event = late(server, client, cursor)
    server.serve(numbered(1, 1), then="stall")
    with client.sse(server.url, cursor=cursor):
        with pytest.raises(CursorError, match="another session is using the cursor"):
            session.acknowledge(event)
        assert cursor.calls == ["load", "close", "load"]
    assert cursor.position is None


def test_coming_back_late_fails_once_and_then_ends(server, client, cursor):
    server.serve(numbered(1, 1), then="stall")
    session = client.sse(server.url, cursor=cursor)
    assert next(session.incoming).id == "1"
    session.close()
    cursor.fail = OSError("full")
    with pytest.raises(CursorError):
        next(session.incoming)
    assert list(session.incoming) == []
    assert not cursor.is_open


def test_a_late_save_after_one_that_failed_goes_on_from_either(server, client, cursor):
    server.serve(numbered(1, 2), then="stall")
    session = client.sse(server.url, cursor=cursor, auto_acknowledge=False)
    one, two = session.incoming.get(), session.incoming.get()
    cursor.fail = OSError("full")
    with pytest.raises(CursorError):
        session.acknowledge(one)
    session.close()
    cursor.fail = None
    session.acknowledge(two)
    assert cursor.position == "2"


def test_an_abandoned_session_gives_the_cursor_back(server, client, cursor):
    server.serve(numbered(1, 2), then="stall")
    session = client.sse(server.url, cursor=cursor)
    assert session.incoming.get().id == "1"
    gone = weakref.ref(session)
    with pytest.warns(ResourceWarning, match="unclosed SSE session"):  # noqa: PT031  # one act
        del session
        gc.collect()
    assert gone() is None
    assert cursor.calls == ["load", "close"]
    server.serve(numbered(1, 2), then="stall")
    client.sse(server.url, cursor=cursor).close()


# Forks.


def test_a_forked_child_leaves_the_cursor_to_its_parent(server, client, cursor):
    # What the child sees, seen from within: coverage does not follow a fork.
    server.serve(numbered(1, 2), then="stall")
    session = client.sse(server.url, cursor=cursor, own_thread=True)
    event = session.incoming.get()
    reader = session._reader
    disown_all()
    with pytest.raises(SessionClosedError, match="another process"):
        session.incoming.get()
    with pytest.raises(SessionClosedError, match="another process"):
        session.acknowledge(event)
    session.close()
    assert cursor.calls == ["load"]
    del session
    gc.collect()
    assert cursor.calls == ["load"]
    server.stop()
    reader.join(PATIENCE)


def test_a_fork_while_the_acknowledged_events_are_listed_saves_nothing(server, client, cursor):
    server.serve(numbered(1, 2), then="stall")
    session = client.sse(server.url, cursor=cursor, own_thread=True)
    event = session.incoming.get()
    reader = session._reader

    def listed():
        yield event
        disown_all()

    with pytest.raises(SessionClosedError, match="another process"):
        session.acknowledge(listed())
    assert cursor.calls == ["load"]
    server.stop()
    reader.join(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_real_child_changes_nothing(tmp_path):
    script = f"""
        import os, warnings
        from sse_client import SSE, CursorError, FileCursor, HttpClient, ServerSentEvent
        from sse_client import SessionClosedError
        from sse_client.testing import SSEServer
        warnings.simplefilter("ignore")  # Python 3.12 warns of any fork beside threads

        cursor = FileCursor({str(tmp_path / "position.json")!r})
        with SSEServer() as server, HttpClient().install(SSE, cursor=cursor) as client:
            server.serve([ServerSentEvent(n, id=n) for n in "123"], then="stall")
            with client.sse(server.url) as session:
                event = session.incoming.get()
                child = os.fork()
                if not child:
                    refused = 0
                    for act in (
                        session.incoming.get,
                        lambda: session.acknowledge(event),
                        lambda: client.sse(server.url),
                    ):
                        try:
                            act()
                        except (SessionClosedError, CursorError) as error:
                            refused += "process" in str(error)
                    session.close()
                    client.close()
                    del session, client
                    os._exit(refused)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                print(session.incoming.get().id, cursor.load())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("3\n2 1\n", "")


# Crashes.

VICTIM = """
import os, sys
from sse_client import SSE, FileCursor, HttpClient

url, path, ledger = sys.argv[1:]
book = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
with HttpClient().install(SSE, reconnection_time=0.01, cursor=FileCursor(path)) as client:
    with client.sse(url) as session:
        for event in session.incoming:
            os.write(book, (event.id + "\\n").encode())
            print(event.id, flush=True)
"""


@pytest.mark.parametrize(
    "kills", [pytest.param(4, id="short"), pytest.param(12, id="long", marks=pytest.mark.ci)]
)
def test_killed_at_any_moment_it_loses_nothing(server, tmp_path, kills):
    """Seeded, but the system decides at which point of the work the signal arrives."""
    last = 80

    def offer(exchange):
        begin = int(exchange.request.headers.get("Last-Event-ID", "0"))
        if begin == last:
            exchange.respond(204)
            return
        exchange.open()
        for event in numbered(begin + 1, last):
            exchange.send_event(event)
        exchange.end()

    server.handler = offer
    rng = random.Random(SEED)
    ledger = tmp_path / "ledger"
    lives, read = [], 0
    while True:
        command = [sys.executable, "-c", VICTIM, server.url, str(tmp_path / "p.json"), str(ledger)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
            for _ in range(rng.randint(1, 40)):
                if not victim.stdout.readline():
                    break
            is_over = victim.poll() is not None or len(lives) == kills
            if is_over:
                victim.stdout.read()
            else:
                victim.kill()
        content = ledger.read_text().split()
        lives.append([int(each) for each in content[read:]])
        read = len(content)
        if is_over:
            break
    assert victim.returncode == 0
    position = 0
    for life in lives:
        fresh = life[1:] if life[:1] == [position] else life
        assert fresh == list(range(position + 1, position + 1 + len(fresh))), lives
        position += len(fresh)
    assert position == last


# Expired.


def sessions_with(client, server, hook=None, position="7", **options):
    if hook is not None:
        options["on_cursor_expired"] = hook
    return client.sse(server.url, cursor=Cursor(position), **options)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(([410], [None], ["7"], CursorExpiredError), id="gives up"),
        pytest.param(([410, 200], [""], ["7", None], None), id="starts again"),
        pytest.param(([410, 200], ["3"], ["7", "3"], None), id="goes on from another"),
        pytest.param(([410, 410], [""], ["7", None], UnexpectedStatusError), id="start refused"),
        pytest.param(([410, 410], ["3", None], ["7", "3"], CursorExpiredError), id="other refused"),
        pytest.param(([410, 410, 200], ["3", ""], ["7", "3", None], None), id="then starts again"),
        pytest.param(([410], ["7"], ["7"], CursorExpiredError), id="the same again"),
        pytest.param(([410], [7], ["7"], CursorExpiredError), id="no ID"),
        pytest.param(([410], ["a\nb"], ["7"], CursorExpiredError), id="none that can be sent"),
        pytest.param(([410], [ValueError()], ["7"], CursorExpiredError), id="the hook raises"),
        pytest.param(
            ([410] * 4, list("3456"), list("7345"), CursorExpiredError), id="always another"
        ),
    ],
)
def test_the_first_connection_is_refused(server, client, case):
    answers, chosen, sent, ends = case
    for status in answers:
        if status == 200:
            server.serve(numbered(4, 4))
        else:
            server.respond(status, body="gone")
    told = []

    def hook(session):
        told.append(session.last_event_id)
        answer = chosen[len(told) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    if ends is None:
        with sessions_with(client, server, hook) as session:
            assert ids(session.incoming) == ["4"]
    else:
        with pytest.raises(UnexpectedStatusError) as caught:
            sessions_with(client, server, hook)
        assert type(caught.value) is ends
        assert (caught.value.status_code, caught.value.body) == (410, b"gone")
        if ends is CursorExpiredError:
            assert caught.value.last_event_id == sent[-1]
            assert type(caught.value.__cause__) is UnexpectedStatusError
    assert asked_for(server) == sent
    assert told == [each or "" for each in sent][: len(told)]


@pytest.mark.parametrize("status", [404, 412])
def test_other_statuses_can_mean_the_same(server, client, status):
    server.respond(status)
    server.serve(numbered(1, 1))
    options = {"cursor_expired_statuses": [404, 412]}
    with sessions_with(client, server, lambda _: "", **options) as session:
        assert ids(session.incoming) == ["1"]


def test_it_is_final_without_a_hook_also_where_the_status_is_retried(server, client):
    server.respond(503)
    options = {"cursor_expired_statuses": [503], "retry_first_connection": True}
    with pytest.raises(CursorExpiredError, match="Unavailable: the server cannot continue"):
        sessions_with(client, server, **options)
    assert len(server.requests) == 1


def test_where_no_id_was_sent_nothing_has_expired(server, client, cursor):
    server.respond(410)
    asked = Signal()
    with pytest.raises(UnexpectedStatusError) as caught:
        client.sse(server.url, cursor=cursor, on_cursor_expired=asked)
    assert type(caught.value) is UnexpectedStatusError
    assert not asked.is_set()


def test_a_reconnection_is_refused_and_starts_afresh(server, client):
    cursor = Cursor()
    server.serve(numbered(1, 2), then="drop")
    server.respond(410)
    server.serve(numbered(1, 1), then="drop")
    server.respond(410)
    server.serve(numbered(5, 6))
    hooked = Signal()
    options = {"on_cursor_expired": lambda session: (hooked(session.state), "")[1]}
    with client.sse(server.url, cursor=cursor, **options) as session:
        assert ids(session.incoming) == ["1", "2", "1", "5", "6"]
    assert asked_for(server) == [None, "2", None, "1", None]
    assert hooked.calls == [(ReadyState.CONNECTING,)] * 2
    assert cursor.saved == ["1", "2", "1", "5", "6"]


def test_the_error_says_whether_its_body_is_complete(server, client):
    server.respond(410, body=b"gone")
    with pytest.raises(CursorExpiredError) as caught:
        sessions_with(client, server, max_error_body=3)
    assert (caught.value.body, caught.value.body_is_truncated) == (b"gon", True)


def test_a_reconnection_that_is_refused_ends_the_session(server, client):
    server.serve(numbered(1, 2), then="drop")
    server.respond(410)
    lost = Signal()
    with client.sse(server.url, on_disconnect=lost) as session:
        assert [next(session.incoming).id for _ in range(2)] == ["1", "2"]
        with pytest.raises(CursorExpiredError, match="410"):
            next(session.incoming)
        assert isinstance(session.error, CursorExpiredError)
    assert lost.calls[-1] == (session, session.error, None)


def test_the_hook_may_close_the_session(server, client):
    server.serve(numbered(1, 1), then="drop")
    server.respond(410)

    def hook(session):
        session.close()
        return ""

    with client.sse(server.url, on_cursor_expired=hook) as session:
        assert ids(session.incoming) in ([], ["1"])
        session._reader.join(PATIENCE)
        assert session.error is None
    assert len(server.requests) == 2


def test_the_position_is_behind_what_was_processed_when_it_gives_up(server, client, cursor):
    server.serve(numbered(1, 2), then="drop")
    for _ in range(2):
        server.respond(503)
    session = client.sse(server.url, cursor=cursor, max_reconnection_attempts=1)
    session._reader.join(PATIENCE)
    assert [next(session.incoming).id for _ in range(2)] == ["1", "2"]
    with pytest.raises(ReconnectionExhaustedError):
        next(session.incoming)
    assert cursor.calls == ["load", "1", "2", "close"]


def test_a_file_holds_the_position_and_a_lock(server, client, tmp_path):
    path = tmp_path / "position.json"
    server.serve(numbered(1, 2))
    with client.sse(server.url, cursor=FileCursor(path)) as session:
        assert next(session.incoming).id == "1"
        with pytest.raises(CursorError, match="is in use by another cursor of this process"):
            client.sse(server.url, cursor=FileCursor(path))
        assert ids(session.incoming) == ["2"]
    server.respond(204)
    with client.sse(server.url, cursor=FileCursor(path)) as session:
        assert list(session.incoming) == []
    assert asked_for(server) == [None, "2"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["position.json"]


def test_many_streams_share_a_database(server, client, tmp_path):
    path = tmp_path / "positions.db"
    for names in (("a", "b"), ("b", "a")):
        for name in names:
            server.serve(numbered(1, 2) if name == "a" else numbered(7, 9))
            with client.sse(server.url, cursor=SQLiteCursor(path, name)) as session:
                assert list(session.incoming)
    assert asked_for(server) == [None, None, "9", "2"]


def test_an_ended_session_that_is_disowned_takes_the_cursor_from_nobody(cursor):
    ended, following = PositionKeeper(cursor), PositionKeeper(cursor)
    ended.load("")
    ended.close()
    ended.wait_given_back(PATIENCE)
    following.load("")
    ended.disown()
    with pytest.raises(ValueError, match="own"):
        PositionKeeper(cursor).load("")
    following.close()
    following.wait_given_back(PATIENCE)
    assert cursor.calls == ["load", "close", "load", "close"]


def test_a_cursor_is_closed_once_although_two_come_to_it(cursor):
    keeper = PositionKeeper(cursor)
    keeper.load("")
    is_over = keeper._is_over

    def come_first():
        keeper._is_over = is_over
        keeper.drained(may_block=True)
        return True

    keeper._is_over = come_first
    keeper.drained(may_block=True)
    assert cursor.calls == ["load", "close"]


@pytest.mark.parametrize("late", [False, True])
def test_a_save_that_fails_once_it_is_done_does_not_let_the_old_id_count_as_saved(late):
    class Forgetful(Cursor):
        """Saves an ID, and only then fails."""

        def save(self, event_id):
            before, self.fail = self.fail, None
            super().save(event_id)
            if before is not None:
                raise before

    cursor = Forgetful()
    keeper = PositionKeeper(cursor, auto_acknowledge=False)
    keeper.load("")
    first, second, again = (ServerSentEvent(data, id=data[0]) for data in ("1", "2", "1 again"))
    for event in (first, second, again):
        keeper.hand_out(event, is_last=False)
    if late:
        keeper.close()
    keeper.acknowledge([first])
    cursor.fail = OSError()
    with pytest.raises(CursorError):
        keeper.acknowledge([second])
    assert cursor.position == "2"
    keeper.acknowledge([again])
    assert cursor.position == "1"
    keeper.close()
