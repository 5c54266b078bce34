"""The streams of the benchmarks and their expected events, against the parser. Nothing is timed."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
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
