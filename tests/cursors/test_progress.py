"""The progress: the position moves only over an unbroken run of acknowledged events."""

from __future__ import annotations

import gc
import pickle
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_client import ServerSentEvent
from sse_client.cursors.progress import Progress


def numbered(count: int) -> list[ServerSentEvent]:
    return [ServerSentEvent(f"data {number}", id=str(number)) for number in range(1, count + 1)]


def handed_out(*events: ServerSentEvent) -> Progress:
    progress = Progress("0")
    for event in events:
        progress.hand_out(event)
    return progress


def test_it_begins_where_it_is_told():
    progress = handed_out(*numbered(2))
    assert (progress.position, progress.unacknowledged) == ("0", 2)


@pytest.mark.parametrize(
    ("order", "positions"),
    [
        ([1, 2, 3, 4], "1234"),
        ([4, 3, 2, 1], "0004"),
        ([2, 1, 4, 3], "0224"),
        ([3, 1, 2, 4], "0134"),
        ([2, 3, 4, 1], "0004"),
        ([1, 4, 2, 3], "1124"),
    ],
)
def test_the_position_follows_the_unbroken_run(order, positions):
    events = numbered(4)
    progress = handed_out(*events)
    reached = []
    for number in order:
        progress.acknowledge(events[number - 1])
        reached.append(progress.position)
    assert "".join(reached) == positions
    assert progress.unacknowledged == 0


def test_what_comes_later_goes_on_from_there():
    events = numbered(4)
    progress = handed_out(*events[:2])
    progress.acknowledge(events[1])
    progress.hand_out(events[2])
    progress.acknowledge(events[2])
    assert progress.position == "0"
    progress.acknowledge(events[0])
    assert progress.position == "3"
    progress.hand_out(events[3])
    progress.acknowledge(events[3])
    assert progress.position == "4"


def test_a_copy_of_another_process_counts():
    (event,) = numbered(1)
    progress = handed_out(event)
    progress.acknowledge(pickle.loads(pickle.dumps(event)))
    assert progress.position == "1"


def test_of_equal_events_the_oldest_is_acknowledged_first():
    twin, other = ServerSentEvent("twin", id="t"), ServerSentEvent("other", id="o")
    progress = handed_out(twin, other, twin)
    progress.acknowledge(twin)
    assert progress.position == "t"
    progress.acknowledge(other)
    assert progress.position == "o"
    progress.acknowledge(twin)
    assert progress.position == "t"


def test_a_link_is_the_very_event():
    twin, other = ServerSentEvent("twin", id="t"), ServerSentEvent("other", id="o")
    progress = Progress("")
    first, _, last = map(progress.hand_out, (twin, other, twin))
    assert progress.finish(last)
    assert (progress.position, progress.unacknowledged) == ("", 2)
    assert progress.finish(first)
    assert progress.position == "t"
    progress.acknowledge(other)
    assert progress.position == "t"
    assert not progress.finish(first)
    assert progress.unacknowledged == 0


@pytest.mark.parametrize("before", [[], [1]], ids=["unknown", "twice"])
def test_what_is_not_handed_out_cannot_be_acknowledged(before):
    events = numbered(2)
    progress = handed_out(*events[: len(before)])
    for number in before:
        progress.acknowledge(events[number - 1])
    with pytest.raises(ValueError, match="not handed it out, or it was already acknowledged"):
        progress.acknowledge(events[0])
    with pytest.raises(ValueError, match="cannot be acknowledged"):
        progress.acknowledge(events[1])


#: The steps: an event of one of a few kinds is handed out, or the n-th one is acknowledged.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hand out"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["acknowledge", "finish"]), st.integers(0, 30)),
    ),
    max_size=80,
)


@given(STEPS)
def test_it_agrees_with_a_plain_list(steps):
    """The model: a list of all events handed out, in which acknowledged ones are marked."""
    progress, links = Progress("start"), []
    events: list[ServerSentEvent] = []
    marks: list[bool] = []
    for step, number in steps:
        if step == "hand out":
            event = ServerSentEvent("x", id=str(number))
            events.append(event)
            marks.append(False)
            links.append(progress.hand_out(event))
        elif not events:
            continue
        elif step == "finish":
            chosen = number % len(events)
            assert progress.finish(links[chosen]) is not marks[chosen]
            marks[chosen] = True
        else:
            event = events[number % len(events)]
            equal = [n for n, each in enumerate(events) if each == event and not marks[n]]
            if equal:
                progress.acknowledge(event)
                marks[equal[0]] = True
            else:
                with pytest.raises(ValueError):
                    progress.acknowledge(event)
        run = marks.index(False) if False in marks else len(marks)
        assert progress.position == (events[run - 1].id if run else "start")
        assert progress.unacknowledged == marks.count(False)


def test_a_hundred_thousand_behind_a_stuck_one_take_no_memory():
    stuck, *others = numbered(3)
    progress = handed_out(stuck)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(100_000):
            progress.hand_out(others[0])
            progress.acknowledge(others[0])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 20_000
    assert progress.unacknowledged == 1
    progress.acknowledge(stuck)
    assert progress.position == "2"


def test_nothing_acknowledged_waits_for_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        progress = Progress("")
        for event in numbered(100):
            progress.finish(progress.hand_out(event))
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_any_order_of_many_ends_at_the_last():
    events = numbered(5_000)
    progress = handed_out(*events)
    shuffled = events[:]
    random.Random(4).shuffle(shuffled)
    for event in shuffled:
        progress.acknowledge(event)
    assert (progress.position, progress.unacknowledged) == ("5000", 0)


#: This many equal events would take minutes if each one was searched for.
MANY = 100_000


@pytest.mark.parametrize("order", ["oldest first", "newest first", "shuffled"])
def test_a_step_takes_the_same_time_however_many_equal_events_there_are(order):
    event = ServerSentEvent("tick")
    progress = Progress("")
    links = [progress.hand_out(event) for _ in range(MANY)]
    if order == "newest first":
        links.reverse()
    elif order == "shuffled":
        random.Random(4).shuffle(links)
    for link in links:
        assert progress.finish(link)
    assert progress.unacknowledged == 0
    with pytest.raises(ValueError, match="was already acknowledged"):
        progress.acknowledge(event)


def test_the_oldest_of_equal_events_is_found_after_others_of_them_were_finished():
    progress = Progress("")
    events = [ServerSentEvent("tick", id="1") for _ in range(MANY)]
    links = [progress.hand_out(event) for event in events]
    kept = set(range(0, MANY, 2))
    for number in set(range(MANY)) - kept:
        progress.finish(links[number])
    for number in sorted(kept):
        progress.acknowledge(events[0])
        assert links[number].event is None
    assert (progress.position, progress.unacknowledged) == ("1", 0)
