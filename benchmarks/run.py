"""Run the benchmarks: ``make bench``, or ``python benchmarks/run.py --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import live
import open_streams
import parsing
import whole_way
from report import Report

SECTIONS = ("parsing", "whole-way", "latency", "streams", "live")


def main() -> None:
    """Measure the requested sections, print the tables, and write the file."""
    options = _options()
    wanted = options.only or SECTIONS
    report = Report()
    print(report.heading(), flush=True)
    if "parsing" in wanted:
        report.parsing = parsing.measure(quick=options.quick, tell=_tell)
    if "whole-way" in wanted:
        report.whole_way = whole_way.measure_backlogs(quick=options.quick, tell=_tell)
    if "latency" in wanted:
        report.latency = whole_way.measure_latency(quick=options.quick, tell=_tell)
    if "streams" in wanted:
        report.streams = open_streams.measure(quick=options.quick, tell=_tell)
    if "live" in wanted and sys.platform == "linux":
        report.live = live.measure(quick=options.quick, tell=_tell)
    _tell("")
    print(report.tables())
    if options.json is not None:
        options.json.write_text(report.json() + "\n", encoding="utf-8")


def _tell(text: str) -> None:
    """Show the current step, on a line that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure sse_client against other clients.")
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="only this section; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="a first look, in about two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
