"""``sse-client relay --dead-letters``: entries that no consumer could process."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from sse_client import SSEClientError
from sse_client.cli.output import complain, show
from sse_client.relay.dead_letters import Requeued, list_letters, requeue
from sse_client.relay.failures import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.relay.connection import RedisServer

#: The word for all letters.
ALL = "all"

_FAILED = 1

_REASONS = {
    Requeued.UNKNOWN: "there is no such dead letter",
    Requeued.NO_GROUP: "its consumer group is gone, or unknown",
    Requeued.TRIMMED: "its entry was trimmed from the stream",
}


def show_letters(server: RedisServer, stream: str) -> int:
    """Print the dead letters of a stream, one JSON object per line. Blocks for Redis.

    Returns:
        The exit status.

    Raises:
        SSEClientError: Redis does not reply, or refuses.
    """
    try:
        letters = list_letters(server, stream)
    except server.failures as error:
        raise SSEClientError(f"reading from Redis failed: {describe(error)}") from error
    for letter in letters:
        show(json.dumps(dataclasses.asdict(letter)) + "\n")
    return 0


def requeue_letters(server: RedisServer, stream: str, ids: Sequence[str]) -> int:
    """Put dead letters back into their groups, and print the ID of each. Blocks for Redis.

    Args:
        server: The Redis.
        stream: The key of the Redis Stream.
        ids: The IDs of the letters, or ``all``.

    Returns:
        0, or 1 if one could not be put back.

    Raises:
        SSEClientError: Redis does not reply, or refuses.
    """
    status = 0
    try:
        if ALL in ids:
            ids = [letter.id for letter in list_letters(server, stream)]
        for id in ids:
            found = requeue(server, stream, id)
            if found is Requeued.REQUEUED:
                show(f"{id}\n")
            else:
                complain(f"dead letter {id!r} is kept: {_REASONS[found]}")
                status = _FAILED
    except server.failures as error:
        raise SSEClientError(f"reading from Redis failed: {describe(error)}") from error
    return status
