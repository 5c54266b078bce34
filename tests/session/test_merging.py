"""Many streams in one loop: the order, the end, failures, and cleaning up."""

from __future__ import annotations

import _thread
import contextlib
import gc
import json
import os
import pickle
import sys
import threading

import pytest
from support import PATIENCE, Running, await_channel, fill, sse_client_for_tests

from sse_client import (
    CursorError,
    DeserializationError,
    FileCursor,
    ReadyState,
    ServerSentEvent,
    SessionFailedError,
    StreamInterruptedError,
    UnexpectedStatusError,
    merge,
)
from sse_client.session import merge_bell, merging
from sse_client.session.merge_bell import FileBell, LockBell
from sse_client.testing import InMemoryServer, SSEServer

STREAMS = 200

#: The bells of this system.
BELLS = [LockBell, FileBell] if hasattr(os, "eventfd") else [LockBell]


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


class Stream:
    """A session, and the server's end of it."""

    def __init__(self, server, client, **options):
        opening = Running(lambda: client.sse(server.url, **{"reconnect": "never", **options}))
        self.exchange = server.accept()
        self.exchange.open()
        self.session = opening.outcome()

    def send(self, *data):
        """Send events, and wait until they have arrived."""
        before = self.arrived()
        for each in data:
            event = each if isinstance(each, ServerSentEvent) else ServerSentEvent(each)
            self.exchange.send_event(event)
        await_channel(self.session.incoming, lambda: self.arrived() >= before + len(data))

    def arrived(self):
        """Return the number of events that have arrived in the channel."""
        bounds = self.session.incoming._bounds
        return bounds.put_count + bounds._refused

    def end(self):
        self.exchange.end()
        self.session._reader.join(PATIENCE)


@pytest.fixture
def streams(server, client):
    """Two open streams."""
    return Stream(server, client), Stream(server, client)


def sessions_of(streams):
    return [stream.session for stream in streams]


def named(streams, pairs):
    """Replace the sessions by their numbers."""
    sessions = sessions_of(streams)
    return [(sessions.index(session), event.data) for session, event in pairs]


def states(streams):
    return {stream.session.state for stream in streams}


class TestOrder:
    def test_is_that_of_arrival(self, streams):
        first, second = streams
        merged = merge(sessions_of(streams))
        sent = [(0, "a"), (1, "b"), (1, "c"), (0, "d"), (0, "e"), (1, "f")]
        for number, data in sent:
            streams[number].send(data)
        first.end()
        second.end()
        assert named(streams, merged) == sent

    def test_of_what_waited_before_is_in_turns(self, streams):
        first, second = streams
        first.send("a", "b", "c")
        second.send("x")
        merged = merge(sessions_of(streams))
        second.send("y")
        first.end()
        second.end()
        taken = named(streams, merged)
        assert taken[:2] == [(0, "a"), (1, "x")]
        assert sorted(taken) == [(0, "a"), (0, "b"), (0, "c"), (1, "x"), (1, "y")]

    def test_lets_a_fast_stream_starve_nobody(self, server, client):
        def flood(exchange):
            exchange.open()
            with contextlib.suppress(OSError, RuntimeError):
                while True:
                    exchange.write(b"data: fast\n\n" * 100)

        slow = Stream(server, client)
        with SSEServer(flood) as flooding:
            fast = client.sse(flooding.url, reconnect="never", capacity=64)
            with merge([fast, slow.session]) as merged:
                for number in range(20):
                    slow.send(str(number))
                    ahead = 0
                    while next(merged)[0] is fast:
                        ahead += 1
                    # The events of the channel, plus one share if another event has just arrived.
                    assert ahead <= 64 + 1


