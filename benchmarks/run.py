"""Run the benchmarks: ``make bench``, or ``python benchmarks/run.py --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import parsing
import report

SECTIONS = ("parsing", "whole-way", "latency", "streams")


def main() -> None:
    """Measure what is asked for, print the tables, and write the files."""
    options = _options()
    wanted = options.only or SECTIONS
    results = report.Report()
    print(results.heading())
    if "parsing" in wanted:
        results.add("parsing", parsing.measure(quick=options.quick, tell=_tell))
    _tell("")
    print(results.tables())
    if options.json is not None:
        options.json.write_text(results.json() + "\n", encoding="utf-8")


def _tell(text: str) -> None:
    """Show what is being measured, on a line that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure sse_client against other clients.")
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="this section alone; can be given again"
    )
    parser.add_argument("--quick", action="store_true", help="a first look, in under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
