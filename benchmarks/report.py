"""What comes out: the machine, the tables for a terminal, and all figures as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contenders import LIMIT, OURS, OURS_SINGLY
from parsing import GREATEST_EXPONENT, LEAST_SPEED, Parsing

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGES = (
    "sse-client",
    "requests",
    "urllib3",
    "launchdarkly-eventsource",
    "httpx-sse",
    "httpx",
    "sseclient-py",
    "requests-sse",
    "openai",
    "anthropic",
)

_HEADINGS = {
    OURS: "ours",
    OURS_SINGLY: "singly",
    "launchdarkly-eventsource": "launchd",
    "httpx-sse": "httpx-s",
    "sseclient-py": "sseclnt",
    "requests-sse": "req-sse",
    "openai": "openai",
    "anthropic": "anthrop",
}


class Report:
    """Collects the results of the sections."""

    def __init__(self) -> None:
        self.machine = _machine()
        self.sections: dict[str, Any] = {}

    def add(self, name: str, result: Parsing) -> None:
        """Add the result of a section."""
        self.sections[name] = result

    def heading(self) -> str:
        """Return on what it was measured."""
        machine = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
        return (
            f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
            f"{machine['python']}\n{versions}\n"
        )

    def tables(self) -> str:
        """Return all results for a terminal of 120 columns."""
        parts = []
        if "parsing" in self.sections:
            parts.append(_parsing_table(self.sections["parsing"]))
        return "\n\n".join(parts)

    def json(self) -> str:
        """Return all figures."""
        sections = {name: dataclasses.asdict(each) for name, each in self.sections.items()}
        return json.dumps({"machine": self.machine, **sections}, indent=2)


def _machine() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
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


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first two columns aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = []
    for row in (heading, *rows):
        cells = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _parsing_table(result: Parsing) -> str:
    heading = ["workload", "chunks", "limit ns", *_HEADINGS.values(), "best/ours", "goal", ""]
    rows = []
    for cell in result.cells:
        ours = cell.multiples[OURS]
        row = [cell.title, cell.chunking, f"{cell.seconds[LIMIT] / cell.events * 1e9:,.0f}"]
        for name in _HEADINGS:
            if name in cell.unfinished:
                row.append("never")
            elif name not in cell.multiples:
                row.append("")
            else:
                mark = "!" if name in cell.wrong else ""
                row.append(f"{mark}{cell.multiples[name]:.2f}")
        lead = cell.lead()
        row.append("" if lead is None else f"{lead:.2f}")
        row.append("" if cell.goal is None else f"{cell.goal:g}")
        row.append("" if cell.goal is None else _met(ours <= cell.goal))
        rows.append(row)
    parts = [
        "Parsing: multiples of the limit (decode and split each chunk), less is better; limit in "
        "ns an event;\n! gives wrong events; never: not in time; best: of the peers that are right",
        table(heading, rows),
    ]
    exponents = [each[OURS] for each in result.exponents.values()]
    if exponents:
        parts.append(
            f"Growth of a long line: exponent {max(exponents):.2f} at most, "
            f"goal {GREATEST_EXPONENT}: {_met(max(exponents) <= GREATEST_EXPONENT)}"
        )
    speed = result.speed()
    if speed is not None:
        parts.append(
            f"Speed, geometric mean, launchdarkly-eventsource's as 1: {speed:.2f}, "
            f"goal {LEAST_SPEED}: {_met(speed >= LEAST_SPEED)}"
        )
    slower = [f"{cell.title} ({cell.chunking})" for cell in result.slower_than_a_peer()]
    parts.append(f"Cells in which a peer is faster: {len(slower)} of {len(result.cells)}")
    return "\n".join(parts)


def _met(is_met: bool) -> str:  # noqa: FBT001  # the verdict itself
    return "met" if is_met else "not met"
