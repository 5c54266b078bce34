"""The ``sse-client`` command: follows a stream in a terminal, or shows what a stream goes through.

A command takes the words behind its name and returns the exit status; ``_COMMANDS`` lists them by
name. What does not begin with such a name is a stream to follow.

Only the main thread prints. Nothing that was typed is repeated on standard error: header values,
user info and queries are secrets.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sse_client import (
    SSE,
    ChannelClosed,
    HttpClient,
    ServerSentEvent,
    SSEClientError,
    SSESession,
    __version__,
)
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sse_client.testing import Exchange

_ENDED = 0
_FAILED = 1
_INTERRUPTED = 130  # what a shell makes of a command that SIGINT has ended

# RFC 9110, section 5: a name is a token, and no value holds these.
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\0\r\n]")

#: How far the demo counts, over how many events a connection holds, and how slowly, in seconds.
_DEMO_EVENTS = 12
_DEMO_EVENTS_PER_CONNECTION = 4
_DEMO_PACE = 0.1
_DEMO_RECONNECTION_TIME = 0.4
_DEMO_NOTE = "note"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``sse-client`` command. Blocks until it is done; for the main thread.

    Standard output is UTF-8 from then on, whatever the locale.

    Args:
        argv: The words behind the command's name; those of the process by default.

    Returns:
        The exit status: 0 for a stream that has ended, enough events, or a reader that has gone; 1
        for a failure, told in one line on standard error; 130 for Ctrl-C.

    Raises:
        SystemExit: With 2 for wrong usage, with 0 after ``--help`` and ``--version``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    command = _COMMANDS.get(words[0]) if words else None
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        return _follow(words) if command is None else command(words[1:])
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _ENDED
    except (SSEClientError, OSError, ValueError) as error:
        # Parts of the message may be the server's: no line break, and nothing else for a terminal.
        text = "".join(character if character.isprintable() else " " for character in str(error))
        print("sse-client:", " ".join(text.split()), file=sys.stderr)
        return _FAILED


def _print(line: str) -> None:
    """Print a line that is seen at once."""
    try:
        print(line, flush=True)
    except OSError:
        # What could not be written is still buffered, and would fail once more at exit.
        with Path(os.devnull).open("wb") as devnull:
            os.dup2(devnull.fileno(), sys.stdout.fileno())
        raise


class _Parser(argparse.ArgumentParser):
    """A parser whose errors do not repeat what was typed."""

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all the words, or exit with the usage."""
        arguments, unknown = self.parse_known_args(words)
        if unknown:
            options = [word.partition("=")[0] for word in unknown]
            shown = [option for option in options if re.fullmatch("-[A-Za-z]|--[a-z-]+", option)]
            self.error(f"unknown option {shown[0]}" if shown else "too many arguments")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and a message, without the words that argparse quotes in it."""
        super().error(re.split(r":? ['\"]", message)[0])


# Following a stream.


def _follow_parser() -> _Parser:
    parser = _Parser(
        prog="sse-client",
        usage="sse-client [option ...] URL\n       sse-client demo",
        description="Follow a stream of Server-Sent Events and print the data of each event, "
        "one event a line. A line feed within the data is printed as the two characters \\n; "
        "--json is exact. Whenever the connection is lost, it is opened again, and the stream "
        "goes on behind the last event.",
        epilog="sse-client demo shows that with a server of its own. Exit status: 0 the stream "
        "has ended, 1 it failed, 2 wrong usage, 130 Ctrl-C.",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=34),
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", type=_url, help="where the stream is")
    parser.add_argument(
        "--json", action="store_true", help="print an object a line: id, event, data"
    )
    parser.add_argument(
        "-H",
        "--header",
        metavar="FIELD",
        type=_field,
        action="append",
        default=[],
        help="send 'Name: value', too; repeatable",
    )
    parser.add_argument(
        "--last-event-id", metavar="ID", type=_event_id, help="begin behind this event"
    )
    parser.add_argument(
        "--max-events", metavar="N", type=_at_least(1), help="end after so many events"
    )
    parser.add_argument(
        "--max-reconnection-attempts",
        metavar="N",
        type=_at_least(0),
        help="give up after so many in a row",
    )
    parser.add_argument("--version", action="version", version=f"sse-client {__version__}")
    return parser


def _url(text: str) -> str:
    if not re.match("https?://[^/?#]", text, re.IGNORECASE):
        commands = ", ".join(_COMMANDS)
        raise argparse.ArgumentTypeError(
            f"must begin with http:// or https:// (or be a command: {commands})"
        )
    return text


def _field(text: str) -> tuple[str, bytes]:
    name, colon, value = text.partition(":")
    if not (colon and _FIELD_NAME.fullmatch(name)) or _NOT_IN_VALUES.search(value):
        raise argparse.ArgumentTypeError("must have the form Name: value")
    return name, os.fsencode(value.strip(" \t"))  # the very bytes that were typed


def _event_id(text: str) -> str:
    if _NOT_IN_VALUES.search(text):
        raise argparse.ArgumentTypeError("must be a single line")
    return text


def _at_least(least: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not re.fullmatch("[0-9]{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}")
        return int(text)

    return convert


def _follow(words: Sequence[str]) -> int:
    arguments = _follow_parser().parse(words)
    headers = _join(arguments.header)
    options = {"max_reconnection_attempts": arguments.max_reconnection_attempts}
    if arguments.last_event_id is not None:
        options["last_event_id"] = arguments.last_event_id
    line = _json_line if arguments.json else _data_line
    with (
        HttpClient().install(SSE) as client,
        client.sse(arguments.url, headers=headers, **options) as session,
    ):
        for event in itertools.islice(session.incoming, arguments.max_events):
            _print(line(event))
    return _ENDED


def _join(fields: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Make one header of those with the same name (RFC 9110, section 5.3)."""
    names: dict[str, str] = {}
    headers: dict[str, bytes] = {}
    for given, value in fields:
        name = names.setdefault(given.lower(), given)
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _data_line(event: ServerSentEvent) -> str:
    return event.data.replace("\n", "\\n")


