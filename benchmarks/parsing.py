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
from floor import FLOOR, floor
from measuring import multiples, settle_garbage, take_turns
from workloads import CHUNKINGS, Workload, all_workloads, long_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

LAUNCHDARKLY = "launchdarkly-eventsource"

#: The multiples of the limit to reach, in the order of ``CHUNKINGS``.
GOALS: dict[str, tuple[float, ...]] = {
    "llm": (1.4, 1.85, 2.2),
    "wikimedia": (1.25, 1.5, 1.5),
    "50-lines": (4.4, 4.4, 2.2),
    "ticks": (14.0, 14.0, 9.5),
    "llm-crlf": (3.3,),
    "wikimedia-crlf": (2.0,),
    "heartbeats": (3.8, 4.0, 2.8),
    "world": (1.2, 1.5, 1.8),
}
GREATEST_EXPONENT = 1.15
LEAST_SPEED = 1.6

#: Seconds after which a parser is said not to finish a long line.
_PATIENCE = 6.0

#: How often a long line is parsed in a process, if that does not take long.
_PASSES = 3


@dataclass
class Cell:
    """The figures of one workload in one chunking.

    Attributes:
        seconds: The median of each contender, for ``events`` events.
        multiples: The median of each, as a multiple of the limit in the same round.
        wrong: Who did not give the right events.
        unfinished: Who did not finish in time.
    """

    workload: str
    title: str
    chunking: str
    events: int
    size: int
    seconds: dict[str, float] = field(default_factory=dict)
    multiples: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    goal: float | None = None

    def verdict(self) -> str:
        """Return whether the goal is met, and where that would take less than the floor."""
        if self.goal is None:
            return ""
        if self.multiples[OURS] <= self.goal:
            return "yes"
        return "no" if self.multiples[FLOOR] <= self.goal else "below"

    def best_peer(self) -> str | None:
        """Return the fastest of the peers that gave the right events."""
        right = [name for name in PEERS if name in self.multiples and name not in self.wrong]
        return min(right, key=self.multiples.__getitem__, default=None)

    def lead(self) -> float | None:
        """Return how many times the best peer's time is ours."""
        peer = self.best_peer()
        return None if peer is None else self.multiples[peer] / self.multiples[OURS]


@dataclass
class Parsing:
    """All that was measured, and what it comes to."""

    cells: list[Cell]
    exponents: dict[str, dict[str, float]] = field(default_factory=dict)

    def speed(self) -> float | None:
        """Return the geometric mean of our speed, with launchdarkly's as 1."""
        ratios = [
            cell.multiples[LAUNCHDARKLY] / cell.multiples[OURS]
            for cell in self.cells
            if LAUNCHDARKLY in cell.multiples
        ]
        return statistics.geometric_mean(ratios) if ratios else None

    def slower_than_a_peer(self) -> list[Cell]:
        """Return the cells in which a peer that is right is faster."""
        return [cell for cell in self.cells if (cell.lead() or math.inf) < 1]


def measure(*, quick: bool, tell: Callable[[str], None]) -> Parsing:
    """Measure all; ``tell`` is called with what is being worked on."""
    workloads = all_workloads(0.1 if quick else 1.0)
    cells = [
        _cell(workload, chunking, rounds=1 if quick else 9, tell=tell)
        for workload in workloads
        for chunking in CHUNKINGS
    ]
    result = Parsing(cells)
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
    goals = dict(zip(CHUNKINGS, GOALS.get(workload.name, ()), strict=False))
    cell.goal = goals.get(chunking)
    contenders = [limit(workload), floor(workload, chunking), *installed()]
    sample = workload.sample()
    pieces = list(cut(sample))
    cell.wrong = [one.name for one in contenders[1:] if not one.is_right(sample, pieces)]
    settle_garbage()
    work = {one.name: (lambda consume=one.consume: consume(chunks)) for one in contenders}
    taken = take_turns(work, rounds)
    cell.seconds = {name: statistics.median(each) for name, each in taken.items()}
    cell.multiples = multiples(taken, LIMIT)
    return cell


def _new_cell(workload: Workload, chunking: str) -> Cell:
    size = sum(map(len, workload.blocks)) * workload.repeats
    return Cell(workload.name, workload.title, chunking, workload.count, size)


@dataclass
class _LongLines:
    """The cells of both sizes, and the exponent with which each contender's time grows."""

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


#: The seconds, and whether the event was right; None if it was not there in time.
_Response = tuple[float, bool] | None


def _run_apart(name: str, sizes: tuple[int, int], chunking: str) -> tuple[_Response, _Response]:
    """Parse both lines in another process, and kill it when it takes too long."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_parse_lines, args=(theirs, name, sizes, chunking))
    process.start()
    theirs.close()
    receiver: list[_Response] = [None, None]
    try:
        for number in range(len(sizes)):
            ours.recv()  # it has made the stream, and begins
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
