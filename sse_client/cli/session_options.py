"""The options for following a stream, and the session options that they result in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sse_client.cli import values

if TYPE_CHECKING:
    import argparse

    from sse_client.cli.parser import Parser


def add_session_options(parser: Parser) -> None:
    """Add the options for reconnecting and for the end of the stream."""
    again = parser.add_argument_group("reconnecting")
    again.add_argument(
        "--event-timeout",
        metavar="S",
        type=values.above_zero,
        help="a connection without an event for S seconds counts as lost",
    )
    again.add_argument(
        "--reconnect",
        metavar="always|on_error|never",
        type=values.one_of("always", "on_error", "never"),
        help="when to reconnect; a proxy can make a broken stream look like an ended one",
    )
    again.add_argument(
        "--retry-first",
        action="store_true",
        help="also try again if the first connection fails",
    )
    again.add_argument(
        "--max-reconnection-attempts",
        metavar="N",
        type=values.whole_number(0),
        help="give up after N failed attempts in a row",
    )
    end = parser.add_argument_group("end")
    end.add_argument(
        "--max-events", metavar="N", type=values.whole_number(1), help="end after N events"
    )
    end.add_argument(
        "-m", "--max-time", metavar="S", type=values.above_zero, help="end after S seconds"
    )
    end.add_argument(
        "--end-of-stream", metavar="TEXT", help="end at the event with this data, such as '[DONE]'"
    )
    end.add_argument(
        "--max-event-size",
        metavar="BYTES",
        type=values.size,
        help="fail at a larger event; 16M by default",
    )


def session_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ``SSEConfig``."""
    options = {
        "event_timeout": arguments.event_timeout,
        "reconnect": arguments.reconnect,
        "retry_first_connection": arguments.retry_first,
        "max_reconnection_attempts": arguments.max_reconnection_attempts,
        "end_of_stream": arguments.end_of_stream,
    }
    if arguments.max_event_size is not None:
        options["max_event_size"] = arguments.max_event_size
    return options