class TestWaiting:
    @pytest.mark.parametrize("kind", BELLS)
    def test_wakes_for_an_event_and_for_the_end(self, streams, monkeypatch, kind):
        waits = threading.Semaphore(0)

        class Bell(kind):
            def wait_unless(self, shares):
                waits.release()
                super().wait_unless(shares)

        monkeypatch.setattr(merging, "new_merge_bell", Bell)
        merged = merge(sessions_of(streams))
        running = Running(lambda: named(streams, merged))
        assert waits.acquire(timeout=PATIENCE)
        streams[1].send("x")
        assert waits.acquire(timeout=PATIENCE)
        streams[0].end()
        streams[1].end()
        assert running.outcome() == [(1, "x")]

    def test_ends_when_another_thread_closes(self, streams):
        merged = merge(sessions_of(streams))
        running = Running(lambda: list(merged))
        merged.close()
        assert running.outcome() == []
        assert states(streams) == {ReadyState.CLOSED}
        assert list(merged) == []

    def test_that_is_interrupted_loses_nothing(self, streams, monkeypatch):
        merged = merge(sessions_of(streams))
        streams[0].send("a")

        def interrupt(_block):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(streams[0].session.incoming, "get", interrupt)
            with pytest.raises(KeyboardInterrupt):
                next(merged)
        assert named(streams, [next(merged)]) == [(0, "a")]
        merged.close()

    def test_misses_the_share_of_an_event_and_of_an_end(self, streams):
        merged = merge(sessions_of(streams))

        def lose_share():  # as by Ctrl-C or a fork, after the step that takes it out
            merged._touched.add(merged._shares[0])
            merged._shares[0].use()
            merged._shares.popleft()

        streams[1].send("a")
        lose_share()
        assert named(streams, [next(merged)]) == [(1, "a")]
        streams[1].end()
        lose_share()
        streams[0].end()
        lose_share()
        assert Running(lambda: list(merged)).outcome() == []


def followed_with_an_interruption(sessions, at):
    """Take all events, raise Ctrl-C before a line of the loop, and return whether it was."""
    lines = 0
    followed = {merging.__file__, merge_bell.__file__}

    def count(frame, event, _arg):
        nonlocal lines
        name = frame.f_code.co_name
        if frame.f_code.co_filename not in followed or name in {"__init__", "__del__"}:
            return None
        if event == "line":
            lines += 1
            if lines == at:
                raise KeyboardInterrupt
        return count

    merged = merge(sessions)
    taken = []
    before = sys.gettrace()
    sys.settrace(count)
    try:
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                pair = next(merged, None)
                if pair is None:
                    break
                taken.append(pair[1].data)
    finally:
        sys.settrace(before)
    return sorted(taken), lines >= at


def test_an_interruption_anywhere_in_the_loop_costs_neither_an_event_nor_its_end():
    def two(exchange):
        exchange.open()
        exchange.send("a")
        exchange.send("b")
        exchange.end()

    with InMemoryServer(two) as server, server.client(reconnect="never") as client:
        at, came = 0, True
        while came:
            at += 1
            sessions = [client.sse(server.url), client.sse(server.url)]
            running = Running(lambda: followed_with_an_interruption(sessions, at))  # noqa: B023
            taken, came = running.outcome()
            assert taken == ["a", "a", "b", "b"], at
    assert at > 20


def test_a_merge_that_is_dropped_by_an_ending_thread_leaves_no_trace_of_the_thread(streams):
    merged = [merge(sessions_of(streams))]
    dropped = threading.Event()

    def drop():
        merged.clear()
        dropped.set()

    # Started without `threading`, like a thread that `threading` no longer lists.
    _thread.start_new_thread(drop, ())
    assert dropped.wait(PATIENCE)
    assert not [each for each in threading.enumerate() if isinstance(each, threading._DummyThread)]


def test_a_merge_that_is_dropped_at_the_very_end_of_the_process_is_left_alone(streams):
    # There gevent's locks cannot be used, and all sessions have been stopped.
    with merge(sessions_of(streams)) as merged:
        merged.__del__(lambda: True)
        assert states(streams) == {ReadyState.OPEN}


class TestEnd:
    def test_of_all_closes_all(self, streams):
        merged = merge(sessions_of(streams))
        streams[0].send("a")
        streams[0].end()
        assert named(streams, [next(merged)]) == [(0, "a")]
        streams[1].send("b")
        streams[1].end()
        assert named(streams, merged) == [(1, "b")]
        assert states(streams) == {ReadyState.CLOSED}
        assert list(merged) == []

    def test_of_no_sessions_is_at_once(self):
        assert list(merge([])) == []

    def test_of_some_before_it_began(self, streams):
        streams[0].send("a")
        streams[0].end()
        streams[1].session.close()
        assert named(streams, merge(sessions_of(streams))) == [(0, "a")]

    def test_of_one_that_is_closed_meanwhile_ends_that_one_alone(self, streams):
        merged = merge(sessions_of(streams))
        streams[0].send("dropped")
        streams[1].send("b")
        streams[0].session.close()
        assert named(streams, [next(merged)]) == [(1, "b")]
        streams[1].end()
        assert list(merged) == []

    def test_of_a_channel_that_is_drained_comes_after_its_events(self, streams):
        merged = merge(sessions_of(streams))
        streams[0].send("a", "b")
        streams[0].session.close(drain=True)
        streams[1].end()
        assert named(streams, merged) == [(0, "a"), (0, "b")]


