"""Follow an event stream and print its events.

    python examples/quickstart.py http://127.0.0.1:8080/events

Without an address it follows its own server, which breaks the connection once.
"""

from __future__ import annotations

import sys

from sse_client import SSE, HttpClient, ServerSentEvent
from sse_client.testing import SSEServer


def follow(url: str) -> None:
    """Print each event until the server responds with 204."""
    client = HttpClient()
    client.install(SSE, reconnection_time=2.0)

    with client.sse(url) as session:
        for event in session.incoming:
            print(event.id, event.event, event.data)


def main() -> None:
    """Follow the given address, or our own server."""
    if len(sys.argv) > 1:
        follow(sys.argv[1])
        return
    with SSEServer() as server:
        # "retry" asks the client to wait 100 ms instead of two seconds.
        server.serve(
            [ServerSentEvent("one", id="1", retry=100), ServerSentEvent("two", id="2")],
            then="drop",
        )
        server.serve([ServerSentEvent("three", event="news", id="3")])
        server.respond(204)  # no more events
        follow(server.url_for("/events"))


if __name__ == "__main__":
    main()
