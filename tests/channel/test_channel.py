"""The channel: a queue that is bounded in two ways, can be iterated over, and ends."""

from __future__ import annotations

import queue
import sys
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

import pytest
from support import PATIENCE, Running, fill

from sse_client import (
    ChannelClosed,
    ChannelOverflowError,
    IncomingChannel,
    ServerSentEvent,
    SessionClosedError,
)
from sse_client.channel.bounds import Bounds
from sse_client.channel.waiting import RoomWaiters, WaitList
from sse_client.clock import Doorbell

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=["with a global lock", "without one"], autouse=True)
def interpreter(request, monkeypatch):
    """Run each test as on both kinds of interpreter."""
    monkeypatch.setattr(
        "sse_client.channel.incoming.HAS_GIL", request.param == "with a global lock"
    )


def events(*data: str) -> list[ServerSentEvent]:
    return [ServerSentEvent(each) for each in data]


def data(channel: IncomingChannel) -> list[str]:
    return [event.data for event in channel]


def data_now(channel: IncomingChannel) -> list[str]:
    return [channel.get_nowait().data for _ in range(channel.qsize())]


class Waiters(WaitList):
    """Replaces a list of waiting threads, and reports when threads have been added to it."""

    def __init__(self, owner: object, name: str) -> None:
        super().__init__(getattr(owner, name)._mutex)
        self._came = threading.Semaphore(0)
        setattr(owner, name, self)

    def join(self, wake: Callable[[], object]) -> None:
        super().join(wake)
        self._came.release()  # waking it requires the mutex, which is held until it waits

    def expect(self, count: int = 1) -> None:
        for _ in range(count):
            assert self._came.acquire(timeout=PATIENCE)


def takers(channel: IncomingChannel) -> Waiters:
    return Waiters(channel, "_takers")


def putters(channel: IncomingChannel) -> Waiters:
    return Waiters(channel._waiters, "_putting")


def joiners(channel: IncomingChannel) -> Waiters:
    return Waiters(channel, "_joiners")


def has_rung(bell: Doorbell) -> bool:
    return not bell._silence.locked()


def test_it_is_a_queue():
    channel = IncomingChannel(capacity=3)
    assert isinstance(channel, queue.Queue)
    assert (channel.maxsize, channel.empty(), channel.full()) == (3, True, False)
    assert channel.offer(events("a", "b", "c"), 30) == ()
    assert (channel.qsize(), channel.full()) == (3, True)
    assert channel.get().data == "a"
    assert channel.get_nowait().data == "b"
    assert channel.get(timeout=1).data == "c"


def test_get_waits_for_an_event():
    channel = IncomingChannel()
    waiters = takers(channel)
    getting = Running(channel.get)
    waiters.expect()
    channel.offer(events("a"), 10)
    assert getting.outcome().data == "a"


def test_get_with_a_timeout_waits_for_an_event():
    channel = IncomingChannel()
    waiters = takers(channel)
    getting = Running(lambda: channel.get(timeout=3600))
    waiters.expect()
    channel.offer(events("a"), 10)
    assert getting.outcome().data == "a"


def test_get_raises_empty_without_an_event():
    channel = IncomingChannel()
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.001)
    with pytest.raises(ValueError, match="non-negative"):
        channel.get(timeout=-1)


def test_a_batch_wakes_as_many_consumers_as_it_has_events():
    channel = IncomingChannel()
    waiters = takers(channel)
    getting = [Running(channel.get) for _ in range(3)]
    waiters.expect(3)
    channel.offer(events("a", "b", "c"), 30)
    assert sorted(each.outcome().data for each in getting) == ["a", "b", "c"]


def test_a_caller_may_wake_the_consumers_later():
    channel = IncomingChannel()
    waiters = takers(channel)
    taken = queue.SimpleQueue()
    getting = [Running(lambda: taken.put(channel.get())) for _ in range(3)]
    waiters.expect(3)
    wakes = {}
    channel.offer(events("a", "b"), 20, wakes)
    assert len(waiters.wakes) == 3
    for wake in wakes:
        wake()
    assert len(waiters.wakes) == 1
    assert sorted(taken.get(timeout=PATIENCE).data for _ in "ab") == ["a", "b"]
    channel.end()
    outcomes = [each.outcome() for each in getting]
    assert [type(outcome) for outcome in outcomes if outcome] == [ChannelClosed]