class TestLeaving:
    def test_by_break_closes_all(self, streams):
        streams[0].send("a", "b")
        for _session, _event in merge(sessions_of(streams)):
            break
        assert states(streams) == {ReadyState.CLOSED}

    def test_by_an_exception_closes_all(self, streams):
        streams[0].send("a", "b")

        def work():
            for _session, _event in merge(sessions_of(streams)):
                raise RuntimeError

        with pytest.raises(RuntimeError):
            work()
        gc.collect()
        assert states(streams) == {ReadyState.CLOSED}

    def test_the_block_closes_all(self, streams):
        streams[0].send("a")
        with merge(sessions_of(streams)) as merged:
            next(merged)
            assert states(streams) == {ReadyState.OPEN}
        assert states(streams) == {ReadyState.CLOSED}
        assert not [each for each in threading.enumerate() if each.name.startswith("sse-client:")]

    def test_does_not_process_the_event_in_hand(self, server, client, tmp_path):
        path = tmp_path / "position.json"
        stream = Stream(server, client, cursor=FileCursor(path))
        stream.send(ServerSentEvent("a", id="1"), ServerSentEvent("b", id="2"))
        with merge([stream.session]) as merged:
            next(merged)
            next(merged)
        assert json.loads(path.read_text())["last_event_id"] == "1"


class TestFailures:
    def test_name_the_session_and_the_others_go_on(self, streams):
        merged = merge(sessions_of(streams))
        streams[0].send("a")
        streams[0].exchange.drop()
        streams[0].session._reader.join(PATIENCE)
        streams[1].send("b")
        assert named(streams, [next(merged)]) == [(0, "a")]
        with pytest.raises(SessionFailedError, match="failed with StreamInterrupted") as caught:
            next(merged)
        error = caught.value
        assert error.session is streams[0].session
        assert isinstance(error.error, StreamInterruptedError)
        assert error.__cause__ is error.error is streams[0].session.error
        assert named(streams, [next(merged)]) == [(1, "b")]
        streams[1].end()
        assert list(merged) == []

    def test_that_came_before_it_began_are_told(self, streams):
        streams[0].exchange.drop()
        streams[0].session._reader.join(PATIENCE)
        streams[1].end()
        merged = merge(sessions_of(streams))
        with pytest.raises(SessionFailedError):
            next(merged)
        assert list(merged) == []

    def test_of_decoding_leave_the_session_in(self, server, client):
        stream = Stream(server, client, types=int)
        with merge([stream.session]) as merged:
            stream.send("1", "x", "2")
            stream.end()
            assert next(merged)[1].data == 1
            with pytest.raises(SessionFailedError, match="DeserializationError") as caught:
                next(merged)
            assert isinstance(caught.value.error, DeserializationError)
            assert caught.value.error.event.data == "x"
            assert [event.data for _, event in merged] == [2]

    def test_travel_to_another_process_without_the_session(self, streams):
        cause = UnexpectedStatusError.__new__(UnexpectedStatusError, "refused")
        cause.args, cause.buffer = ("refused",), b"read"
        error = SessionFailedError("it failed", session=streams[0].session, error=cause)
        copied = pickle.loads(pickle.dumps(error))
        assert (str(copied), copied.session, copied.buffer) == ("it failed", None, b"read")
        for stream in streams:
            stream.session.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_in_a_forked_child_tell_that_the_sessions_are_the_parents(self, streams):
        with merge(sessions_of(streams)) as merged:
            child = os.fork()
            if child == 0:
                failed = 0
                try:
                    for _ in range(2):
                        try:
                            next(merged)
                        except SessionFailedError:
                            failed += 1
                    failed += list(merged) == []
                finally:
                    os._exit(failed)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 3
            streams[0].send("still here")
            assert named(streams, [next(merged)]) == [(0, "still here")]


class Store:
    """A cursor that fails on request."""

    def __init__(self):
        self.saved = []
        self.fails = False

    def load(self):
        return None

    def save(self, event_id):
        if self.fails:
            raise OSError("no room")
        self.saved.append(event_id)

    def close(self):
        pass


