"""The server of ``sse-client demo --serve``, which the first examples of the documentation use.

A GET gets an endless stream of numbered events, over connections that break from time to time. A
POST gets a sentence word by word, as from a language model.
"""

from __future__ import annotations

import errno
import json
import threading
from typing import TYPE_CHECKING

from sse_client.cli.cors import ANY, headers_for, options_for
from sse_client.cli.output import show
from sse_client.cli.signals import ended_by_sigterm
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from sse_client.testing import Exchange

#: The seconds between two events and between two words, the number of events per connection, and
#: the reconnection time of clients in milliseconds.
_PACE = 0.5
_WORD_PACE = 0.1
_EVENTS_PER_CONNECTION = 10
_RETRY = 1000

_WORDS = (
    "Server-Sent",
    " Events",
    " are",
    " text",
    " that",
    " a",
    " server",
    " keeps",
    " sending.",
)

#: How often the main thread checks for signals, in seconds. On Windows Ctrl-C interrupts no wait.
_LOOK = 0.5


def serve(port: int) -> int:
    """Serve until a signal ends it. Blocks. Call it on the main thread.

    Args:
        port: The port on 127.0.0.1.

    Raises:
        ValueError: The port is in use.
    """
    server = SSEServer(respond, port=port)
    try:
        server.start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ValueError(f"port {port} is in use; choose another one with --port") from error
    with ended_by_sigterm(0):
        try:
            url = server.url_for("/events")
            show(f"Serving numbered events at {url}, until Ctrl-C. In another terminal:\n")
            show(f"  sse-client {url}\n")
            forever = threading.Event()
            while not forever.wait(_LOOK):
                pass
        finally:
            server.stop()
    return 0


def respond(exchange: Exchange) -> None:
    """Respond to a request."""
    request = exchange.request
    if request.method == "OPTIONS":
        exchange.respond(204, options_for(request, {ANY}))
        return
    exchange.open(headers=headers_for(request, {ANY}))
    if request.method == "POST":
        for word in _WORDS:
            exchange.send(json.dumps({"text": word}))
            exchange.wait_closed(_WORD_PACE)
        exchange.send("[DONE]")
        return
    last_event_id = request.last_event_id or ""
    begin = int(last_event_id) if last_event_id.isdecimal() else 0
    for number in range(begin + 1, begin + 1 + _EVENTS_PER_CONNECTION):
        exchange.send(json.dumps({"number": number}), id=str(number), retry=_RETRY)
        exchange.wait_closed(_PACE)
    # Break in the middle of an event, which the client then gets from the next connection.
    exchange.write(b"data: cut o")
    exchange.drop()
