"""A relay in its own process: ``python relay_process.py CONFIG``, until it is killed.

CONFIG contains ``url``, ``redis``, ``stream`` and ``lease_time``. The first report is the name of
the relay as an owner.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from sse_client import SSE, HttpClient
from sse_client.relay import RedisRelay
from sse_client.relay import connection as connection_module


def report(**facts: object) -> None:
    print(json.dumps({**facts, "at": time.monotonic()}), flush=True)


def end_with_parent() -> None:
    """Exit as soon as no process holds the other end of standard input."""
    sys.stdin.read()
    os._exit(1)


def main(config: dict[str, str | float]) -> None:
    """Relay until the end."""
    connection_module.SOCKET_TIMEOUT = 1.0
    with HttpClient() as client:
        client.install(SSE, reconnection_time=0.05, max_reconnection_time=0.2)
        relay = RedisRelay(
            client,
            str(config["url"]),
            redis=str(config["redis"]),
            stream=str(config["stream"]),
            lease_time=float(config["lease_time"]),
        )
        report(what="ready", owner=relay.owner)
        relay.run()
        report(what="ended")


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(sys.argv[1]))