class TestPositions:
    def test_move_when_the_consumer_comes_back_for_an_event_of_any_session(self, server, client):
        stores = [Store(), Store()]
        streams = [Stream(server, client, cursor=store) for store in stores]
        with merge(sessions_of(streams)) as merged:
            for number, stream in enumerate(streams):
                stream.send(ServerSentEvent("x", id=f"{number}-1"))
            next(merged)
            assert [store.saved for store in stores] == [[], []]
            next(merged)
            assert [store.saved for store in stores] == [["0-1"], []]
            streams[0].end()
            streams[1].end()
            assert list(merged) == []
            assert [store.saved for store in stores] == [["0-1"], ["1-1"]]

    def test_that_cannot_be_saved_are_told_and_hold_nobody_up(self, server, client):
        store = Store()
        streams = [Stream(server, client, cursor=store), Stream(server, client)]
        with merge(sessions_of(streams)) as merged:
            streams[0].send(ServerSentEvent("a", id="1"), ServerSentEvent("b", id="2"))
            streams[1].send("x", "y")
            store.fails = True
            taken, failures = [], []
            while len(taken) < 3 or len(failures) < 2:
                try:
                    taken += named(streams, [next(merged)])
                except SessionFailedError as error:
                    failures.append(error)
            assert taken == [(0, "a"), (1, "x"), (1, "y")]
            assert {type(error.error) for error in failures} == {CursorError}
            assert {error.session for error in failures} == {streams[0].session}
            store.fails = False
            assert named(streams, [next(merged)]) == [(0, "b")]
            assert store.saved == ["1"]
            streams[0].end()
            streams[1].end()
            assert list(merged) == []
            assert store.saved == ["1", "2"]


class TestOtherConsumers:
    def test_may_take_events_too(self, streams):
        merged = merge(sessions_of(streams))
        streams[0].send("a", "b")
        streams[1].send("x")
        assert streams[0].session.incoming.get().data == "a"
        assert streams[0].session.incoming.get().data == "b"
        assert named(streams, [next(merged)]) == [(1, "x")]
        streams[0].send("c")
        streams[0].end()
        streams[1].end()
        assert named(streams, merged) == [(0, "c")]

    def test_may_take_the_last_events_before_the_end(self, streams):
        merged = merge(sessions_of(streams))
        streams[0].send("a", "b")
        assert [streams[0].session.incoming.get().data for _ in "ab"] == ["a", "b"]
        streams[0].end()
        streams[1].send("x")
        streams[1].end()
        assert named(streams, merged) == [(1, "x")]

    def test_leave_no_more_behind_than_the_channel_holds(self, server, client):
        stream = Stream(server, client, overflow="drop_oldest", capacity=4)
        merged = merge([stream.session])
        stream.send(*map(str, range(100)))
        assert len(merged._shares) <= 4
        stream.end()
        assert [event.data for _, event in merged] == ["96", "97", "98", "99"]


class TestRefusals:
    def test_of_a_session_that_is_there_twice(self, streams):
        first = streams[0].session
        with pytest.raises(ValueError, match="must not contain a session twice: <SSESession"):
            merge([first, streams[1].session, first])
        assert states(streams) == {ReadyState.OPEN}
        for stream in streams:
            stream.session.close()

    def test_by_ctrl_c_leaves_sessions_that_can_be_merged_again(self, streams, monkeypatch):
        first, second = sessions_of(streams)

        def interrupted(watcher):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(second.incoming, "watch", interrupted)
            with pytest.raises(KeyboardInterrupt):
                merge([first, second])
        with merge([first, second]):
            assert states(streams) == {ReadyState.OPEN}

    def test_of_a_session_that_is_merged_already(self, streams):
        first, second = sessions_of(streams)
        with merge([second]) as merged:
            with pytest.raises(ValueError, match="the session is already merged"):
                merge([first, second])
            assert states(streams) == {ReadyState.OPEN}
            streams[1].send("x")
            assert next(merged)[1].data == "x"
            merge([first]).close()  # the first session can be merged again

    def test_of_what_is_no_session(self, streams):
        with pytest.raises(TypeError, match="must contain SSESessions, not IncomingChannel"):
            merge([streams[0].session.incoming])
        with pytest.raises(TypeError, match="not iterable"):
            merge(streams[0].session)
        for stream in streams:
            stream.session.close()


@pytest.mark.slow
def test_two_hundred_streams_take_no_thread_more(server, client):
    sessions = [None] * STREAMS
    for number in range(STREAMS):
        server.serve([f"{number} {each}" for each in range(5)], then="stall")
        sessions[number] = client.sse(server.url, reconnect="never")
    for session in sessions:
        fill(session.incoming, 5)
    threads = threading.active_count()
    found = {}
    with merge(sessions) as merged:
        for session, event in merged:
            found.setdefault(id(session), []).append(event.data)
            assert threading.active_count() <= threads
            if sum(map(len, found.values())) == 5 * STREAMS:
                break
    assert len(found) == STREAMS
    for events in found.values():
        assert [data.split()[1] for data in events] == ["0", "1", "2", "3", "4"]
        assert len({data.split()[0] for data in events}) == 1
    assert {session.state for session in sessions} == {ReadyState.CLOSED}