def test_a_consumer_that_comes_before_the_others_wake_takes_the_event():
    channel = IncomingChannel()
    waiters = takers(channel)
    getting = Running(channel.get)
    waiters.expect()
    wakes = {}
    channel.offer(events("a"), 10, wakes)
    assert channel.get(timeout=PATIENCE).data == "a"
    for wake in wakes:
        wake()
    assert len(waiters.wakes) == 1
    channel.offer(events("b"), 10, {})
    channel.end()
    assert getting.outcome().data == "b"


def test_leaving_the_loop_loses_nothing():
    channel = IncomingChannel()
    channel.offer(events("a", "b", "c"), 30)
    channel.end()
    for event in channel:
        assert event.data == "a"
        break
    assert next(channel).data == "b"
    assert data(channel) == ["c"]


def test_the_end_comes_after_the_last_event():
    channel = IncomingChannel()
    channel.offer(events("a"), 10)
    channel.end()
    assert channel.get().data == "a"
    for _ in range(2):
        with pytest.raises(ChannelClosed, match="no more events will arrive"):
            channel.get()
    assert data(channel) == []


def test_closed_is_what_python_calls_shut_down():
    assert issubclass(ChannelClosed, getattr(queue, "ShutDown", Exception))
    assert sys.version_info < (3, 13) or issubclass(ChannelClosed, queue.ShutDown)


def test_an_error_comes_after_the_last_event_and_to_each_consumer():
    channel = IncomingChannel()
    channel.offer(events("a"), 10)
    channel.end(RuntimeError("it broke"))
    assert next(channel).data == "a"
    for _ in range(2):
        with pytest.raises(RuntimeError, match="it broke"):
            next(channel)
        with pytest.raises(RuntimeError, match="it broke"):
            channel.get(timeout=1)


def test_the_end_wakes_all_consumers():
    channel = IncomingChannel()
    waiters = takers(channel)
    getting = [Running(channel.get) for _ in range(3)]
    waiters.expect(3)
    channel.end()
    assert [type(each.outcome()) for each in getting] == [ChannelClosed] * 3


def test_the_first_end_counts():
    channel = IncomingChannel()
    channel.end()
    channel.end(RuntimeError("too late"))
    assert data(channel) == []


def test_closing_drops_what_is_there_and_any_error():
    channel = IncomingChannel()
    channel.offer(events("a"), 10)
    channel.end(RuntimeError("it broke"))
    channel.close()
    assert data(channel) == []
    channel.join()


def test_shutdown_drains_or_drops():
    draining, dropping = IncomingChannel(), IncomingChannel()
    for channel in (draining, dropping):
        channel.offer(events("a"), 10)
    draining.shutdown()
    dropping.shutdown(immediate=True)
    assert (data(draining), data(dropping)) == (["a"], [])


def test_nothing_comes_in_after_the_end():
    channel = IncomingChannel()
    channel.end()
    with pytest.raises(ChannelClosed):
        channel.offer(events("a"), 10)
    with pytest.raises(ChannelClosed):
        channel.put(ServerSentEvent("a"))
    channel.append_arrived(events("a"))
    assert data(channel) == []


def test_what_has_arrived_comes_in_without_room():
    channel = IncomingChannel(capacity=1)
    channel.append_arrived(events("a", "b"))
    channel.end()
    assert data(channel) == ["a", "b"]


def test_one_can_put_events_of_ones_own():
    channel = IncomingChannel(capacity=1)
    channel.put(ServerSentEvent("a"))
    with pytest.raises(queue.Full):
        channel.put_nowait(ServerSentEvent("b"))
    with pytest.raises(queue.Full):
        channel.put(ServerSentEvent("b"), timeout=0.001)
    with pytest.raises(ValueError, match="non-negative"):
        channel.put(ServerSentEvent("b"), timeout=-1)
    waiters = putters(channel)
    putting = Running(lambda: channel.put(ServerSentEvent("b"), timeout=3600))
    waiters.expect()
    assert channel.get().data == "a"
    assert putting.outcome() is None
    assert channel.get().data == "b"


def test_the_end_frees_a_blocked_put():
    channel = IncomingChannel(capacity=1)
    channel.put(ServerSentEvent("a"))
    waiters = putters(channel)
    putting = Running(lambda: channel.put(ServerSentEvent("b")))
    waiters.expect()
    channel.end()
    assert isinstance(putting.outcome(), ChannelClosed)


