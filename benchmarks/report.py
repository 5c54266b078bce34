"""The report: the machine, the tables for a terminal, and all figures as JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contenders import LIMIT, NAMES, OURS, OURS_SINGLY
from floor import FLOOR
from open_streams import GREATEST_CLOSE, GREATEST_SIZE, OpenStreams
from parsing import (
    GREATEST_EXPONENT,
    GREATEST_SIBLING_RATIO,
    LEAST_SPEED,
    Parsing,
    Siblings,
)
from whole_way import GREATEST_DELAY, Latencies, WholeWay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from live import LiveStreams

_PACKAGES = (
    "sse-client",
    "requests",
    "urllib3",
    "launchdarkly-eventsource",
    "httpx-sse",
    "httpx",
    "httpx2",
    "aiohttp",
    "sseclient-py",
    "requests-sse",
    "openai",
    "anthropic",
)

_SHORT_NAMES = {
    OURS: "ours",
    OURS_SINGLY: "singly",
    "launchdarkly-eventsource": "launchd",
    "httpx-sse": "httpx",
    "sseclient-py": "sseclt",
    "requests-sse": "reqsse",
    "anthropic": "anthr",
}


def _machine() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@dataclass
class Report:
    """The results of the sections that were run."""

    parsing: Parsing | None = None
    whole_way: WholeWay | None = None
    latency: Latencies | None = None
    streams: OpenStreams | None = None
    live: LiveStreams | None = None
    machine: dict[str, Any] = field(default_factory=_machine)

    def heading(self) -> str:
        """Return a description of the machine."""
        machine = self.machine
        packages = [f"{name} {version}" for name, version in machine["packages"].items()]
        return (
            f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
            f"{machine['python']}\n{', '.join(packages[:5])},\n{', '.join(packages[5:])}\n"
        )

    def tables(self) -> str:
        """Return all results for a terminal of 120 columns."""
        parts: list[str] = []
        if self.parsing is not None:
            parts += _parsing(self.parsing)
        if self.whole_way is not None:
            parts += _whole_way(self.whole_way)
        if self.latency is not None:
            parts += _latency(self.latency)
        if self.streams is not None:
            parts += _streams(self.streams)
        if self.live is not None:
            parts += self.live.tables()
        return "\n".join(parts)

    def json(self) -> str:
        """Return all figures."""
        figures = dataclasses.asdict(self)
        if self.parsing is not None:
            figures["parsing"]["speed"] = self.parsing.speed()
        return json.dumps(figures, indent=2)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first two columns are aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = []
    for row in (heading, *rows):
        cells = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _rounded(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _short(names: Iterable[str]) -> list[str]:
    return [_SHORT_NAMES.get(name, name) for name in names]


def _met(*verdicts: bool) -> str:
    return "met" if all(verdicts) else "not met"


def _parsing(result: Parsing) -> list[str]:
    rows = []
    for cell in result.cells:
        row = [cell.title, cell.chunking, f"{cell.size / cell.seconds[LIMIT] / 1e6:,.0f}"]
        for name in (FLOOR, *NAMES):
            mark = "!" if name in cell.wrong else ""
            shown = mark + _rounded(cell.multiples[name]) if name in cell.multiples else ""
            row.append("never" if name in cell.unfinished else shown)
        lead = cell.lead()
        row.append("" if lead is None else f"{lead:.2f}")
        rows.append(row)
    slower = [f"{cell.title} ({cell.chunking})" for cell in result.slower_than_a_peer()]
    parts = [
        "PARSING: multiples of the limit: decoding and splitting each chunk (lower is better)",
        "MB/s: of the limit; floor: a parser that knows the stream and checks nothing;",
        "!: wrong events; never: not in time; lead: the best correct peer as a multiple of ours\n",
        table(["workload", "chunks", "MB/s", FLOOR, *_short(NAMES), "lead"], rows),
        *_siblings(result.siblings),
    ]
    if result.exponents:
        most = max(each[OURS] for each in result.exponents.values())
        verdict = _met(most <= GREATEST_EXPONENT)
        parts.append(
            f"Exponent of a long line's growth: {most:.2f}, {GREATEST_EXPONENT}: {verdict}"
        )
    speed = result.speed()
    if speed is not None:
        parts.append(
            f"Geometric mean of the speed, launchdarkly-eventsource's as 1: {speed:.2f}, "
            f"{LEAST_SPEED}: {_met(speed >= LEAST_SPEED)}"
        )
    parts.append(f"Slower than a peer in {len(slower)} of {len(rows)} cells: {_met(not slower)}\n")
    return parts


def _siblings(groups: list[Siblings]) -> list[str]:
    rows = [
        [
            group.title,
            ", ".join(f"{name} {seconds * 1e9:,.0f}" for name, seconds in group.seconds.items()),
            f"{group.spread():.2f}",
            _met(group.spread() <= GREATEST_SIBLING_RATIO),
        ]
        for group in groups
    ]
    most = GREATEST_SIBLING_RATIO
    return [
        f"SIBLINGS: our nanoseconds per event; the slowest by the fastest must be at most {most}\n",
        table(["in common", "streams", "ratio", ""], rows),
    ]


def _pinning(*, pinned: bool) -> str:
    return "one core each for client and server" if pinned else "client and server share the cores"


def _whole_way(result: WholeWay) -> list[str]:
    rows = []
    for backlog in result.backlogs:
        goals = backlog.goals()
        for name, rate in backlog.rates.items():
            against_ours, goal = goals.get(name, (backlog.against_ours[name], None))
            rows.append(
                [
                    backlog.title,
                    name,
                    f"{rate:,.0f}",
                    f"{backlog.cpu[name]:.2f}",
                    f"{backlog.multiples[name]:.2f}",
                    f"{against_ours:.2f}",
                    "" if goal is None else f"{goal:g}",
                    "" if goal is None else _met(against_ours >= goal),
                ]
            )
        rows += [[backlog.title, name, *([""] * 5), "failed"] for name in backlog.wrong]
    heading = ["framing", "client", "events/s", "CPU s/M", "of bare", "of ours", "goal", ""]
    title = "THE WHOLE WAY of a backlog over loopback, " + _pinning(pinned=result.pinned)
    return [title + "\n", table(heading, rows)]


def _latency(result: Latencies) -> list[str]:
    rows = []
    for framing in result.framings:
        held_back = framing.held_back()
        for name in framing.median:
            is_ours = name == OURS
            rows.append(
                [
                    framing.title,
                    name,
                    f"{framing.median[name]:.3f}",
                    f"{framing.p99[name]:.3f}",
                    f"{framing.above[name]:+.3f}",
                    f"{GREATEST_DELAY:g}" if is_ours else "",
                    _met(framing.above[name] <= GREATEST_DELAY) if is_ours else "",
                    "held back" if name in held_back else "",
                ]
            )
        rows += [[framing.title, name, *([""] * 5), "failed"] for name in framing.wrong]
    heading = ["framing", "client", "median ms", "p99 ms", "above bare", "goal", "", ""]
    title = "LATENCY with one event every 5 ms, " + _pinning(pinned=result.pinned)
    return [title + "\n", table(heading, rows)]


def _streams(result: OpenStreams) -> list[str]:
    rows = []
    for case in result.cases:
        goals = case.goals()
        rows.append(
            [
                f"{case.count:,}",
                case.contender,
                "" if case.size is None else f"{case.size:.1f}",
                f"{case.threads:.2f}",
                f"{case.close_seconds * 1000:.1f}",
                f"{case.threads_left}",
                "" if case.files_left is None else f"{case.files_left}",
                _met(*goals) if goals else "",
            ]
        )
    closing = ", ".join(f"{count:,} in {seconds:g} s" for count, seconds in GREATEST_CLOSE.items())
    heading = ["open", "client", "KiB each", "threads each", "ms to close", "threads left"]
    return [
        f"OPEN STREAMS; goals: {GREATEST_SIZE:g} KiB and a thread each, {closing}, nothing left\n",
        table([*heading, "fds left", ""], rows),
    ]
