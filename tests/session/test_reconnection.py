"""When to reconnect and how long to wait, on a clock that only the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from sse_client.errors import (
    ChannelOverflowError,
    ConnectionFailedError,
    EventTooLargeError,
    IdleTimeoutError,
    ReconnectionExhaustedError,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.session.reconnection import MAX_SERVER_DELAY, Reconnection, ReconnectionPolicy

BROKEN = StreamInterruptedError("it broke off")
REFUSED = ConnectionFailedError("refused")


class Answer:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def status(code: int, retry_after: float | None = None) -> UnexpectedStatusError:
    return UnexpectedStatusError(f"{code}", response=Answer(code), retry_after=retry_after)


class Course:
    """A reconnection with its clock and its chance in the test's hands."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.chance = 0.0
        defaults = {"reconnection_time": 1.0, "reconnection_jitter": 0.0}
        policy = ReconnectionPolicy(**{**defaults, **options})
        self.reconnection = Reconnection(policy, lambda: self.now, lambda: self.chance)

    def opened(self, *, events: bool = False, held: float = 0.0) -> Course:
        self.reconnection.opened()
        if events:
            self.reconnection.event_arrived()
        self.now += held
        return self

    def delay(self, error: Exception | None = BROKEN) -> float | None:
        return self.reconnection.after(error).delay

    def end(self, error: Exception | None = BROKEN) -> Exception | None:
        verdict = self.reconnection.after(error)
        assert verdict.delay is None
        return verdict.error


def test_the_first_attempt_waits_for_the_reconnection_time():
    assert Course(reconnection_time=2.5).opened(events=True).delay() == 2.5


def test_the_wait_grows_with_each_failure_up_to_its_cap():
    course = Course(max_reconnection_time=5.0).opened(events=True)
    delays = [course.delay()] + [course.delay(REFUSED) for _ in range(4)]
    assert delays == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_factor_of_one_keeps_the_wait():
    course = Course(reconnection_backoff=1.0).opened(events=True)
    assert [course.delay(), course.delay(REFUSED), course.delay(REFUSED)] == [1.0, 1.0, 1.0]


def test_a_thousand_failures_do_not_overflow():
    course = Course(reconnection_backoff=1e6).opened(events=True)
    assert [course.delay(REFUSED) for _ in range(2000)][-1] == 30.0


def test_the_cap_does_not_shorten_the_reconnection_time():
    course = Course(reconnection_time=60.0, max_reconnection_time=30.0).opened(events=True)
    assert [course.delay(), course.delay(REFUSED)] == [60.0, 60.0]


def test_a_reconnection_time_of_zero_still_backs_off():
    course = Course(reconnection_time=0.0).opened(events=True)
    assert [course.delay(), course.delay(REFUSED), course.delay(REFUSED)] == [0.0, 0.1, 0.2]


def test_chance_only_ever_adds():
    course = Course(reconnection_time=8.0, reconnection_jitter=0.25).opened(events=True)
    course.chance = 0.5
    assert course.delay() == 9.0


def test_a_retry_of_the_server_replaces_the_reconnection_time():
    course = Course().opened(events=True)
    course.reconnection.set_server_time(250)
    assert [course.delay(), course.delay(REFUSED)] == [0.25, 0.5]


def test_a_retry_is_honoured_up_to_an_hour():
    course = Course().opened(events=True)
    course.reconnection.set_server_time(10**18)
    assert course.delay() == MAX_SERVER_DELAY


def test_retry_after_is_the_least_to_wait():
    course = Course().opened(events=True)
    assert course.delay(status(503, 120.0)) == 120.0
    assert course.delay(status(503, 0.1)) == 2.0


def test_retry_after_is_honoured_up_to_an_hour():
    assert Course().opened(events=True).delay(status(429, 1e12)) == MAX_SERVER_DELAY


def test_an_event_ends_the_outage():
    course = Course().opened(events=True)
    assert [course.delay(), course.delay(REFUSED)] == [1.0, 2.0]
    assert course.opened(events=True).delay() == 1.0


