"""The streams of the benchmarks and their expected events, against the parser. Nothing is timed."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
CHUNKINGS = ["16 KiB", "random", "by event"]
WORKLOADS = {
    "llm",
    "wikimedia",
    "50-lines",
    "ticks",
    "llm-crlf",
    "wikimedia-crlf",
    "heartbeats",
    "world",
}


@pytest.fixture
def workloads(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("workloads")


@pytest.fixture
def contenders(workloads):
    return importlib.import_module("contenders")


@pytest.fixture
def floor(workloads):
    return importlib.import_module("floor")


@pytest.fixture
def parsing(workloads):
    return importlib.import_module("parsing")


@pytest.fixture
def measuring(workloads):
    return importlib.import_module("measuring")


@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_each_workload_has_the_events_that_it_expects(workloads, contenders, chunking):
    streams = [*workloads.all_workloads(0.01), workloads.long_line(1)]
    assert {stream.name for stream in streams} == {*WORKLOADS, "line-1"}
    for stream in streams:
        chunks = list(workloads.CHUNKINGS[chunking](stream))
        assert b"".join(chunks) == stream.stream
        for name in (contenders.OURS, contenders.OURS_SINGLY):
            assert contenders.contender(name).is_right(stream, chunks), stream.name


@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_the_floor_has_the_events_of_the_workload_that_it_knows(
    workloads, contenders, floor, chunking
):
    for stream in workloads.all_workloads(0.01):
        chunks = list(workloads.CHUNKINGS[chunking](stream))
        assert floor.floor(stream, chunking).is_right(stream, chunks), stream.name


@pytest.mark.parametrize(
    ("goal", "verdict"), [(2.0, "yes"), (1.9, "no"), (0.9, "below"), (None, "")]
)
def test_a_goal_is_met_or_not_or_below_what_can_be(contenders, floor, parsing, goal, verdict):
    multiples = {contenders.OURS: 2.0, floor.FLOOR: 1.0}
    cell = parsing.Cell("ticks", "ticks", "random", 1, 1, multiples=multiples, goal=goal)
    assert cell.verdict() == verdict


def test_each_run_has_the_same_streams_and_chunks(workloads):
    for one, other in zip(
        workloads.all_workloads(0.01), workloads.all_workloads(0.01), strict=True
    ):
        for cut in workloads.CHUNKINGS.values():
            assert list(cut(one)) == list(cut(other))


def test_workloads_have_the_sizes_that_they_are_named_after(workloads):
    by_name = {stream.name: stream for stream in workloads.all_workloads(0.01)}
    assert {len(block) for block in by_name["llm"].blocks} == {180 + len("\n\n")}
    assert {len(block) for block in by_name["wikimedia"].blocks} == {1200}
    assert {len(block) for block in by_name["ticks"].blocks} == {15}
    assert {event.data.count("\n") for event in by_name["50-lines"].events} == {49}
    assert {len(block) for block in by_name["heartbeats"].blocks[::2]} == {len(":\n\n")}
    assert len(workloads.long_line(16).events[0].data) == 16 * 1024 * 1024


def test_wrong_events_are_found_out(workloads, contenders):
    stream = workloads.all_workloads(0.01)[0]
    chunks = list(workloads.CHUNKINGS["by event"](stream))
    one = contenders.contender(contenders.OURS)
    assert not one.is_right(stream, chunks[1:])
    assert not one.is_right(stream, [chunk.replace(b"data", b"date") for chunk in chunks])
    assert not one.is_right(stream, [None])


def test_multiples_are_of_the_same_round(measuring):
    seconds = {"limit": [1.0, 10.0, 2.0], "slow": [3.0, 30.0]}
    assert measuring.multiples(seconds, "limit") == {"limit": 1.0, "slow": 3.0}
    assert measuring.multiples({"slow": [1.0]}, "limit") == {}
