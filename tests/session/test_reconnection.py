"""When to reconnect and how long to wait, on a clock that only the test advances."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tables import each_of

from sse_client.errors import (
    ChannelOverflowError,
    ConnectionFailedError,
    ErrorEventError,
    EventTooLargeError,
    IdleTimeoutError,
    ReconnectionExhaustedError,
    StreamInterruptedError,
    TotalTimeoutError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.event_stream.events import ServerSentEvent
from sse_client.session.reconnection import MAX_SERVER_DELAY, Reconnection, ReconnectionPolicy

BROKEN = StreamInterruptedError("it broke off")
REFUSED = ConnectionFailedError("refused")


class Answer:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def status(code: int, retry_after: float | None = None) -> UnexpectedStatusError:
    return UnexpectedStatusError(f"{code}", response=Answer(code), retry_after=retry_after)


class Course:
    """A reconnection whose clock and random source the test controls."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.chance = 0.0
        defaults = {"reconnection_time": 1.0, "reconnection_jitter": 0.0}
        policy = ReconnectionPolicy(**{**defaults, **options})
        self.reconnection = Reconnection(policy, lambda: self.now, lambda: self.chance)

    def opened(self, *, events: bool = False, held: float = 0.0) -> Course:
        self.reconnection.opened()
        if events:
            self.reconnection.progressed()
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


def test_the_first_connection_is_retried_with_any_method_until_it_is_accepted():
    course = Course(retry_first_connection=True, reconnect="never")
    assert [course.delay(REFUSED), course.delay(status(429, 7.0))] == [1.0, 7.0]
    assert course.opened(events=True).end(BROKEN) is BROKEN


def test_an_attempt_limit_of_zero_wins_over_retrying_the_first_connection():
    assert Course(retry_first_connection=True, max_reconnection_attempts=0).end(REFUSED) is REFUSED


@each_of("code", [408, 425, 429, 500, 502, 503, 504, *range(520, 525), 529, 530])
def test_statuses_of_overload_are_worth_another_attempt(code):
    assert Course().opened(events=True).delay(status(code)) == 1.0


