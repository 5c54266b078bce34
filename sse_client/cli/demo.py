"""``sse-client demo``: shows how a stream continues after broken connections."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sse_client import SSE, ChannelClosed, HttpClient, ServerSentEvent, SSESession
from sse_client.cli import values
from sse_client.cli.demo_server import serve
from sse_client.cli.output import show
from sse_client.cli.parser import Parser
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sse_client.testing import Exchange

#: The number of events, the number per connection, and the seconds between two events.
_EVENTS = 12
_EVENTS_PER_CONNECTION = 4
_PACE = 0.1
_RECONNECTION_TIME = 0.4
_NOTE = "note"

#: The port that the examples of the documentation use.
_PORT = 8080
_LARGEST_PORT = 65535


def run(words: Sequence[str]) -> int:
    """Follow a server over two broken connections and check the events, or only serve."""
    arguments = _parse(words)
    if arguments.serve:
        return serve(arguments.port)
    numbers: list[int] = []
    with SSEServer(_count) as server, HttpClient().install(SSE) as client:

        def note(session: SSESession, text: str) -> None:
            # This runs on the reader thread. The channel keeps the order of the output.
            with contextlib.suppress(ChannelClosed):
                session.incoming.put(ServerSentEvent(text, event=_NOTE))

        def note_open(session: SSESession) -> None:
            after = server.requests[-1].headers.get("Last-Event-ID")
            note(session, f"reconnected with Last-Event-ID: {after}" if after else "connected")

        def note_loss(session: SSESession, _error: Exception | None, delay: float | None) -> None:
            again = "giving up" if delay is None else f"reconnecting in {delay:g} s"
            note(session, f"connection lost after event {session.last_event_id}; {again}")

        _print(f"The server at {server.url} counts to {_EVENTS}.")
        _print("It breaks the connection twice, in the middle of an event.\n")
        with client.sse(
            server.url,
            proxies={"no_proxy": server.host},
            reconnect="on_error",
            reconnection_time=_RECONNECTION_TIME,
            reconnection_jitter=0.0,
            on_open=note_open,
            on_disconnect=note_loss,
        ) as session:
            for event in session.incoming:
                if event.event == _NOTE:
                    _print(event.data)
                else:
                    _print(f"  event {event.data}")
                    numbers.append(int(event.data))
    _print("the stream has ended\n")
    return _check(numbers)


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser(
        prog="sse-client demo",
        usage="sse-client demo\n       sse-client demo --serve [--port N]",
        description="Start a server that sends numbered events and breaks the connection twice, "
        "follow it, and check that no event was lost or repeated. With --serve, keep a server "
        "running that sends numbered events, for trying out clients.",
        epilog="Ctrl-C and SIGTERM end it. Exit status: 0 as expected, 1 failed, 2 wrong usage, "
        "130 Ctrl-C.",
    )
    served = made.add_argument_group("server")
    served.add_argument("--serve", action="store_true", help="keep a server running")
    served.add_argument(
        "--port",
        metavar="N",
        type=values.whole_number(0, _LARGEST_PORT),
        help=f"its port on 127.0.0.1; {_PORT} by default",
    )
    made.add_help_option()
    return made


def _parse(words: Sequence[str]) -> argparse.Namespace:
    made = parser()
    arguments = made.parse(words)
    if arguments.port is None:
        arguments.port = _PORT
    elif not arguments.serve:
        made.error("--port requires --serve")
    return arguments


def _count(exchange: Exchange) -> None:
    """Send numbered events after the Last-Event-ID, and break off in the middle of one."""
    first = int(exchange.request.headers.get("Last-Event-ID", "0")) + 1
    last = min(first + _EVENTS_PER_CONNECTION - 1, _EVENTS)
    for number in range(first, last + 1):
        exchange.send(str(number), id=str(number))
        exchange.wait_closed(_PACE)
    if last < _EVENTS:
        exchange.write(f"id: {last + 1}\ndata: {last + 1}".encode())
        exchange.wait_closed(_PACE)
        break_off = exchange.reset if first == 1 else exchange.drop
        break_off()


def _check(numbers: Sequence[int]) -> int:
    """Report whether each number arrived once and in order."""
    expected = list(range(1, _EVENTS + 1))
    if numbers == expected:
        _print(f"All {len(expected)} events arrived, each once: nothing lost, nothing repeated.")
        return 0
    lost = [number for number in expected if number not in numbers]
    doubled = [number for number in expected if numbers.count(number) > 1]
    _print(f"Something went wrong. Lost: {lost}. Repeated: {doubled}. Arrived: {list(numbers)}.")
    return 1


def _print(line: str) -> None:
    show(f"{line}\n")
