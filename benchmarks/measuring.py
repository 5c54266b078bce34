"""How times are measured: in many short turns, of which the median counts.

A contender's turn is divided by the reference's turn in the same round, so that a machine that is
slower for a while is slower for both.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: A turn repeats its work until it has taken this long, in seconds.
_SHORTEST_TURN = 0.02

#: A contender that takes longer than this for a turn gets fewer turns.
_LONG_TURN = 0.15
_TURNS_OF_THE_SLOW = 3


def settle_garbage() -> None:
    """Exclude existing objects from garbage collection: imports, streams, expected events.

    Garbage collection stays on during the turns, as it is where parsers are used.
    """
    gc.collect()
    gc.freeze()


def take_turns(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each, round by round. Slow ones stop after a few rounds."""
    passes = {name: _passes(function) for name, function in work.items()}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds):
        for name, function in work.items():
            taken = seconds[name]
            if number >= _TURNS_OF_THE_SLOW and taken[0] > _LONG_TURN:
                continue
            gc.collect()
            taken.append(_time(function, passes[name]) / passes[name])
    return seconds


def _passes(function: Callable[[], object]) -> int:
    """Warm up, and return the number of times to repeat the work."""
    taken = _time(function, 1)
    return max(1, -int(-_SHORTEST_TURN // taken))


def _time(function: Callable[[], object], passes: int) -> float:
    start = time.perf_counter()
    for _ in range(passes):
        function()
    return time.perf_counter() - start


def multiples(seconds: Mapping[str, list[float]], reference: str) -> dict[str, float]:
    """Return the median of each one's multiples of the reference in the same round."""
    if reference not in seconds:
        return {}
    return {
        name: statistics.median(
            own / base for own, base in zip(taken, seconds[reference], strict=False)
        )
        for name, taken in seconds.items()
    }
