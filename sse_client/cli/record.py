"""``sse-client record URL FILE``: writes a stream into a file, and goes on where that ends."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sse_client.cli import stream_options, values
from sse_client.cli.output import complain
from sse_client.cli.parser import Parser
from sse_client.cli.recording import Recording
from sse_client.cli.stats import displayed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def run(words: Sequence[str]) -> int:
    """Record a stream until it ends or is no longer wanted."""
    arguments = _parse(words)
    with Recording(arguments.file) as recording:
        begin = recording.last_event_id
        if recording.is_empty:
            begin = arguments.last_event_id or ""
        elif not begin:
            complain(
                "warning: the recording ends without an ID to go on after: events may come again"
            )
        options = {"last_event_id": begin} if begin else {}
        with (
            displayed(wanted=arguments.stats) as display,
            stream_options.followed(arguments, {**options, **display.hooks()}) as session,
        ):
            for event in itertools.islice(session.incoming, arguments.max_events):
                recording.append(event)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="sse-client record",
        usage="sse-client record [option ...] URL FILE",
        description="Write the events of a stream to a file, in the wire format, for sse-client "
        "serve. If the file is there, append to it, and go on behind its last event.",
        epilog="S is in seconds. Exit status: 0 ended, 1 failed, 2 wrong usage, 130 Ctrl-C.",
    )
    parser.add_argument("url", metavar="URL", type=values.url)
    parser.add_argument("file", metavar="FILE", type=values.path)
    stream_options.add_request_options(parser)
    begin = parser.add_argument_group("begin")
    begin.add_argument(
        "--last-event-id", metavar="ID", type=values.event_id, help="of a new recording"
    )
    stream_options.add_session_options(parser)
    parser.add_argument_group("output").add_argument(
        "--stats", action="store_true", help="figures on stderr"
    )
    parser.add_help_option()
    arguments = parser.parse(words)
    stream_options.check(parser, arguments)
    return arguments