def test_a_connection_that_held_ends_the_outage():
    course = Course(reset_after=5.0).opened(events=True)
    assert [course.delay(), course.delay(REFUSED)] == [1.0, 2.0]
    assert course.opened(held=5.0).delay() == 1.0


def test_accepting_and_closing_at_once_is_one_outage():
    course = Course(reset_after=5.0)
    assert [course.opened(held=0.1).delay(None) for _ in range(3)] == [1.0, 2.0, 4.0]


def test_it_gives_up_after_so_many_failures_in_a_row():
    course = Course(max_reconnection_attempts=2).opened(events=True)
    assert [course.delay(), course.delay(REFUSED)] == [1.0, 2.0]
    error = course.end(REFUSED)
    assert isinstance(error, ReconnectionExhaustedError)
    assert (error.attempts, error.last_cause, error.__cause__) == (2, REFUSED, REFUSED)
    assert "2 failed reconnection attempts" in str(error)


def test_it_gives_up_on_a_server_that_only_ever_ends():
    course = Course(max_reconnection_attempts=1)
    assert course.opened().delay(None) == 1.0
    error = course.opened().end(None)
    assert isinstance(error, ReconnectionExhaustedError)
    assert (error.last_cause, error.__cause__) == (None, None)


def test_it_gives_up_when_the_next_attempt_would_pass_the_deadline():
    course = Course(reconnection_deadline=10.0).opened(events=True)
    assert course.delay() == 1.0
    course.now += 9.0
    assert isinstance(course.end(REFUSED), ReconnectionExhaustedError)


def test_the_deadline_begins_anew_with_each_outage():
    course = Course(reconnection_deadline=10.0).opened(events=True)
    assert course.delay() == 1.0
    course.now += 1000.0
    assert course.opened(events=True, held=1.0).delay() == 1.0


@pytest.mark.parametrize("options", [{"reconnect": "never"}, {"max_reconnection_attempts": 0}])
def test_never_ends_with_what_ended_the_stream(options):
    assert Course(**options).opened(events=True).end(None) is None
    assert Course(**options).opened(events=True).end(BROKEN) is BROKEN


def test_on_error_takes_a_clean_end_for_the_end():
    assert Course(reconnect="on_error").opened(events=True).end(None) is None
    assert Course(reconnect="on_error").opened(events=True).delay(BROKEN) == 1.0


def test_the_first_connection_is_not_retried():
    assert Course().end(REFUSED) is REFUSED


def test_the_first_connection_is_retried_if_asked_for():
    course = Course(retry_first_connection=True)
    assert [course.delay(REFUSED), course.delay(REFUSED)] == [1.0, 2.0]


def test_never_wins_over_retrying_the_first_connection():
    assert Course(retry_first_connection=True, reconnect="never").end(REFUSED) is REFUSED


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_statuses_of_overload_are_worth_another_attempt(code):
    assert Course().opened(events=True).delay(status(code)) == 1.0


@pytest.mark.parametrize("code", [201, 301, 400, 401, 403, 404, 410, 501])
def test_other_statuses_are_final(code):
    error = status(code)
    assert Course().opened(events=True).end(error) is error


def test_the_statuses_can_be_chosen():
    course = Course(retry_statuses=frozenset({404})).opened(events=True)
    assert course.delay(status(404)) == 1.0
    error = status(503)
    assert course.end(error) is error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailedError("a wrong certificate", permanent=True),
        UnexpectedContentTypeError("html", response=Answer(200), content_type="text/html"),
        EventTooLargeError("large", limit=1),
        ChannelOverflowError("full", capacity=1, capacity_bytes=1),
        ValueError("of the user's own"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_another_attempt_cannot_mend_is_final(error):
    assert Course().opened(events=True).end(error) is error


def test_an_idle_connection_is_worth_another_attempt():
    error = IdleTimeoutError("silence", timeout=1.0, waited_for="bytes")
    assert Course().opened(events=True).delay(error) == 1.0
