"""Parsing, without a network: each workload in each chunking, as multiples of the limit."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import operator
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contenders import LIMIT, OURS, PEERS, contender, installed, limit
from floor import floor
from measuring import multiples, settle_garbage, take_turns
from workloads import CHUNKINGS, READS, Workload, all_workloads, long_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

LAUNCHDARKLY = "launchdarkly-eventsource"

GREATEST_EXPONENT = 1.15
LEAST_SPEED = 1.5

#: How many times as long as its fastest sibling a stream may take with our parser.
GREATEST_SIBLING_RATIO = 1.5

#: Seconds after which a parser counts as not finishing a long line.
_PATIENCE = 6.0

#: The number of times that a process parses a long line, if that does not take long.
_PASSES = 3


@dataclass
class Cell:
    """The figures of one workload in one chunking.

    Attributes:
        seconds: The median of each contender for ``events`` events.
        multiples: The median of each, as a multiple of the limit in the same round.
        is_sibling: Whether it is a variant of another stream of its shape.
        wrong: The contenders with wrong events.
        unfinished: The contenders that did not finish in time.
    """

    workload: str
    title: str
    chunking: str
    events: int
    size: int
    is_sibling: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    multiples: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    def best_peer(self) -> str | None:
        """Return the fastest of the peers with the right events."""
        right = [name for name in PEERS if name in self.multiples and name not in self.wrong]
        return min(right, key=self.multiples.__getitem__, default=None)

    def lead(self) -> float | None:
        """Return the best peer's time as a multiple of ours."""
        peer = self.best_peer()
        return None if peer is None else self.multiples[peer] / self.multiples[OURS]


@dataclass
class Siblings:
    """Our figures for streams that should all take equally long, measured in turns.

    Attributes:
        title: What they have in common.
        seconds: The median per event of each.
        ratios: The median of each, as a multiple of the first one in the same round.
    """

    title: str
    seconds: dict[str, float]
    ratios: dict[str, float]

    def spread(self) -> float:
        """Return the time of the slowest as a multiple of that of the fastest."""
        return max(self.ratios.values()) / min(self.ratios.values())


@dataclass
class Parsing:
    """All measurements, and the conclusions from them."""

    cells: list[Cell]
    siblings: list[Siblings] = field(default_factory=list)
    exponents: dict[str, dict[str, float]] = field(default_factory=dict)

    def speed(self) -> float | None:
        """Return the geometric mean of our speed relative to launchdarkly's."""
        ratios = [
            cell.multiples[LAUNCHDARKLY] / cell.multiples[OURS]
            for cell in self.cells
            if LAUNCHDARKLY in cell.multiples
        ]
        return statistics.geometric_mean(ratios) if ratios else None

    def slower_than_a_peer(self) -> list[Cell]:
        """Return the cells in which a peer with the right events is faster."""
        return [cell for cell in self.cells if (cell.lead() or math.inf) < 1]


def measure(*, quick: bool, tell: Callable[[str], None]) -> Parsing:
    """Measure everything. ``tell`` is called with the name of each step."""
    workloads = all_workloads(0.1 if quick else 1.0)
    cells = [
        _cell(workload, chunking, rounds=1 if quick else 9, tell=tell)
        for workload in workloads
        for chunking in CHUNKINGS
    ]
    result = Parsing(cells, _all_siblings(workloads, rounds=3 if quick else 15, tell=tell))
    sizes = (1, 4) if quick else (16, 64)
    for chunking in list(CHUNKINGS)[: 1 if quick else None]:
        lines = _long_lines(sizes, chunking, rounds=1 if quick else 2, tell=tell)
        cells += lines.cells
        result.exponents[chunking] = lines.exponents
    return result


def _cell(workload: Workload, chunking: str, *, rounds: int, tell: Callable[[str], None]) -> Cell:
    tell(f"parsing: {workload.title}, {chunking}")
    cut = CHUNKINGS[chunking]
    chunks = list(cut(workload))
    cell = _new_cell(workload, chunking)
    # A sibling has the same floor as the stream of its shape, so it is not measured.
    floors = [] if cell.is_sibling else [floor(workload, chunking)]
    contenders = [limit(workload), *floors, *installed()]
    sample = workload.sample()
    pieces = list(cut(sample))
    cell.wrong = [one.name for one in contenders[1:] if not one.is_right(sample, pieces)]
    settle_garbage()
    work = {one.name: (lambda consume=one.consume: consume(chunks)) for one in contenders}
    taken = take_turns(work, rounds)
    cell.seconds = {name: statistics.median(each) for name, each in taken.items()}
    cell.multiples = multiples(taken, LIMIT)
    return cell