def test_tasks_are_counted():
    channel = IncomingChannel()
    channel.offer(events("a", "b"), 20)
    waiters = joiners(channel)
    joining = Running(channel.join)
    waiters.expect()
    for _ in range(2):
        channel.get()
        channel.task_done()
    assert joining.outcome() is None
    with pytest.raises(ValueError, match="called too many times"):
        channel.task_done()


def test_events_that_are_dropped_are_no_tasks():
    channel = IncomingChannel(capacity=1, overflow="drop_oldest")
    channel.offer(events("a"), 10)
    channel.offer(events("b"), 10)
    assert channel.get().data == "b"
    channel.task_done()
    channel.join()


# Overflow.


def test_block_returns_what_has_no_room_and_rings_at_half_full():
    channel = IncomingChannel(capacity=4)
    rest = channel.offer(events(*"abcdef"), 60)
    assert [event.data for event in rest] == ["e", "f"]
    rung = Running(channel.room.wait)
    for expected in "ab":
        assert channel.get().data == expected
    assert rung.outcome() is None
    assert channel.offer(rest, 0) == ()
    assert channel.dropped == 0


def test_block_rings_once_for_each_wait():
    channel = IncomingChannel(capacity=4)
    assert channel.offer(events(*"abcde"), 50) == events("e")
    for _ in range(2):
        channel.get()
    channel.room.wait()
    for _ in range(2):
        channel.get()
    assert not has_rung(channel.room)


def test_the_first_event_that_is_taken_frees_a_put_though_the_stream_waits_for_half():
    channel = IncomingChannel(capacity=4)
    assert channel.offer(events(*"abcd"), 40) == ()
    waiters = putters(channel)
    putting = Running(lambda: channel.put(ServerSentEvent("mine")))
    waiters.expect()
    assert channel.offer(events("e"), 10) == events("e")
    channel.get()
    assert putting.outcome() is None
    assert [event.data for event in channel._events] == ["b", "c", "d", "mine"]


def test_block_counts_bytes_too():
    channel = IncomingChannel(capacity_bytes=100)
    assert channel.offer(events("a"), 60) == ()
    waiting = events("b")
    assert channel.offer(waiting, 60) == waiting
    channel.get()
    assert channel.offer(waiting, 60) == ()


def test_an_event_larger_than_all_the_room_passes_alone():
    channel = IncomingChannel(capacity_bytes=100)
    assert channel.offer(events("large"), 1000) == ()
    small = events("small")
    assert channel.offer(small, 10) == small
    channel.get()
    assert channel.offer(small, 10) == ()


def test_bytes_are_given_back_when_a_batch_is_taken():
    channel = IncomingChannel(capacity_bytes=100)
    for _ in range(10):
        assert channel.offer(events("a", "b"), 90) == ()
        assert [channel.get().data, channel.get().data] == ["a", "b"]


def test_drop_oldest_keeps_the_newest():
    channel = IncomingChannel(capacity=3, overflow="drop_oldest")
    assert channel.offer(events("a", "b"), 20) == ()
    assert channel.offer(events("c", "d"), 20) == ()
    channel.end()
    assert (data(channel), channel.dropped) == (["b", "c", "d"], 1)


def test_drop_oldest_keeps_the_end_of_a_batch_beyond_capacity():
    channel = IncomingChannel(capacity=2, overflow="drop_oldest")
    assert channel.offer(events("x"), 10) == ()
    assert channel.offer(events(*"abcd"), 40) == ()
    channel.end()
    assert (data(channel), channel.dropped) == (["c", "d"], 3)


def test_drop_oldest_makes_room_in_bytes():
    channel = IncomingChannel(capacity_bytes=100, overflow="drop_oldest")
    for each in "abc":
        assert channel.offer(events(each), 50) == ()
    channel.end()
    assert (data(channel), channel.dropped) == (["b", "c"], 1)


def test_drop_newest_keeps_the_oldest():
    channel = IncomingChannel(capacity=3, overflow="drop_newest")
    assert channel.offer(events("a", "b"), 20) == ()
    assert channel.offer(events("c", "d"), 20) == ()
    channel.end()
    assert (data(channel), channel.dropped) == (["a", "b", "c"], 1)


