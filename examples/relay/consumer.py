"""A consumer of a relayed stream: ``python consumer.py STREAM GROUP``, with REDIS_URL set."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from sse_client import ChannelClosed
from sse_client.relay import incoming_from_redis

if TYPE_CHECKING:
    from sse_client import ServerSentEvent


def process(batch: list[ServerSentEvent]) -> None:
    """Process a batch. It is acknowledged when the next one is requested."""
    for event in batch:
        print(event.id, event.data)


def main() -> int:
    """Process batches until SIGTERM."""
    stream, group = sys.argv[1:]
    with incoming_from_redis(os.environ["REDIS_URL"], stream, group=group) as incoming:
        signal.signal(signal.SIGTERM, lambda *_: incoming.close())
        try:
            while True:
                process(incoming.get_batch(500))
        except ChannelClosed:
            return 0


if __name__ == "__main__":
    sys.exit(main())
