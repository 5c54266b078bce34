"""``sse-client URL``: follows a stream and prints its events."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sse_client import FileCursor, __version__
from sse_client.cli import stream_options, values
from sse_client.cli.commands import COMMANDS
from sse_client.cli.formats import format_of
from sse_client.cli.output import noticing_that_nobody_reads, show
from sse_client.cli.parser import Parser
from sse_client.cli.stats import displayed
from sse_client.event_stream.events import is_extra

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(words: Sequence[str]) -> int:
    """Follow a stream until it ends or is no longer wanted."""
    arguments = _parse(words)
    shows_comments = arguments.filter_comments == "off"
    has_comments = shows_comments or (arguments.raw and arguments.filter_comments is None)
    write_event = format_of(_format_name(arguments), has_comments=has_comments)
    wanted = frozenset(arguments.event)
    count = 0
    with (
        displayed(wanted=arguments.stats) as display,
        stream_options.followed(arguments, {**_options(arguments), **display.hooks()}) as session,
        noticing_that_nobody_reads(session.close),
    ):
        for event in session.incoming:
            is_aside = is_extra(event, show_comment_events=shows_comments, show_retry_events=False)
            if is_aside or not wanted or event.event in wanted:
                with display.paused():
                    show(write_event(event, is_aside))
                count += not is_aside
            # Only now: what a position has passed was written out and flushed.
            session.acknowledge(event)
            if count == arguments.max_events:
                break
    return 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {
        "show_comment_events": arguments.filter_comments == "off",
        "auto_acknowledge": False,
        "cursor": FileCursor(arguments.state) if arguments.state else None,
    }
    if arguments.last_event_id is not None:
        options["last_event_id"] = arguments.last_event_id
    return options


def _format_name(arguments: argparse.Namespace) -> str:
    chosen = [name for name in ("raw", "json", "data_only") if getattr(arguments, name)]
    return chosen[0] if chosen else "lines"


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="sse-client",
        usage="sse-client [option ...] URL\n"
        f"       sse-client {' | '.join(COMMANDS)}  (each has a --help of its own)",
        description="Follow a stream of Server-Sent Events and print the data of each, one event "
        "a line, with \\n for a line feed in it. When the connection is lost, it is opened again, "
        "and the stream resumes after the last event. A proxy can make a broken stream look like "
        "one that has ended: only --end-of-stream tells them apart.",
        epilog="S is in seconds. Exit status: 0 ended, 1 failed, 2 wrong usage, 130 Ctrl-C.",
    )
    parser.add_argument("url", metavar="URL", type=_url)
    _add_output_options(parser)
    stream_options.add_request_options(parser)
    begin = parser.add_argument_group("begin")
    begin.add_argument("--last-event-id", metavar="ID", type=values.event_id)
    begin.add_argument(
        "--state", metavar="FILE", type=values.path, help="go on where the last run ended"
    )
    stream_options.add_session_options(parser)
    parser.add_help_option().add_argument(
        "--version", action="version", version=f"sse-client {__version__}", help=""
    )
    arguments = parser.parse(words)
    stream_options.check(parser, arguments)
    if arguments.data_only and arguments.filter_comments == "off":
        parser.error("--data-only shows no comments: not with --filter-comments off")
    return arguments


def _add_output_options(parser: Parser) -> None:
    output = parser.add_argument_group("output")
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="an object each")
    form.add_argument("--raw", action="store_true", help="wire format")
    form.add_argument("--data-only", action="store_true", help="not escaped")
    output.add_argument(
        "--event", metavar="NAME", action="append", default=[], help="only these; repeatable"
    )
    output.add_argument("--stats", action="store_true", help="on stderr")
    output.add_argument(
        "--filter-comments",
        metavar="on|off",
        type=values.one_of("on", "off"),
        help="off shows comments",
    )


def _url(text: str) -> str:
    try:
        return values.url(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{error} (or be a command: {', '.join(COMMANDS)})"
        ) from None
