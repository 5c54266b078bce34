"""Follow several streams in one loop.

    python examples/merged.py http://127.0.0.1:8080/one http://127.0.0.1:8080/two

Without addresses it follows three streams of its own server, one of which breaks off.
"""

from __future__ import annotations

import sys

from sse_client import SSE, HttpClient, SessionFailedError, merge
from sse_client.testing import SSEServer


def follow(urls: list[str]) -> None:
    """Print the events of all streams as they arrive. A failed stream does not stop the others."""
    with HttpClient().install(SSE, reconnect="never") as client:
        names = {client.sse(url): url.rpartition("/")[2] for url in urls}
        with merge(names) as merged:
            while True:
                try:
                    session, event = next(merged)
                except StopIteration:
                    break
                except SessionFailedError as failure:
                    print(f"failed: {type(failure.error).__name__}")
                else:
                    print(f"{names[session]}: {event.data}")


def main() -> None:
    """Follow the given addresses, or our own server."""
    if len(sys.argv) > 1:
        follow(sys.argv[1:])
        return
    with SSEServer() as server:
        server.serve(["1", "2"])
        server.serve(["3", "4"], then="drop")
        server.serve(["5", "6"])
        follow([server.url_for(name) for name in ("/one", "/two", "/three")])


if __name__ == "__main__":
    main()