def _json_line(event: ServerSentEvent) -> str:
    shown = {"id": event.id, "event": event.event, "data": event.data}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


# The demo.


def _demo(words: Sequence[str]) -> int:
    """Follow a server of our own over two breaks, and check what arrived."""
    _Parser(
        prog="sse-client demo",
        description="Start a server that counts and breaks the connection twice, follow it, "
        "and check that no event was lost or came twice.",
    ).parse(words)
    numbers: list[int] = []
    with SSEServer(_count) as server, HttpClient().install(SSE) as client:

        def tell(session: SSESession, text: str) -> None:
            # On the reader thread. Through the channel it is printed where it belongs.
            with contextlib.suppress(ChannelClosed):
                session.incoming.put(ServerSentEvent(text, event=_DEMO_NOTE))

        def tell_open(session: SSESession) -> None:
            after = server.requests[-1].headers.get("Last-Event-ID")
            tell(session, f"reconnected with Last-Event-ID: {after}" if after else "connected")

        def tell_loss(session: SSESession, _error: Exception | None, delay: float | None) -> None:
            again = "giving up" if delay is None else f"reconnecting in {delay:g} s"
            tell(session, f"connection lost behind event {session.last_event_id}; {again}")

        _print(f"The server at {server.url} counts to {_DEMO_EVENTS}.")
        _print("Twice it breaks the connection, in the middle of an event.\n")
        with client.sse(
            server.url,
            proxies={"no_proxy": server.host},
            reconnect="on_error",
            reconnection_time=_DEMO_RECONNECTION_TIME,
            reconnection_jitter=0.0,
            on_open=tell_open,
            on_disconnect=tell_loss,
        ) as session:
            for event in session.incoming:
                if event.event == _DEMO_NOTE:
                    _print(event.data)
                else:
                    _print(f"  event {event.data}")
                    numbers.append(int(event.data))
    _print("the stream has ended\n")
    return _check(numbers)


def _count(exchange: Exchange) -> None:
    """Send numbered events from the Last-Event-ID on, and break off in the middle of one."""
    first = int(exchange.request.headers.get("Last-Event-ID", "0")) + 1
    last = min(first + _DEMO_EVENTS_PER_CONNECTION - 1, _DEMO_EVENTS)
    for number in range(first, last + 1):
        exchange.send(str(number), id=str(number))
        exchange.wait_closed(_DEMO_PACE)
    if last < _DEMO_EVENTS:
        exchange.write(f"id: {last + 1}\ndata: {last + 1}".encode())
        exchange.wait_closed(_DEMO_PACE)
        break_off = exchange.reset if first == 1 else exchange.drop
        break_off()


def _check(numbers: Sequence[int]) -> int:
    """Tell whether each number came once, and in order."""
    expected = list(range(1, _DEMO_EVENTS + 1))
    if numbers == expected:
        _print(f"All {len(expected)} events arrived, each once: nothing lost, nothing doubled.")
        return _ENDED
    lost = [number for number in expected if number not in numbers]
    doubled = [number for number in expected if numbers.count(number) > 1]
    _print(f"Something went wrong. Lost: {lost}. Doubled: {doubled}. Arrived: {list(numbers)}.")
    return _FAILED


def _relay(words: Sequence[str]) -> int:
    """Run the relay, which nobody else has to wait for."""
    from sse_client.relay.command import run  # noqa: PLC0415  # only if it is wanted

    return run(words)


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"demo": _demo, "relay": _relay}
