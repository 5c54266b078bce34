"""``sse-client demo``: shows what a stream goes through, with a server of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sse_client import SSE, ChannelClosed, HttpClient, ServerSentEvent, SSESession
from sse_client.cli.output import show
from sse_client.cli.parser import Parser
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.testing import Exchange

#: How far the demo counts, over how many events a connection holds, and how slowly, in seconds.
_EVENTS = 12
_EVENTS_PER_CONNECTION = 4
_PACE = 0.1
_RECONNECTION_TIME = 0.4
_NOTE = "note"


def run(words: Sequence[str]) -> int:
    """Follow a server of our own over two breaks, and check what arrived."""
    parser = Parser(
        prog="sse-client demo",
        usage="sse-client demo",
        description="Start a server that counts and breaks the connection twice, follow it, "
        "and check that no event was lost or came twice.",
    )
    parser.add_help_option()
    parser.parse(words)
    numbers: list[int] = []
    with SSEServer(_count) as server, HttpClient().install(SSE) as client:

        def tell(session: SSESession, text: str) -> None:
            # On the reader thread. Through the channel it is printed where it belongs.
            with contextlib.suppress(ChannelClosed):
                session.incoming.put(ServerSentEvent(text, event=_NOTE))

        def tell_open(session: SSESession) -> None:
            after = server.requests[-1].headers.get("Last-Event-ID")
            tell(session, f"reconnected with Last-Event-ID: {after}" if after else "connected")

        def tell_loss(session: SSESession, _error: Exception | None, delay: float | None) -> None:
            again = "giving up" if delay is None else f"reconnecting in {delay:g} s"
            tell(session, f"connection lost behind event {session.last_event_id}; {again}")

        _tell(f"The server at {server.url} counts to {_EVENTS}.")
        _tell("Twice it breaks the connection, in the middle of an event.\n")
        with client.sse(
            server.url,
            proxies={"no_proxy": server.host},
            reconnect="on_error",
            reconnection_time=_RECONNECTION_TIME,
            reconnection_jitter=0.0,
            on_open=tell_open,
            on_disconnect=tell_loss,
        ) as session:
            for event in session.incoming:
                if event.event == _NOTE:
                    _tell(event.data)
                else:
                    _tell(f"  event {event.data}")
                    numbers.append(int(event.data))
    _tell("the stream has ended\n")
    return _check(numbers)


def _count(exchange: Exchange) -> None:
    """Send numbered events from the Last-Event-ID on, and break off in the middle of one."""
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
    """Tell whether each number came once, and in order."""
    expected = list(range(1, _EVENTS + 1))
    if numbers == expected:
        _tell(f"All {len(expected)} events arrived, each once: nothing lost, nothing doubled.")
        return 0
    lost = [number for number in expected if number not in numbers]
    doubled = [number for number in expected if numbers.count(number) > 1]
    _tell(f"Something went wrong. Lost: {lost}. Doubled: {doubled}. Arrived: {list(numbers)}.")
    return 1


def _tell(line: str) -> None:
    show(f"{line}\n")
