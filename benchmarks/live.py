"""Live streams: processor time and latency of events that arrive one by one on many streams.

Part of ``make bench``. To run it alone: ``python benchmarks/live.py --streams 200 --rate 20``. Each
contender runs in a new process in each round, and the contenders take turns. The measurement begins
when all streams are open and events have been arriving for a moment. This needs Linux, where all
processes have the same monotonic clock and one can read another's processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_idle import IDLE, Idle, measure_idle
from live_server import EVENT_SIZE, LiveServer
from measuring import multiples
from report import table
from serving import apart_from_server, cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LAUNCHDARKLY = "launchdarkly"

TITLES = {
    "merge": "sse_client, merge",
    "thread": "sse_client, a thread each",
    "iter_events": "sse_client, iter_events, a thread each",
    "async": "sse_client, async for",
    LAUNCHDARKLY: "launchdarkly-eventsource, a thread each",
    "aiohttp": "aiohttp and our parser, one loop",
    "httpx-sse": "httpx-sse, one loop",
    "httpx2": "httpx2, one loop",
    "eventsource": "eventsource of npm, on node",
    "floor-threads": "floor: a reader thread each, a queue",
    "floor-bare": "floor: a reader thread each",
    "floor-selector": "floor: a selector, a queue",
    "floor-selector-threads": "floor: a selector, a consumer thread each",
    "floor-selector-bare": "floor: a selector",
}

#: The contenders that are measured with thousands of streams. The others would take minutes.
_OF_MANY = (
    "merge",
    "async",
    LAUNCHDARKLY,
    "aiohttp",
    "eventsource",
    "floor-threads",
    "floor-selector",
)

#: The fields of ``Live`` up to ``together``, and the contenders.
CASES = (
    ((1, 2.0, 3.0, 1), tuple(TITLES)),
    ((1, 20.0, 1.5, 1), tuple(TITLES)),
    ((200, 2.0, 1.5, 1), tuple(TITLES)),
    ((200, 20.0, 1.5, 3), tuple(TITLES)),
    ((200, 20.0, 1.5, 3, 200), tuple(TITLES)),
    ((2000, 2.0, 2.0, 1), _OF_MANY),
    ((2000, 20.0, 1.5, 1), _OF_MANY),
)
QUICK_CASES = (((20, 20.0, 0.5, 1), tuple(TITLES)),)

#: The time before the measurement: seconds, and periods of a stream.
_WARM_UP = 0.3
_WARM_UP_PERIODS = 1.1

#: How long a contender may take for a step, in seconds.
_PATIENCE = 90.0

_FOLDER = Path(__file__).parent
_NPM = _FOLDER.parent / "build" / "npm"


class Failed(Exception):  # noqa: N818  # a result
    """A contender has not received all events, or could not open all streams."""


class Skipped(Exception):  # noqa: N818  # a result
    """A contender cannot be measured here."""


@dataclass(frozen=True)
class Turn:
    """The figures of one contender in one round.

    Attributes:
        cpu: Microseconds of processor time per event, in all threads of the contender.
        median: Milliseconds from the server's clock to the consumer's loop.
        p99: The same, the 99th percentile.
        share: The share of the due events that were received.
        open_seconds: Seconds from opening the first stream until all had their first event.
        threads: The number of threads that follow the streams.
        late: Milliseconds by which the server was late, the 99th percentile.
        server_busy: The share of a core that the server used.
    """

    cpu: float
    median: float
    p99: float
    share: float
    open_seconds: float
    threads: int
    late: float
    server_busy: float


@dataclass
class Live:
    """The figures for one number of streams and one rate.

    Attributes:
        streams: The number of streams.
        rate: The number of events per second on each.
        seconds: The measured time of a turn.
        rounds: The number of turns of each contender.
        together: The number of streams on which events are due at the same instant.
        turns: The turns of each contender, round by round.
        figures: The medians of each contender.
        of_launchdarkly: Processor time as a multiple of launchdarkly's in the same round.
        wrong: The contenders that failed or have gaps in a stream, and the reasons.
    """

    streams: int
    rate: float
    seconds: float
    rounds: int
    together: int = 1
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    figures: dict[str, Turn] = field(default_factory=dict)
    of_launchdarkly: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def conclude(self) -> None:
        """Compute the medians of the turns."""
        for name in self.wrong:
            self.turns.pop(name, None)
        for name, turns in self.turns.items():
            columns = zip(*map(dataclasses.astuple, turns), strict=True)
            self.figures[name] = Turn(*map(statistics.median, columns))
        cpu = {name: [turn.cpu for turn in turns] for name, turns in self.turns.items()}
        self.of_launchdarkly = multiples(cpu, LAUNCHDARKLY)


@dataclass
class LiveStreams:
    """The figures of all cases.

    Attributes:
        pinned: Whether server and contender each had their own core.
        skipped: The contenders that could not be measured, and the reasons.
        idle: The figures for many streams without events.
    """

    pinned: bool
    cases: list[Live] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    idle: list[Idle] = field(default_factory=list)

    def tables(self) -> list[str]:
        """Return the tables for a terminal."""
        return [*_tables(self)]


def measure(*, quick: bool, tell: Callable[[str], None]) -> LiveStreams:
    """Measure all contenders in each case, and the idle streams."""
    cases = QUICK_CASES if quick else CASES
    chosen = [(Live(*case), names) for case, names in cases]
    result = measure_cases(chosen, pin=False, tell=tell)
    result.idle = measure_idle(IDLE // 10 if quick else IDLE, tell=tell)
    return result


def measure_cases(
    cases: Sequence[tuple[Live, Sequence[str]]], *, pin: bool, tell: Callable[[str], None]
) -> LiveStreams:
    """Measure these contenders in each case."""
    core = cores()[0] if pin else None
    with (
        LiveServer(core) as server,
        apart_from_server() if pin else contextlib.nullcontext(enter_result=False) as pinned,
    ):
        result = LiveStreams(pinned, [case for case, _ in cases])
        for case, names in cases:
            for number in range(case.rounds):
                for name in names:
                    if name in result.skipped or name in case.wrong:
                        continue
                    tell(
                        f"live: {case.streams} streams, {case.rate:g}/s, {case.together} together, "
                        f"round {number + 1}, {name}"
                    )
                    try:
                        case.turns.setdefault(name, []).append(_take_turn(server, case, name))
                    except Skipped as reason:
                        result.skipped[name] = str(reason)
                        case.turns.pop(name)
                    except Failed as reason:
                        case.wrong[name] = str(reason)
            case.conclude()
    return result


def _take_turn(server: LiveServer, case: Live, name: str) -> Turn:
    """Run a contender once."""
    with _contender(name, server, case.streams) as (process, tell, hear):
        opened = hear()
        server.pace(case.rate, case.together)
        try:
            time.sleep(max(_WARM_UP, _WARM_UP_PERIODS / case.rate))
            first, first_cpu = time.monotonic_ns(), _cpu_of(process)
            time.sleep(case.seconds)
            last, last_cpu = time.monotonic_ns(), _cpu_of(process)
        finally:
            paced = server.stop()
        tell(f"{first} {last} {case.streams + paced.sent}")
        figures = hear()
    events = figures["events"]
    return Turn(
        cpu=(last_cpu - first_cpu) / events / 1e3,
        median=figures["median"],
        p99=figures["p99"],
        share=events / (case.streams * case.rate * (last - first) / 1e9),
        open_seconds=opened["open_seconds"],
        threads=opened["threads"],
        late=paced.late,
        server_busy=paced.busy,
    )


def _cpu_of(process: int) -> int:
    """Return the processor time of a process in nanoseconds, as its ``process_time_ns`` does.

    It is read from outside, because a busy process would need the GIL to read its own clock.
    """
    # The clock of another process: MAKE_PROCESS_CPUCLOCK and CPUCLOCK_SCHED of Linux.
    return time.clock_gettime_ns(~process << 3 | 2)


@contextlib.contextmanager
def _contender(
    name: str, server: LiveServer, count: int
) -> Iterator[tuple[int, Callable[[str], None], Callable[[], dict[str, Any]]]]:
    """Start a contender. Yield its process, and functions that send a line and get its figures."""
    arguments = [server.url, str(count)]
    if name == "eventsource":
        node = shutil.which("node")
        if node is None:
            raise Skipped("node is missing")
        command = [node, str(_FOLDER / "live_eventsource.mjs"), str(_NPM), *arguments]
    else:
        command = [sys.executable, str(_FOLDER / "live_contenders.py"), name, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to_it, from_it = process.stdin, process.stdout

        def tell(line: str) -> None:
            try:
                print(line, file=to_it, flush=True)
            except OSError as error:
                raise Failed("the process has ended") from error

        def hear() -> dict[str, Any]:
            line = from_it.readline()
            if not line:
                raise Failed("the process has ended")
            figures: dict[str, Any] = json.loads(line)
            if "skipped" in figures:
                raise Skipped(figures["skipped"])
            if "failed" in figures:
                raise Failed(str(figures["failed"]))
            return figures

        try:
            yield process.pid, tell, hear
        finally:
            process.kill()
            with contextlib.suppress(OSError):
                to_it.close()
            process.wait(_PATIENCE)
            server.reset()


def _tables(result: LiveStreams) -> Iterator[str]:
    pinned = "one core each" if result.pinned else "server and contender share the cores"
    for case in result.cases:
        yield (
            f"LIVE STREAMS: {case.streams:,}, {case.rate:g} events of {EVENT_SIZE} bytes per "
            f"second on each, {case.together} at an instant; "
            f"{case.rounds} rounds of {case.seconds:g} s; {pinned}\n"
        )
        rows = [
            [
                TITLES[name],
                name,
                f"{figures.cpu:.1f}",
                f"{case.of_launchdarkly[name]:.2f}" if name in case.of_launchdarkly else "",
                f"{figures.median:.3f}",
                f"{figures.p99:.2f}",
                f"{figures.share:.0%}",
                f"{figures.threads:,.0f}",
                f"{figures.open_seconds:.2f}",
                f"{figures.late:.2f}",
                f"{figures.server_busy:.0%}",
            ]
            for name, figures in case.figures.items()
        ]
        heading = ["client", "name", "CPU us/event", "of launchdarkly", "median ms", "p99 ms"]
        heading += ["received", "threads", "s to open", "server late", "server CPU"]
        yield table(heading, rows)
        for name, reason in case.wrong.items():
            yield f"{name} failed: {reason}\n"
    for name, reason in result.skipped.items():
        yield f"{name} is left out: {reason}\n"
    if result.idle:
        yield "IDLE STREAMS in one process\n"
        rows = [
            [
                each.title,
                f"{each.count:,}",
                "" if each.size is None else f"{each.size:.1f}",
                f"{each.threads:,}",
                f"{each.open_ms:.3f}",
                f"{each.close_seconds:.2f}",
                each.limited,
            ]
            for each in result.idle
        ]
        heading = ["client", "open", "KiB each", "threads", "ms to open each", "s to close"]
        yield table([*heading, "fewer because"], rows)


def main() -> None:
    """Measure the requested cases, and print the tables."""
    options = _options()
    names = options.contender or list(TITLES)
    case = Live(options.streams, options.rate, options.seconds, options.rounds, options.together)
    cases = [(case, names)] if case.streams else []
    result = measure_cases(cases, pin=options.pin, tell=_tell)
    if options.idle:
        result.idle = measure_idle(options.idle, tell=_tell)
    _tell("")
    print("\n".join(result.tables()))
    if options.json is not None:
        figures = json.dumps(dataclasses.asdict(result), indent=2)
        options.json.write_text(figures + "\n", encoding="utf-8")


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure live streams.")
    parser.add_argument(
        "--streams", type=int, default=200, metavar="N", help="number of streams; 0 for none"
    )
    parser.add_argument("--rate", type=float, default=20.0, help="events per second on each stream")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured time of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--together",
        type=int,
        default=1,
        metavar="N",
        help="number of streams on which events are due at the same instant",
    )
    parser.add_argument(
        "--contender", choices=TITLES, action="append", help="only this contender; repeatable"
    )
    parser.add_argument(
        "--pin", action="store_true", help="pin the server and the contender to one core each"
    )
    parser.add_argument(
        "--idle", type=int, default=0, metavar="N", help="measure N idle streams, too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
