"""A relay into JetStream in a process of its own, until it is killed: the judge's child.

``python jetstream_process.py CONFIG``: CONFIG holds the ``url``, the ``nats``, the ``stream``, the
``lease_time``, the ``bucket``, and whether writes are ``conditional``. The owner's name is its
first report.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from relay_process import end_with_parent, report

from sse_client import SSE, HttpClient
from sse_client.relay.jetstream import connection, writer
from sse_client.relay.jetstream.relay import JetStreamRelay


def main(config: dict[str, str | float]) -> None:
    """Relay to the end."""
    connection.TIMEOUT = 1.0
    if not config["conditional"]:
        # Under these names JetStream ignores the conditions.
        writer._LAST_SEQUENCE, writer._LAST_MESSAGE_ID = "Ignored", "Ignored-Too"
    with HttpClient() as client:
        client.install(SSE, reconnection_time=0.05, max_reconnection_time=0.2)
        relay = JetStreamRelay(
            client,
            str(config["url"]),
            nats=str(config["nats"]),
            stream=str(config["stream"]),
            lease_time=float(config["lease_time"]),
            bucket=str(config["bucket"]),
        )
        report(what="ready", owner=relay.owner)
        relay.run()
        report(what="ended")


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(sys.argv[1]))