@each_of("code", [201, 301, 400, 401, 403, 404, 409, 410, 501, 519, 525])
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
        TotalTimeoutError("too long", timeout=1.0),
        ErrorEventError("overloaded", event=ServerSentEvent("")),
        ValueError("of the user's own"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_another_attempt_cannot_mend_is_final(error):
    assert Course().opened(events=True).end(error) is error


def test_an_idle_connection_is_worth_another_attempt():
    error = IdleTimeoutError("silence", timeout=1.0, waited_for="bytes")
    assert Course().opened(events=True).delay(error) == 1.0


class TestConnectionsThatBreakEarly:
    """If a server sends an event and resets the connection, there is no loop of requests."""

    def test_are_an_ordinary_loss_twice_in_a_row(self):
        course = Course()
        assert [course.opened(events=True, held=0.1).delay() for _ in range(2)] == [1.0, 1.0]

    def test_count_as_failed_attempts_from_the_third_on_although_events_arrive(self):
        course = Course()
        delays = [course.opened(events=True, held=0.1).delay() for _ in range(6)]
        assert delays == [1.0, 1.0, 2.0, 4.0, 8.0, 16.0]

    def test_reach_the_limit_of_attempts(self):
        course = Course(max_reconnection_attempts=2)
        for _ in range(3):
            assert course.opened(events=True).delay() is not None
        assert isinstance(course.opened(events=True).end(), ReconnectionExhaustedError)

    def test_reach_the_deadline(self):
        course = Course(reconnection_deadline=10.0)
        delays = []
        for _ in range(10):
            delays.append(course.opened(events=True, held=1.0).delay())
            if delays[-1] is None:
                break
            course.now += delays[-1]
        assert delays == [1.0, 1.0, 2.0, 4.0, None]

    def test_are_ordinary_again_after_one_that_lasts(self):
        course = Course()
        for _ in range(5):
            course.opened(events=True).delay()
        assert course.opened(events=True, held=5.0).delay() == 1.0
        assert [course.opened(events=True).delay() for _ in range(3)] == [1.0, 1.0, 2.0]

    def test_are_ordinary_again_after_one_that_ends_cleanly(self):
        course = Course()
        for _ in range(5):
            course.opened(events=True).delay()
        assert course.opened(events=True).delay(None) == 1.0
        assert [course.opened(events=True).delay() for _ in range(2)] == [1.0, 1.0]

    def test_are_counted_over_attempts_that_fail_in_between(self):
        course = Course()
        for _ in range(2):
            assert course.opened(events=True).delay() == 1.0
            assert course.delay(REFUSED) == 2.0
        assert course.opened(events=True).delay() == 4.0

    def test_make_a_retry_of_zero_mean_50_ms_from_the_third_on(self):
        course = Course()
        course.reconnection.set_server_time(0)
        delays = [course.opened(events=True).delay() for _ in range(5)]
        assert delays == [0.0, 0.0, 0.1, 0.2, 0.4]

    def test_keep_the_50_ms_without_backoff(self):
        course = Course(reconnection_backoff=1.0)
        course.reconnection.set_server_time(0)
        delays = [course.opened(events=True).delay() for _ in range(5)]
        assert delays == [0.0, 0.0, 0.05, 0.05, 0.05]

    def test_leave_a_retry_of_zero_alone_if_they_end_cleanly(self):
        course = Course()
        course.reconnection.set_server_time(0)
        assert [course.opened(events=True).delay(None) for _ in range(100)] == [0.0] * 100

    def test_leave_a_fast_server_that_ends_cleanly_fast(self):
        course = Course()
        course.reconnection.set_server_time(10)
        assert [course.opened(events=True).delay(None) for _ in range(100)] == [0.01] * 100


class TestRetryIf:
    def test_is_asked_with_the_error_and_the_number_of_the_next_attempt(self):
        asked = []
        course = Course(retry_if=lambda *given: asked.append(given)).opened(events=True)
        assert [course.delay(), course.delay(REFUSED)] == [1.0, 2.0]
        assert asked == [(BROKEN, 1), (REFUSED, 2)]

    def test_true_retries_what_is_permanent(self):
        error = ConnectionFailedError("a wrong certificate", permanent=True)
        course = Course(retry_if=lambda *_: True).opened(events=True)
        assert [course.delay(error), course.delay(error)] == [1.0, 2.0]

    def test_true_retries_the_first_connection(self):
        assert Course(retry_if=lambda *_: True).delay(REFUSED) == 1.0
        assert Course(retry_if=lambda *_: True, reconnect="never").delay(REFUSED) == 1.0

    def test_true_does_not_repeat_an_accepted_request_that_must_not_be_repeated(self):
        course = Course(retry_if=lambda *_: True, reconnect="never").opened(events=True)
        assert course.end(BROKEN) is BROKEN

    def test_false_ends_the_session_with_the_error(self):
        assert Course(retry_if=lambda *_: False).opened(events=True).end(BROKEN) is BROKEN

    @pytest.mark.parametrize("wait", [7, 7.0, timedelta(seconds=7)])
    def test_a_number_is_the_wait(self, wait):
        course = Course(retry_if=lambda *_: wait, reconnection_jitter=0.5)
        course.chance = 1.0
        assert course.opened(events=True).delay(status(503, 100.0)) == 7.0

    def test_zero_is_a_wait_and_not_a_no(self):
        assert Course(retry_if=lambda *_: 0).opened(events=True).delay() == 0.0

    def test_limits_still_hold(self):
        course = Course(retry_if=lambda *_: 1.0, max_reconnection_attempts=1).opened(events=True)
        assert course.delay() == 1.0
        assert isinstance(course.end(REFUSED), ReconnectionExhaustedError)
        course = Course(retry_if=lambda *_: 11.0, reconnection_deadline=10.0).opened(events=True)
        assert isinstance(course.end(), ReconnectionExhaustedError)

    def test_is_not_asked_about_a_clean_end_or_a_limit_of_the_session(self):
        asked = []
        course = Course(retry_if=lambda *given: asked.append(given) or True).opened(events=True)
        assert course.delay(None) == 1.0
        too_long = TotalTimeoutError("too long", timeout=1.0)
        assert course.end(too_long) is too_long
        full = ChannelOverflowError("full", capacity=1, capacity_bytes=1)
        assert course.end(full) is full
        assert asked == []

    @pytest.mark.parametrize("wrong", ["yes", object(), 1j])
    def test_refuses_what_is_not_a_decision(self, wrong):
        with pytest.raises(TypeError, match="retry_if must return"):
            Course(retry_if=lambda *_: wrong).opened(events=True).delay()

    @pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), timedelta(-1)])
    def test_refuses_what_is_not_a_wait(self, wrong):
        with pytest.raises(ValueError, match="retry_if must return"):
            Course(retry_if=lambda *_: wrong).opened(events=True).delay()


def test_a_week_of_outage_neither_overflows_nor_gives_up():
    course = Course(reconnection_backoff=2.0, reconnection_time=3.0).opened(events=True)
    began, attempts = course.now, 0
    while course.now - began < 7 * 24 * 3600:
        delay = course.delay(REFUSED)
        assert 3.0 <= delay <= 30.0
        course.now += delay
        attempts += 1
    assert attempts > 20_000
    assert course.opened(events=True, held=60.0).delay() == 3.0
