"""A consumer in its own process: ``python consumer_process.py CONFIG``, until it is killed.

CONFIG contains ``redis``, ``stream``, ``group`` and the path of a ``ledger``, to which the number
of each event is appended as soon as the event has been processed.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from relay_process import end_with_parent, report

from sse_client.relay import connection as connection_module
from sse_client.relay import incoming_from_redis


def main(config: dict[str, str]) -> None:
    """Process all events."""
    connection_module.SOCKET_TIMEOUT = 1.5
    ledger = os.open(config["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    report(what="ready")
    with incoming_from_redis(
        config["redis"], config["stream"], group=config["group"], claim_after=2.0, count=20
    ) as incoming:
        for event in incoming:
            os.write(ledger, f"{event.id}\n".encode())


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(sys.argv[1]))
