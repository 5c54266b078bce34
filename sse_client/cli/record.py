"""``sse-client record URL FILE``: writes a stream to a file, and continues at its end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sse_client.cli import output_options, request_options, session_options, values
from sse_client.cli.opening import opener
from sse_client.cli.output import complain
from sse_client.cli.parser import Parser
from sse_client.cli.recording import Recording
from sse_client.cli.signals import ended_by_sigterm
from sse_client.cli.stats import displayed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_USUAL = (
    *("-X", "-H", "-d", "-u", "--last-event-id", "--retry-first", "--max-events", "--max-time"),
    *("--end-of-stream", "-v", "--stats", "--help"),
)


def run(words: Sequence[str]) -> int:
    """Record a stream until it ends or a limit is reached."""
    arguments = _parse(words)
    with ended_by_sigterm(), Recording(arguments.file) as recording:
        begin = recording.last_event_id
        if recording.is_empty:
            begin = arguments.last_event_id or ""
        elif not begin:
            complain(
                "warning: the recording ends without an ID to continue after; "
                "events may be repeated"
            )
        options = {"last_event_id": begin} if begin else {}
        with (
            displayed(wanted=arguments.stats) as display,
            opener(arguments) as opened,
            opened.followed(arguments.url, options, display.hooks()) as session,
        ):
            for event in itertools.islice(session.incoming, arguments.max_events):
                recording.append(event)
    return 0


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser(
        prog="sse-client record",
        usage="sse-client record [option ...] URL FILE",
        description="Write the events of a stream to a file, in the wire format, for sse-client "
        "serve. If the file exists, the recording continues after its last event.",
        epilog="S is in seconds. Exit status: 0 ended, 1 failed, 2 wrong usage, 3 no response, "
        "4 refused, 5 cut off, 130 Ctrl-C, 143 SIGTERM.",
        usual=_USUAL,
    )
    made.add_argument("url", metavar="URL", type=values.address)
    made.add_argument("file", metavar="FILE", type=values.path)
    request_options.add_request_options(made)
    begin = made.add_argument_group("begin")
    begin.add_argument(
        "--last-event-id",
        metavar="ID",
        type=values.event_id,
        help="begin a new recording after this event",
    )
    session_options.add_session_options(made)
    output_options.add_report_options(made)
    made.add_help_option()
    return made


def _parse(words: Sequence[str]) -> argparse.Namespace:
    made = parser()
    arguments = made.parse(words)
    request_options.check_request(made, arguments)
    return arguments
