"""The deadline that several waits share: it never gives a wait a negative time."""

from __future__ import annotations

import pytest

from sse_client.clock import SYSTEM_CLOCK, Deadline, Doorbell
from sse_client.testing import ManualClock


@pytest.fixture
def clock():
    clock = ManualClock()
    clock.advance(100.0)
    return clock


def test_a_deadline_leaves_each_wait_the_rest_of_the_time(clock):
    deadline = Deadline.after(5.0, clock)
    assert (deadline.moment, deadline.seconds_left(), deadline.has_passed) == (105.0, 5.0, False)
    clock.advance(3.0)
    assert (deadline.moment, deadline.seconds_left(), deadline.has_passed) == (105.0, 2.0, False)


@pytest.mark.parametrize("seconds", [5.0, 7.0])
def test_a_deadline_that_has_passed_leaves_no_time_rather_than_a_negative_one(clock, seconds):
    deadline = Deadline.after(5.0, clock)
    clock.advance(seconds)
    assert (deadline.seconds_left(), deadline.has_passed) == (0.0, True)


def test_a_deadline_may_be_a_moment_that_was_computed_before(clock):
    assert Deadline(104.0, clock).seconds_left() == 4.0
    assert Deadline(96.0, clock).seconds_left() == 0.0


def test_a_deadline_is_on_the_system_s_clock_by_default():
    before = SYSTEM_CLOCK.monotonic()
    deadline = Deadline.after(1000.0)
    assert before + 1000.0 <= deadline.moment <= SYSTEM_CLOCK.monotonic() + 1000.0
    assert Deadline(SYSTEM_CLOCK.monotonic()).has_passed


def test_the_system_s_clock_does_not_wait_for_a_moment_in_the_past():
    # A negative timeout of a queue raises a ValueError.
    SYSTEM_CLOCK.wait_until(Doorbell(), SYSTEM_CLOCK.monotonic() - 1.0)
