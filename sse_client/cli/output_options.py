"""The options that select what is shown of a stream, where, and how."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from sse_client.cli import json_text, templates, values
from sse_client.cli.formats import Look
from sse_client.cli.terminal import has_colours, is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sse_client.cli.parser import Parser


def add_output_options(parser: Parser) -> None:
    """Add the options for the output of events."""
    output = parser.add_argument_group("output")
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per line")
    form.add_argument("--raw", action="store_true", help="the wire format, exactly")
    form.add_argument("--data-only", action="store_true", help="the data with its line feeds")
    form.add_argument(
        "--format",
        metavar="TEXT",
        type=_valued(templates.template),
        help="a text such as '{time} {event}: {data}'",
    )
    form.add_argument(
        "--exec",
        metavar="COMMAND",
        type=values.program,
        help="run this for each event, with the data as its input",
    )
    output.add_argument(
        "--select",
        metavar="PATH",
        type=_valued(json_text.selector),
        help="a value of JSON data, such as choices[0].text",
    )
    output.add_argument(
        "--event",
        metavar="NAME",
        action="append",
        default=[],
        help="show only events of this type; repeatable",
    )
    output.add_argument("--timestamps", action="store_true", help="show when each event arrived")
    output.add_argument(
        "--filter-comments",
        metavar="on|off",
        type=values.one_of("on", "off"),
        help="off shows comments",
    )
    output.add_argument(
        "--color",
        metavar="always|never",
        type=values.one_of("always", "never"),
        help="use colours or not; by default on a terminal",
    )
    output.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=values.path,
        help="write to this file; with --state, append to it",
    )


def add_report_options(parser: Parser) -> None:
    """Add the options for standard error."""
    shown = parser.add_argument_group("on standard error")
    shown.add_argument(
        "-v", "--verbose", action="store_true", help="show headers, losses and reconnections"
    )
    shown.add_argument("--stats", action="store_true", help="show figures")


def check_output(parser: Parser, arguments: argparse.Namespace) -> None:
    """Refuse, as wrong usage, options that exclude each other."""
    if arguments.data_only and arguments.filter_comments == "off":
        parser.error("--data-only shows no comments: it excludes --filter-comments off")
    for is_given, option in (
        (arguments.select, "--select"),
        (arguments.timestamps, "--timestamps"),
        (arguments.color, "--color"),
    ):
        if arguments.raw and is_given:
            parser.error(f"--raw shows only the wire format: it excludes {option}")
        if arguments.exec and is_given and option != "--select":
            parser.error(f"--exec prints nothing: it excludes {option}")


def look_of(arguments: argparse.Namespace) -> Look:
    """Return how events are shown on the current standard output."""
    forms = {
        "raw": arguments.raw,
        "json": arguments.json,
        "data_only": arguments.data_only,
        "template": arguments.format,
    }
    form = next((name for name, is_chosen in forms.items() if is_chosen), "lines")
    shows_terminal = is_terminal(sys.stdout)
    return Look(
        form=form,
        has_comments=arguments.filter_comments == "off"
        or (form in {"raw", "template"} and arguments.filter_comments is None),
        has_time=arguments.timestamps,
        is_terminal=shows_terminal,
        has_colours=has_colours(sys.stdout, arguments.color),
        select=arguments.select,
        template=arguments.format,
    )


@contextlib.contextmanager
def output_of(arguments: argparse.Namespace) -> Iterator[None]:
    """Redirect standard output to the file of ``--output``, if any, within the block."""
    if not arguments.output:
        yield
        return
    # With a saved position, the file has the events before it, from the last run.
    mode = "a" if arguments.state else "w"
    with (
        open(arguments.output, mode, encoding="utf-8", newline="") as file,  # noqa: PTH123  # as typed
        contextlib.redirect_stdout(file),
    ):
        yield


def _valued(make: Callable[[str], object]) -> Callable[[str], object]:
    """Turn a function that raises ValueError with a reason into the type of an option."""

    def convert(text: str) -> object:
        try:
            return make(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert
