"""No event is lost or repeated and nothing hangs, whatever happens on the way."""

from __future__ import annotations

import json
import logging
from collections import Counter

import pytest
from faults import KINDS, own_faults, shared_fault
from numbered import due, first_due, last_retry, retry_of, wire_of
from storm import STREAMS, Storm
from summary import Summary

from sse_client import parse_event_stream

#: How long the faults last, in seconds, and their minimum number.
LENGTHS = [
    pytest.param(10.0, 60, id="short"),
    pytest.param(30.0, 200, id="long", marks=pytest.mark.ci),
]


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("duration", "least"), LENGTHS)
def test_a_storm_does_no_harm(seed, certificates, caplog, duration, least):
    # pytest keeps log records, which would count as memory of the client.
    with caplog.at_level(logging.WARNING):
        summary = Storm(seed, certificates).run(duration, least)
    print(summary)
    assert not summary.violations, f"to repeat it: CHAOS_SEED={seed}\n{summary}"
    assert (summary.lost, summary.doubled) == (0, 0)


def plan(seed: int, rounds: int) -> list[object]:
    own = [own_faults(seed, number, name) for number in range(rounds) for name in STREAMS]
    return [*own, *(shared_fault(seed, number) for number in range(rounds))]


def test_the_same_seed_makes_the_same_faults():
    assert plan(7, 5) == plan(7, 5) != plan(8, 5)


def test_every_kind_of_fault_comes():
    chosen = [fault for number in range(100) for fault in own_faults(1, number, "1")]
    chosen += [shared_fault(1, number) for number in range(100)]
    assert {fault.kind for fault in chosen} == KINDS


def test_the_figures_can_be_read_by_a_program():
    summary = Summary(7, faults=Counter({"reset": 2}), delivered=3)
    figures = json.loads(summary.as_json())
    assert figures["faults"] == {"reset": 2}
    assert (figures["seed"], figures["delivered"], figures["violations"]) == (7, 3, [])
    assert "2 in 0 rounds: reset 2" in str(summary)


def test_the_numbered_events_travel_as_they_are_judged():
    wire = b"".join(wire_of(number) for number in range(1, 600))
    events = list(parse_event_stream([wire]))
    assert [event.id for event in events] == [str(number) for number in range(1, 600)]
    assert [event.retry for event in events] == [retry_of(number) for number in range(1, 600)]


def test_the_last_retry_is_that_of_the_last_event_with_one():
    asked = None
    for number in range(11, 300):
        asked = retry_of(number) or asked
        assert last_retry(10, number) == asked


def test_numbers_come_to_be_in_order():
    for number in range(1, 1000):
        assert due(number, 40.0) <= due(number + 1, 40.0)
        first = first_due(due(number, 40.0), 40.0)
        assert first > number
        assert due(first, 40.0) > due(number, 40.0) >= due(first - 1, 40.0)
