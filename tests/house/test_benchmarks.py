"""The streams of the benchmarks and their expected events, against the parser. Nothing is timed."""

import functools
import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
CHUNKINGS = ["16 KiB", "mid-block", "random", "by event"]
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
SIBLINGS = {
    "ticks-repeating": "ticks",
    "ticks-id-last": "ticks",
    "ticks-no-space": "ticks",
    "ticks-typed": "ticks",
    "llm-no-space": "llm",
    "llm-typed": "llm",
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
def live(workloads):
    return importlib.import_module("live")


@pytest.fixture
def live_contenders(workloads):
    return importlib.import_module("live_contenders")


@pytest.fixture
def measuring(workloads):
    return importlib.import_module("measuring")


@functools.cache
def small_workloads(workloads):
    """Short versions of all of them. The full versions take long to create."""
    return workloads.all_workloads(0.01)


def test_each_workload_has_the_events_that_it_expects(workloads, contenders):
    streams = [*small_workloads(workloads), workloads.long_line(1)]
    assert {stream.name for stream in streams} == {*WORKLOADS, *SIBLINGS, "line-1"}
    for stream, chunking in itertools.product(streams, CHUNKINGS):
        chunks = list(workloads.CHUNKINGS[chunking](stream))
        assert b"".join(chunks) == stream.stream
        for name in (contenders.OURS, contenders.OURS_SINGLY):
            is_right = contenders.contender(name).is_right(stream, chunks)
            assert is_right, (stream.name, chunking, name)


def test_the_floor_has_the_events_of_the_workload_that_it_knows(workloads, floor):
    for stream, chunking in itertools.product(small_workloads(workloads), CHUNKINGS):
        if stream.is_sibling:
            continue
        chunks = list(workloads.CHUNKINGS[chunking](stream))
        assert floor.floor(stream, chunking).is_right(stream, chunks), (stream.name, chunking)


def test_siblings_have_the_shape_of_another_stream(workloads):
    streams = small_workloads(workloads)
    assert {stream.name: stream.shape for stream in streams if stream.is_sibling} == SIBLINGS
    assert not workloads.long_line(1).is_sibling
    by_name = {stream.name: stream for stream in streams}
    for name, shape in SIBLINGS.items():
        if name != "ticks-repeating":  # its data is always the same
            data = [event.data for event in by_name[name].events]
            assert data == [event.data for event in by_name[shape].events]


def test_mid_block_reads_begin_in_the_middle_of_a_block(workloads):
    for stream in workloads.all_workloads(0.05):
        chunks = list(workloads.CHUNKINGS["mid-block"](stream))
        assert len(chunks) > 1
        assert all(len(chunk) <= workloads.READ_SIZE + 2500 for chunk in chunks)
        ends = set()
        position = 0
        for block in stream.blocks * stream.repeats:
            position += len(block)
            ends.add(position)
        position = 0
        for chunk in chunks[:-1]:
            position += len(chunk)
            assert position not in ends


def test_siblings_spread_from_the_fastest_to_the_slowest(parsing):
    ratios = {"ticks": 1.0, "ticks, no space": 0.8, "ticks, ID last": 1.2}
    siblings = parsing.Siblings("ticks, random", dict.fromkeys(ratios, 1.0), ratios)
    assert siblings.spread() == pytest.approx(1.5)


def test_siblings_are_grouped_by_shape_and_by_how_they_are_read(workloads, parsing):
    wanted = {"llm", "world", "llm-typed"}
    streams = [each for each in workloads.all_workloads(0.001) if each.name in wanted]
    groups = parsing._all_siblings(streams, rounds=1, tell=lambda _: None)
    assert {group.title: set(group.seconds) for group in groups} == {
        **{
            f"llm, {how}": {"LLM lines, 180 B", "LLM lines, 1 in 10 typed"}
            for how in workloads.CHUNKINGS
        },
        **{f"{stream.title}, reads": {"16 KiB", "mid-block"} for stream in streams},
    }


def test_each_run_has_the_same_streams_and_chunks(workloads):
    for one, other in zip(small_workloads(workloads), workloads.all_workloads(0.01), strict=True):
        for cut in workloads.CHUNKINGS.values():
            assert list(cut(one)) == list(cut(other))


def test_workloads_have_the_sizes_that_they_are_named_after(workloads):
    by_name = {stream.name: stream for stream in small_workloads(workloads)}
    assert {len(block) for block in by_name["llm"].blocks} == {180 + len("\n\n")}
    assert {len(block) for block in by_name["wikimedia"].blocks} == {1200}
    assert {len(block) for block in by_name["ticks"].blocks} == {15}
    assert {event.data.count("\n") for event in by_name["50-lines"].events} == {49}
    assert {len(block) for block in by_name["heartbeats"].blocks[::2]} == {len(":\n\n")}
    assert len(workloads.long_line(16).events[0].data) == 16 * 1024 * 1024


def test_wrong_events_are_found_out(workloads, contenders):
    stream = small_workloads(workloads)[0]
    chunks = list(workloads.CHUNKINGS["by event"](stream))
    one = contenders.contender(contenders.OURS)
    assert not one.is_right(stream, chunks[1:])
    assert not one.is_right(stream, [chunk.replace(b"data", b"date") for chunk in chunks])
    assert not one.is_right(stream, [None])


def test_multiples_are_of_the_same_round(measuring):
    seconds = {"limit": [1.0, 10.0, 2.0], "slow": [3.0, 30.0]}
    assert measuring.multiples(seconds, "limit") == {"limit": 1.0, "slow": 3.0}
    assert measuring.multiples({"slow": [1.0]}, "limit") == {}


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads Linux's clocks")


def run_live(tmp_path, *arguments, **options):
    path = tmp_path / "live.json"
    command = [sys.executable, FOLDER / "live.py", *arguments, "--json", path]
    subprocess.run(command, check=True, capture_output=True, **options)
    return json.loads(path.read_text(encoding="utf-8"))


@needs_linux
@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("together", [1, 2])
def test_contenders_receive_all_events_of_live_streams(tmp_path, together):
    names = ["merge", "thread", "iter_events", "launchdarkly", "floor-threads", "floor-selector"]
    chosen = [f"--contender={name}" for name in names]
    together_option = f"--together={together}"
    result = run_live(
        tmp_path, "--streams=2", "--seconds=0.2", "--rounds=1", together_option, *chosen
    )
    (case,) = result["cases"]
    assert case["together"] == together
    assert case["wrong"] == {}
    assert {*case["figures"], *result["skipped"]} == {*names}
    assert case["figures"]["merge"]["cpu"] > 0
    assert case["figures"]["merge"]["threads"] >= 1
    assert case["of_launchdarkly"].get("launchdarkly", 1) == 1


@pytest.mark.ci
@pytest.mark.slow
def test_idle_streams_are_opened_and_closed(tmp_path):
    idle = run_live(tmp_path, "--streams=0", "--idle=5")["idle"]
    assert [case["count"] for case in idle] == [5, 5, 5]
    assert [case["limited"] for case in idle] == ["", "", ""]


@needs_linux
@pytest.mark.ci
@pytest.mark.slow
def test_a_contender_that_cannot_be_measured_is_left_out_with_the_reason(tmp_path):
    chosen = ["--contender=eventsource", "--streams=1", "--rounds=1"]
    result = run_live(tmp_path, *chosen, env={"PATH": ""})
    assert result["skipped"] == {"eventsource": "node is missing"}
    assert result["cases"][0]["figures"] == {}


def test_medians_are_of_the_contenders_that_received_all_events(live):
    case = live.Live(2, 20.0, 1.0, 2)
    slow = live.Turn(30.0, 3.0, 9.0, 1.0, 0.5, 2, 0.1, 0.2)
    fast = live.Turn(10.0, 1.0, 3.0, 1.0, 0.5, 2, 0.1, 0.2)
    case.turns = {"merge": [slow, slow], live.LAUNCHDARKLY: [fast, fast], "thread": [fast]}
    case.wrong = {"thread": "3 gaps"}
    case.conclude()
    assert case.figures == {"merge": slow, live.LAUNCHDARKLY: fast}
    assert case.of_launchdarkly == {"merge": 3.0, live.LAUNCHDARKLY: 1.0}


def test_gaps_of_live_streams_are_found_out(live_contenders):
    received = ["9 0 0 .", "9 1 0 .", "9 0 1 .", "9 1 1 ."]
    assert live_contenders.gaps_in(received, 2) == 0
    assert live_contenders.gaps_in(received[:2] + received[3:], 2) == 0
    assert live_contenders.gaps_in(received[1:], 2) == 1
    assert live_contenders.gaps_in([*received, received[-1]], 2) == 1


def test_the_floor_decodes_chunks_however_they_are_cut(live_contenders):
    coded = b"5\r\none\r\n\r\na\r\n0123456789\r\n"
    for cut in range(len(coded) + 1):
        content, rest = live_contenders.content_of(coded[:cut])
        more, rest = live_contenders.content_of(rest + coded[cut:])
        assert content + more == b"one\r\n0123456789"
        assert rest == b""
