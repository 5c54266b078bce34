"""Which waiting stream gets a thread next, and when."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from sse_client.session.launches import INTERVAL, PLACES, RETRY_TIME, Launches


class Stream:
    def __init__(self, host, number=0):
        self.owner = SimpleNamespace(name=host)
        self.number = number


@pytest.fixture
def launches():
    return Launches(threading.RLock())


@pytest.fixture
def full(launches):
    """Launches at their limit."""
    for number in range(PLACES):
        launches.add(Stream("busy.example", number))
        assert launches.take(0.0).number == number
    return launches


def test_nothing_is_due_if_no_stream_waits(launches):
    assert launches.due is None
    assert launches.take(1.0) is None


def test_a_stream_starts_at_once_while_there_is_a_place(launches):
    launches.add(stream := Stream("a.example"))
    assert launches.due <= 0.0
    assert launches.take(0.0) is stream
    assert launches.due is None


def test_one_more_starts_after_the_interval_if_there_is_no_place(full):
    first, second = Stream("a.example", 1), Stream("a.example", 2)
    full.add(first)
    full.add(second)
    assert full.take(INTERVAL / 2) is None
    assert full.due == INTERVAL
    assert full.take(INTERVAL) is first
    assert full.take(INTERVAL) is None
    assert full.take(full.due) is second


def test_a_thread_that_has_made_its_attempt_makes_place(full):
    full.done()
    full.add(stream := Stream("a.example"))
    assert full.take(0.0) is stream


def test_hosts_take_turns(launches):
    for host, count in (("a.example", 3), ("b.example", 1), ("c.example", 2)):
        for number in range(count):
            launches.add(Stream(host, number))
    order = []
    while (stream := launches.take(0.0)) is not None:
        order.append((stream.owner.name[0], stream.number))
    assert order == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2)]


def test_a_stream_that_is_discarded_gets_no_thread(launches):
    first, second = Stream("a.example"), Stream("a.example")
    launches.add(first)
    launches.add(second)
    launches.discard(first)
    assert launches.take(0.0) is second
    assert launches.due is None


def test_a_stream_without_a_thread_is_tried_again_later(launches):
    launches.add(stream := Stream("a.example"))
    launches.put_back(launches.take(1.0), 1.0)
    assert launches.take(1.0) is None
    assert launches.due == 1.0 + RETRY_TIME
    assert launches.take(launches.due) is stream
