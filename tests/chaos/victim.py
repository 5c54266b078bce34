"""A client in its own process, to be killed, which records each event that it processes.

``python victim.py CONFIG``: CONFIG contains the ``url`` and the paths of the ``cursor`` and the
``ledger``. The number of each event is appended to the ledger as soon as the event has been
processed, and then reported on standard output. The process ends with the stream.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from follower import MAX_RECONNECTION_TIME, READ_TIMEOUT, RECONNECTION_TIME
from names import Names, bypassing_proxies

from sse_client import SSE, FileCursor, HttpClient


def report(**facts: object) -> None:
    print(json.dumps({**facts, "at": time.monotonic()}), flush=True)


def end_with_parent() -> None:
    """Exit as soon as no process holds the other end of standard input."""
    sys.stdin.read()
    os._exit(1)


def main(config: dict[str, str]) -> None:
    """Follow the stream from the cursor's position to its end."""
    ledger = os.open(config["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with bypassing_proxies(), Names(), HttpClient() as client:
        client.install(
            SSE,
            reconnection_time=RECONNECTION_TIME,
            max_reconnection_time=MAX_RECONNECTION_TIME,
            reconnection_jitter=0.0,
            retry_first_connection=True,
            cursor=FileCursor(config["cursor"]),
            own_thread=bool(os.getpid() % 2),  # a random choice of the two drivers of streams
        )
        report(what="ready")
        with client.sse(config["url"], timeout=(READ_TIMEOUT, READ_TIMEOUT)) as session:
            for event in session.incoming:
                os.write(ledger, f"{event.id}\n".encode())
                report(what="processed", number=int(event.id))
    report(what="ended")


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(sys.argv[1]))