def _all_siblings(
    workloads: list[Workload], *, rounds: int, tell: Callable[[str], None]
) -> list[Siblings]:
    """Measure the streams of one shape in turns, and both kinds of reads of each stream."""
    groups: dict[str, dict[str, tuple[Workload, str]]] = {}
    for workload, chunking in itertools.product(workloads, CHUNKINGS):
        same_shape = groups.setdefault(f"{workload.shape}, {chunking}", {})
        same_shape[workload.title] = workload, chunking
        if chunking in READS:
            same_stream = groups.setdefault(f"{workload.title}, reads", {})
            same_stream[chunking] = workload, chunking
    return [
        _siblings(title, members, rounds=rounds, tell=tell)
        for title, members in groups.items()
        if len(members) > 1
    ]


def _siblings(
    title: str,
    members: dict[str, tuple[Workload, str]],
    *,
    rounds: int,
    tell: Callable[[str], None],
) -> Siblings:
    tell(f"parsing: siblings, {title}")
    consume = contender(OURS).consume
    chunks = {name: list(CHUNKINGS[how](workload)) for name, (workload, how) in members.items()}
    settle_garbage()
    work = {name: (lambda chunks=each: consume(chunks)) for name, each in chunks.items()}
    taken = {
        name: [seconds / members[name][0].count for seconds in each]
        for name, each in take_turns(work, rounds).items()
    }
    medians = {name: statistics.median(each) for name, each in taken.items()}
    return Siblings(title, medians, multiples(taken, next(iter(members))))


def _new_cell(workload: Workload, chunking: str) -> Cell:
    size = sum(map(len, workload.blocks)) * workload.repeats
    name, title, is_sibling = workload.name, workload.title, workload.is_sibling
    return Cell(name, title, chunking, workload.count, size, is_sibling)


@dataclass
class _LongLines:
    """The cells of both sizes, and the exponent of the growth of each contender's time."""

    cells: list[Cell]
    exponents: dict[str, float] = field(default_factory=dict)


def _long_lines(
    sizes: tuple[int, int], chunking: str, *, rounds: int, tell: Callable[[str], None]
) -> _LongLines:
    """Measure both sizes, each contender in a process that can be killed."""
    cells = [_new_cell(long_line(size), chunking) for size in sizes]
    names = [LIMIT, *(one.name for one in installed())]
    taken: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
    for _, name in itertools.product(range(rounds), names):
        if name in cells[-1].unfinished:
            continue
        tell(f"parsing: {cells[0].title}, {cells[1].title}, {chunking}, {name}")
        receiver = _run_apart(name, sizes, chunking)
        for cell, seconds_of, response in zip(cells, taken, receiver, strict=True):
            if response is None:
                cell.unfinished.append(name)
                continue
            seconds, is_right = response
            seconds_of.setdefault(name, []).append(seconds)
            if not is_right and name != LIMIT and name not in cell.wrong:
                cell.wrong.append(name)
    for cell, seconds_of in zip(cells, taken, strict=True):
        cell.seconds = {name: statistics.median(each) for name, each in seconds_of.items()}
        cell.multiples = multiples(seconds_of, LIMIT)
    growth = math.log(sizes[1] / sizes[0])
    exponents = {
        name: math.log(statistics.median(map(operator.truediv, larger, taken[0][name]))) / growth
        for name, larger in taken[1].items()
    }
    return _LongLines(cells, exponents)


#: The seconds, and whether the event was right. None if there was none in time.
_Response = tuple[float, bool] | None


def _run_apart(name: str, sizes: tuple[int, int], chunking: str) -> tuple[_Response, _Response]:
    """Parse both lines in another process, which is killed if it takes too long."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_parse_lines, args=(theirs, name, sizes, chunking))
    process.start()
    theirs.close()
    receiver: list[_Response] = [None, None]
    try:
        for number in range(len(sizes)):
            ours.recv()  # the stream has been created, and parsing begins
            if not ours.poll(_PATIENCE):
                break
            receiver[number] = (ours.recv(), ours.recv())
    except EOFError:
        pass  # it failed
    finally:
        process.kill()
        process.join()
    return receiver[0], receiver[1]


def _parse_lines(receiver: Connection, name: str, sizes: tuple[int, int], chunking: str) -> None:
    for size in sizes:
        workload = long_line(size)
        one = limit(workload) if name == LIMIT else contender(name)
        chunks = list(CHUNKINGS[chunking](workload))
        settle_garbage()
        receiver.send("begins")
        taken: list[float] = []
        while not taken or (len(taken) < _PASSES and sum(taken) < _PATIENCE / 6):
            start = time.perf_counter()
            one.consume(chunks)
            taken.append(time.perf_counter() - start)
        receiver.send(statistics.median(taken))
        receiver.send(one.is_right(workload, chunks))