def test_error_keeps_what_has_room_and_raises():
    channel = IncomingChannel(capacity=3, overflow="error")
    with pytest.raises(ChannelOverflowError, match="capacity=3") as caught:
        channel.offer(events(*"abcd"), 40)
    assert caught.value.capacity == 3
    channel.end(caught.value)
    assert [next(channel).data for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(ChannelOverflowError):
        next(channel)


def test_many_consumers_share_the_events():
    channel = IncomingChannel(capacity=64)
    consumers = [Running(lambda: data(channel)) for _ in range(4)]
    for number in range(0, 1000, 10):
        rest = events(*(str(number + offset) for offset in range(10)))
        while rest := channel.offer(rest, 10):
            channel.room.wait(PATIENCE)
    channel.end()
    taken = [each for consumer in consumers for each in consumer.outcome()]
    assert sorted(taken, key=int) == [str(number) for number in range(1000)]


def test_a_consumer_waits_again_if_another_one_was_faster():
    class Contended(IncomingChannel):
        stolen = None

        def _take_or_raise_end(self, task=None):
            if self.stolen is None:
                self.stolen = self._events.popleft()
            return super()._take_or_raise_end(task)

    channel = Contended()
    waiting = takers(channel)
    running = Running(channel.get)
    waiting.expect()
    channel.offer(events("a"), 10)
    waiting.expect()
    channel.offer(events("b"), 10)
    assert running.outcome().data == "b"
    assert channel.stolen.data == "a"


def test_a_doorbell_rung_before_the_wait_is_heard():
    bell = Doorbell()
    bell.ring()
    bell.ring()
    bell.wait()
    bell.wait(0.001)


def test_a_doorbell_may_be_rung_while_it_is_being_rung():
    bell = Doorbell()
    silence = bell._silence

    class Interrupted:
        def locked(self):
            bell._silence = silence
            is_locked = silence.locked()
            bell.ring()  # by a signal handler, or another thread
            return is_locked

        def release(self):
            silence.release()

    bell._silence = Interrupted()
    rings = []
    bell.listener = lambda: rings.append(bell.last_ring)
    bell.ring()
    assert len(rings) == 2
    assert has_rung(bell)
    bell.wait(PATIENCE)
    assert not has_rung(bell)


def test_fill_waits():
    channel = IncomingChannel()
    filling = Running(lambda: fill(channel, 2))
    channel.offer(events("a"), 1)
    channel.offer(events("b"), 1)
    assert filling.outcome() is None


class Hasty(RoomWaiters):
    """Its events are all taken just before a consumer could see that room is needed."""

    @property
    def wake_at(self):
        return -1

    @wake_at.setter
    def wake_at(self, count):
        if count >= 0:
            self._events.clear()


def test_room_that_came_while_it_was_asked_for_is_told_of():
    channel = IncomingChannel(capacity=2)
    channel._waiters = Hasty(channel._mutex, channel._events, channel.room)
    assert [event.data for event in channel.offer(events("a", "b", "c"), 3)] == ["c"]
    assert has_rung(channel.room)


def test_events_that_are_taken_while_the_oldest_are_dropped_are_not_dropped():
    class Emptied(Bounds):
        def _forget_taken_batches(self):
            super()._forget_taken_batches()
            if len(self._events) == 2:
                self._events.clear()  # the consumers were faster

    channel = IncomingChannel(capacity=3, overflow="drop_oldest")
    channel._bounds = Emptied(channel._events, 3, 1000, "drop_oldest")
    channel.offer(events("a", "b", "c"), 3)
    channel.offer(events("d", "e", "f"), 3)
    assert (data_now(channel), channel.dropped) == (["d", "e", "f"], 1)


def test_closing_frees_who_joins():
    channel = IncomingChannel()
    channel.offer(events("a"), 1)
    waiters = joiners(channel)
    joining = Running(channel.join)
    waiters.expect()
    channel.close()
    assert joining.outcome() is None


def test_closing_leaves_the_tasks_of_what_was_taken():
    channel = IncomingChannel()
    channel.offer(events("a", "b"), 2)
    channel.get()
    channel.close()
    channel.task_done()
    channel.join()
    with pytest.raises(ValueError, match="too many times"):
        channel.task_done()


def test_many_small_batches_are_forgotten_in_order():
    channel = IncomingChannel(capacity=10_000, capacity_bytes=10_000)
    for number in range(5000):
        channel.offer(events(str(number)), 1)
    for _ in range(4000):
        channel.get()
    assert channel.offer(events("x"), 9000 - 1) == ()
    assert channel.offer(events("y"), 2) != ()
    assert len(channel._bounds._batches) - channel._bounds._first_batch == 1001
    for _ in range(1000):
        channel.get()
    assert channel.offer(events("y"), 1001) == ()


def test_who_waits_for_an_event_tells_of_room_first():
    # Ctrl-C arrived after an event was taken and before its room was announced.
    channel = IncomingChannel(capacity=1)
    assert [event.data for event in channel.offer(events("a", "b"), 2)] == ["b"]
    channel._events.popleft()
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.001)
    assert has_rung(channel.room)


