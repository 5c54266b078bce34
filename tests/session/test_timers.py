"""When the shared reader checks which stream."""

from __future__ import annotations

import weakref

import pytest

from sse_client.session.timers import Timers


class Stream:
    timer = None


@pytest.fixture
def timers():
    return Timers()


def test_streams_are_due_in_the_order_of_their_moments(timers):
    streams = [Stream() for _ in range(5)]
    for moment in (3, 1, 4, 2, 0):
        timers.set(streams[moment], float(moment))
    assert timers.next_moment == 0.0
    due = [timers.take(2.5) for _ in range(4)]
    assert due == [*streams[:3], None]
    assert [stream.timer is None for stream in streams] == [True] * 3 + [False] * 2


def test_streams_of_the_same_moment_are_due_in_their_order(timers):
    streams = [Stream() for _ in range(3)]
    for stream in streams:
        timers.set(stream, 1.0)
    assert [timers.take(1.0) for _ in range(3)] == streams


def test_a_new_moment_replaces_the_old_one(timers):
    other, stream = Stream(), Stream()
    timers.set(other, 9.0)
    timers.set(stream, 5.0)
    timers.set(stream, 1.0)
    assert timers.take(5.0) is stream
    assert timers.take(5.0) is None


def test_there_may_be_none(timers):
    assert timers.next_moment is None
    assert timers.take(1.0) is None
    timers.cancel(Stream())
    assert timers.next_moment is None


def test_a_stream_that_is_cancelled_is_neither_due_nor_kept(timers):
    streams = [Stream() for _ in range(10)]
    for number, stream in enumerate(streams):
        timers.set(stream, float(number))
    timers.cancel(streams[3])
    gone = weakref.ref(streams[3])
    del streams[3], stream
    assert gone() is None
    assert [timers.take(100.0) for _ in range(10)] == [*streams, None]


def test_cancelled_timers_do_not_accumulate(timers):
    kept = [Stream() for _ in range(3)]
    for stream in kept:
        timers.set(stream, 1.0)
    for _ in range(1000):
        timers.set(stream := Stream(), 2.0)
        timers.cancel(stream)
    assert len(timers.heap) <= 2 * len(kept) + 1
    assert [timers.take(3.0) for _ in range(4)] == [*kept, None]
