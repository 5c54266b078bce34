"""Follow a stream in a script that has its own loop and other work.

    python examples/own_loop.py http://127.0.0.1:8080/events

Without an address it follows its own server, which pauses between events.
"""

from __future__ import annotations

import queue
import sys
from typing import TYPE_CHECKING

from sse_client import SSE, ChannelClosed, HttpClient, SSEClientError
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from sse_client.testing import Exchange


def work(url: str) -> None:
    """Handle events when there are some, and do other work when there are none."""
    with HttpClient().install(SSE, reconnect="on_error") as client, client.sse(url) as session:
        while True:
            try:
                event = session.incoming.get(timeout=0.1)
            except queue.Empty:
                print("no event:", session.state.name, flush=True)  # time for other work
            except ChannelClosed:
                print("the stream has ended")
                break
            else:
                print("event:", event.data, flush=True)


def pause_between(exchange: Exchange) -> None:
    """Send three events, with pauses."""
    for data in ("one", "two", "three"):
        exchange.send(data)
        exchange.wait_closed(timeout=0.3)


def main() -> None:
    """Follow the given address, or our own server."""
    try:
        if len(sys.argv) > 1:
            work(sys.argv[1])
        else:
            with SSEServer(pause_between) as server:
                work(server.url)
    except SSEClientError as error:
        # The stream could not be opened, or was lost permanently and get() raised the error.
        sys.exit(f"the stream is lost: {error}")


if __name__ == "__main__":
    main()
