"""Which limit a read exceeds when it times out: that for an event, or that for any bytes."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
import requests
from urllib3.exceptions import ReadTimeoutError

from sse_client import IdleTimeoutError, StreamInterruptedError
from sse_client.http.request import SendOptions
from sse_client.http.stream_connection import StreamConnection
from sse_client.session.time_limits import Timekeeper, TimeLimits

LATE = [TimeoutError("timed out"), ReadTimeoutError(None, None, "timed out")]


def error_of(clock, late, *, event_timeout, read_timeout, before=0.0, during=0.0):
    """The error of a read that times out.

    Args:
        clock: The clock, which stands still unless the arguments advance it.
        late: The error of the underlying read.
        event_timeout, read_timeout: The limits.
        before: The time between the last event and the start of the read.
        during: How long the read took on the clock. A socket waits on the system's clock.
    """

    def read1(amount, decode_content):
        clock.advance(during)
        raise late

    connection = StreamConnection(
        requests.Session(),
        requests.Request,
        SendOptions(timeout=(10, read_timeout)),
        print,
        print,
        on_unverified=print,
        clock=clock,
    )
    connection._response = requests.Response()
    connection._response.url = "http://127.0.0.1/"
    connection._response.raw = SimpleNamespace(read1=read1)
    timekeeper = Timekeeper(TimeLimits(event=event_timeout), clock, "127.0.0.1")
    timekeeper.opened()
    timekeeper.pause(-before)
    with pytest.raises((IdleTimeoutError, StreamInterruptedError)) as caught:
        next(connection.body().chunks(timekeeper))
    return caught.value


@pytest.mark.parametrize("late", LATE, ids=lambda error: type(error).__name__)
class TestTheLimitOfEvents:
    @pytest.mark.parametrize(
        "limits",
        [
            {"read_timeout": None},
            {"read_timeout": 61},
            {"read_timeout": 60},  # both at the same moment
            {"read_timeout": 45, "before": 20},  # 40 s are left
            {"read_timeout": 45, "before": 15},  # both at the same moment
        ],
        ids=str,
    )
    @pytest.mark.parametrize("is_over", [False, True])
    def test_is_blamed_if_no_more_time_was_left_than_a_read_has(
        self, sse_clock, late, limits, is_over
    ):
        during = 60 - limits.get("before", 0) if is_over else 0.0
        error = error_of(sse_clock, late, event_timeout=60, during=during, **limits)
        assert (error.waited_for, error.timeout) == ("event", 60)

    def test_is_blamed_if_it_has_passed_though_each_single_wait_was_shorter(self, sse_clock, late):
        error = error_of(sse_clock, late, event_timeout=60, read_timeout=45, during=60)
        assert (error.waited_for, error.timeout) == ("event", 60)


@pytest.mark.parametrize("late", LATE, ids=lambda error: type(error).__name__)
class TestTheLimitOfBytes:
    @pytest.mark.parametrize(
        "limits",
        [
            {"event_timeout": 60},
            {"event_timeout": 60, "during": 45},
            {"event_timeout": 60, "before": 14, "during": 45},
            {"event_timeout": None},
            {"event_timeout": None, "during": 1000},
        ],
        ids=str,
    )
    def test_is_blamed_if_an_event_had_more_time(self, sse_clock, late, limits):
        error = error_of(sse_clock, late, read_timeout=45, **limits)
        assert (error.waited_for, error.timeout) == ("bytes", 45)

    def test_is_unknown_if_a_transport_has_its_own(self, sse_clock, late):
        error = error_of(sse_clock, late, event_timeout=None, read_timeout=None)
        assert (error.waited_for, error.timeout) == ("bytes", 0.0)


@pytest.mark.parametrize("event_timeout", [None, 60])
def test_no_limit_of_ours_is_blamed_for_a_dead_peer(sse_clock, event_timeout):
    late = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    error = error_of(sse_clock, late, event_timeout=event_timeout, read_timeout=45, during=60)
    assert type(error) is StreamInterruptedError  # IdleTimeoutError is a subclass of it
