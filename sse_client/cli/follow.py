"""``sse-client URL ...``: follows streams and shows their events."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sse_client import FileCursor, __version__
from sse_client.cli import output_options, request_options, session_options, values
from sse_client.cli.commands import COMMANDS, similar_command
from sse_client.cli.delivery import Delivery
from sse_client.cli.failures import report
from sse_client.cli.names import names_of
from sse_client.cli.opening import opener
from sse_client.cli.output import closed_without_reader
from sse_client.cli.parser import Parser
from sse_client.cli.several import run_each
from sse_client.cli.signals import ended_by_sigterm
from sse_client.cli.stats import displayed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.cli.stats import Display, NoDisplay

_USUAL = (
    *("--json", "--raw", "--format", "--select", "--event", "-v", "--stats", "-H", "-d"),
    *("-u", "--state", "--max-events", "--end-of-stream", "--help"),
)


def run(words: Sequence[str]) -> int:
    """Follow streams until they end or a limit is reached."""
    arguments = parser().parse_checked(words)
    with (
        ended_by_sigterm(),
        output_options.output_of(arguments),
        displayed(wanted=arguments.stats) as display,
    ):
        return _follow(arguments, display)


def _follow(arguments: argparse.Namespace, display: Display | NoDisplay) -> int:
    with opener(arguments) as opened, closed_without_reader(opened.close):
        delivery = Delivery(
            arguments, output_options.look_of(arguments), display.paused, opened.close
        )

        def follow_one(url: str, name: str) -> None:
            deliver = delivery.stream(name)
            with opened.followed(url, _options(arguments), display.hooks(), name) as session:
                for event in session.incoming:
                    is_enough = deliver(event)
                    # Only after the event was written and flushed may the position pass it.
                    session.acknowledge(event)
                    if is_enough:
                        break

        if len(arguments.url) == 1:
            follow_one(arguments.url[0], "")
            return 0
        names = names_of(arguments.url)
        return run_each(follow_one, list(zip(arguments.url, names, strict=True)), opened, report)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {
        "show_comment_events": arguments.filter_comments == "off",
        "auto_acknowledge": False,
        "cursor": FileCursor(arguments.state) if arguments.state else None,
    }
    if arguments.last_event_id is not None:
        options["last_event_id"] = arguments.last_event_id
    return options


class FollowParser(Parser):
    """The parser of this command."""

    def parse_checked(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the words, and refuse options that exclude each other."""
        arguments = self.parse(words)
        request_options.check_request(self, arguments)
        output_options.check_output(self, arguments)
        if len(arguments.url) > 1:
            for option in ("raw", "stats", "state", "last_event_id"):
                if getattr(arguments, option):
                    self.error(f"--{option.replace('_', '-')} is for a single stream")
        return arguments


def parser() -> FollowParser:
    """Return the parser of this command."""
    made = FollowParser(
        prog="sse-client",
        usage="sse-client [option ...] URL ...\n       sse-client COMMAND [option ...]",
        description="Follow streams of Server-Sent Events, and print the data of each event on "
        "one line. A lost connection is reopened, and the stream continues after the last "
        f"event. Commands: {', '.join(COMMANDS)}.",
        epilog="S is in seconds. Exit status: 0 ended, 1 failed, 2 wrong usage, 3 no response, "
        "4 refused, 5 cut off, 130 Ctrl-C, 143 SIGTERM.",
        usual=_USUAL,
    )
    made.add_argument("url", metavar="URL", type=_url, nargs="+")
    output_options.add_output_options(made)
    output_options.add_report_options(made)
    request_options.add_request_options(made)
    begin = made.add_argument_group("begin")
    begin.add_argument(
        "--last-event-id", metavar="ID", type=values.event_id, help="begin after this event"
    )
    begin.add_argument(
        "--state",
        metavar="FILE",
        type=values.path,
        help="keep the position here, to continue the next time",
    )
    session_options.add_session_options(made)
    made.add_help_option().add_argument(
        "--version", action="version", version=f"sse-client {__version__}", help="show the version"
    )
    return made


def _url(text: str) -> str:
    try:
        return values.address(text)
    except argparse.ArgumentTypeError as error:
        similar = similar_command(text)
        hint = f"did you mean the command {similar}?" if similar else None
        listed = hint or f"or be a command: {', '.join(COMMANDS)}"
        raise argparse.ArgumentTypeError(f"{error} ({listed})") from None