def test_an_abandoned_channel_goes_at_once():
    channel = IncomingChannel()
    gone = weakref.ref(channel)
    del channel
    assert gone() is None


def test_a_consumer_that_waited_tells_of_room():
    channel = IncomingChannel(capacity=1)
    waiters = takers(channel)
    getting = Running(channel.get)
    waiters.expect()
    assert [event.data for event in channel.offer(events("a", "b"), 2)] == ["b"]
    assert getting.outcome().data == "a"
    assert has_rung(channel.room)


def test_the_end_is_what_python_calls_shut_down():
    ended, closed = IncomingChannel(), IncomingChannel()
    assert not ended.is_shutdown
    ended.end()
    closed.close()
    assert ended.is_shutdown
    assert closed.is_shutdown


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest", "error"])
def test_without_a_capacity_it_is_bounded_in_bytes_alone(overflow):
    channel = IncomingChannel(0, capacity_bytes=100, overflow=overflow)
    assert channel.offer(events(*"abc"), 30) == ()
    assert channel.offer(events(*"de"), 20) == ()
    assert (channel.dropped, channel.full(), has_rung(channel.room)) == (0, False, False)
    assert data_now(channel) == ["a", "b", "c", "d", "e"]


def test_without_a_capacity_the_oldest_are_dropped_by_their_bytes():
    channel = IncomingChannel(0, capacity_bytes=100, overflow="drop_oldest")
    for each in "abc":
        assert channel.offer(events(each), 50) == ()
    assert (data_now(channel), channel.dropped) == (["b", "c"], 1)


@pytest.mark.parametrize("end", ["end", "close"])
def test_the_end_wakes_who_waits_for_room(end):
    channel = IncomingChannel(capacity=1)
    assert channel.offer(events("a", "b"), 2) == events("b")
    waiting = Running(lambda: channel.room.wait() or channel.is_shutdown)
    getattr(channel, end)()
    assert waiting.outcome() is True
    with pytest.raises(ChannelClosed):
        channel.offer(events("b"), 0)


@pytest.mark.parametrize("timeout", [None, 3600.0])
@pytest.mark.parametrize("call", ["get", "put"])
@pytest.mark.parametrize("moment", ["before it joins the list", "after that"])
def test_a_thread_whose_signal_handler_closes_the_channel_does_not_wait(call, timeout, moment):
    class Interrupted(Waiters):
        def join(self, wake):
            if moment == "after that":
                super().join(wake)
            channel.close()  # on the same thread
            if moment != "after that":
                super().join(wake)

    channel = IncomingChannel(capacity=1)
    if call == "put":
        Interrupted(channel._waiters, "_putting")
        channel.offer(events("a"), 1)
        waiting = Running(lambda: channel.put(*events("b"), timeout=timeout))
    else:
        Interrupted(channel, "_takers")
        waiting = Running(lambda: channel.get(timeout=timeout))
    assert isinstance(waiting.outcome(), ChannelClosed)


def test_an_event_that_is_taken_while_it_should_be_dropped_is_not_dropped():
    class Stolen(deque):
        def popleft(self):
            self.clear()  # the consumer was faster
            return super().popleft()

    channel = IncomingChannel(capacity=1, overflow="drop_oldest")
    channel.offer(events("a"), 1)
    channel._events = channel._bounds._events = Stolen(channel._events)
    assert channel.offer(events("b"), 1) == ()
    assert ([event.data for event in channel._events], channel.dropped) == (["b"], 0)
    assert channel.unfinished_tasks == 2  # the event that was taken is still being processed


def test_room_that_a_consumer_makes_just_before_the_wait_is_noticed():
    mutex = threading.RLock()
    waiters = RoomWaiters(mutex, deque(["event"]), Doorbell())
    looks = iter([True, False, False])  # full at the first check, and no longer at the second
    waiters.wait_while(looks.__next__, None)
    assert next(looks, None) is None


def test_one_that_a_forked_child_has_closed_is_still_its_parents():
    channel = IncomingChannel()
    channel.disown(SessionClosedError("the session belongs to another process"))
    channel.close()
    with pytest.raises(SessionClosedError, match="another process"):
        channel.get()
