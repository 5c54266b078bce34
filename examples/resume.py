"""Process each event of a stream across restarts and crashes, without missing any.

    python examples/resume.py http://127.0.0.1:8080/events position.json

Without an address it follows its own server, crashes at an event, and starts again.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sse_client import SSE, FileCursor, HttpClient, ServerSentEvent, SSEClientError
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from sse_client.testing import Exchange

LAST = 5


class CrashError(Exception):
    """Simulates a crash, a power cut or kill -9."""


def follow(url: str, position: str = "position.json", broken: str | None = None) -> None:
    """Process the events after the position. Asking for the next event saves the position."""
    with (
        HttpClient().install(SSE, cursor=FileCursor(position)) as client,
        client.sse(url, on_cursor_expired=lambda _: "") as session,
    ):
        for event in session.incoming:
            if event.id == broken:
                raise CrashError(event.id)
            print("processed", event.id, flush=True)


def offer(exchange: Exchange) -> None:
    """Send the events after the client's last one, or 204 if there are none."""
    last_event_id = int(exchange.request.headers.get("Last-Event-ID", "0"))
    if last_event_id == LAST:
        exchange.respond(204)
        return
    exchange.open()
    for number in range(last_event_id + 1, LAST + 1):
        exchange.send_event(ServerSentEvent(f"event {number}", id=str(number), retry=1))
    exchange.end()


def show(url: str, position: str) -> None:
    """Crash at the third event, and start again."""
    with contextlib.suppress(CrashError):
        follow(url, position, broken="3")
    print("crashed at event 3\nafter a restart:", flush=True)
    follow(url, position)


def main() -> None:
    """Follow the given address, or our own server."""
    try:
        if len(sys.argv) > 1:
            follow(*sys.argv[1:])
        else:
            with tempfile.TemporaryDirectory() as folder, SSEServer(offer) as server:
                show(server.url, str(Path(folder) / "position.json"))
    except SSEClientError as error:
        # The stream could not be opened or was lost permanently, or the position could not be read
        # or saved.
        sys.exit(str(error))


if __name__ == "__main__":
    main()
