"""Print the comments and the reconnection times that a server sends between its events.

    python examples/comments.py http://127.0.0.1:8080/events

Without an address it follows its own server.
"""

from __future__ import annotations

import sys

from sse_client import SSE, HttpClient
from sse_client.testing import SSEServer


def follow(url: str) -> None:
    """Print everything. Without the two options there would be only events with data."""
    client = HttpClient()
    client.install(SSE, show_comment_events=True, show_retry_events=True)

    with client, client.sse(url) as session:
        for event in session.incoming:
            if event.data:
                print("data:", event.data)
            if event.comments is not None:
                print("comment:", event.comments)
            if event.retry is not None:
                print("retry:", event.retry, "ms")


def main() -> None:
    """Follow the given address, or our own server."""
    if len(sys.argv) > 1:
        follow(sys.argv[1])
        return
    with SSEServer() as server:
        server.serve([b": hello\n\n", b"retry: 100\n\n", b": and goodbye\ndata: one\n\n"])
        server.respond(204)  # no more events
        follow(server.url_for("/events"))


if __name__ == "__main__":
    main()
