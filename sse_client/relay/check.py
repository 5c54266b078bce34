"""Checking whether a relay could work: its streams can be opened, and Redis permits it.

Nothing is written, in Redis or elsewhere.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sse_client import SSEClientError
from sse_client.relay.connection import text_of
from sse_client.relay.failures import describe
from sse_client.relay.options import key_of
from sse_client.relay.scripts import CHECK, CHECK_POOL
from sse_client.relay.source import StreamSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sse_client import HttpClient
    from sse_client.relay.config import RelayedStream
    from sse_client.relay.connection import RedisServer

#: How many streams are checked at the same time.
_AT_ONCE = 16

#: How long a server may take to accept a connection, and to respond, in seconds.
_TIMEOUT = 10.0


def check_streams(
    client: HttpClient, server: RedisServer, streams: Sequence[RelayedStream]
) -> Iterator[tuple[RelayedStream, list[str]]]:
    """Check each stream and the rights in Redis; yield the problems of each, in order.

    Blocks for the servers and for Redis.
    """
    with ThreadPoolExecutor(_AT_ONCE, "sse-client:check") as executor:
        found = executor.map(lambda each: _check(client, server, each), streams)
        yield from zip(streams, found, strict=True)


def check_pool(server: RedisServer, pool: str) -> list[str]:
    """Return the problems of the key of a pool of workers. Blocks for Redis."""
    try:
        return [
            text_of(each)
            for each in server.execute("EVAL", CHECK_POOL.text, 1, key_of(pool, "workers"))
        ]
    except server.failures as error:
        return [f"Redis: {describe(error)}"]


def _check(client: HttpClient, server: RedisServer, stream: RelayedStream) -> list[str]:
    source = StreamSource(client, stream.url, stream.arguments())
    problems: list[str] = []
    keys = [stream.stream, *(key_of(stream.stream, what) for what in ("lease", "state", "status"))]
    try:
        problems += map(text_of, server.execute("EVAL", CHECK.text, len(keys), *keys))
        before = server.execute("HMGET", keys[2], "source")[0]
    except server.failures as error:
        problems.append(f"Redis: {describe(error)}")
    else:
        if before and text_of(before) != source.identity:
            problems.append(
                f"it was relayed from another address before: {text_of(before).partition(' ')[0]}"
            )
    return problems + check_source(client, stream)


def check_source(client: HttpClient, stream: RelayedStream) -> list[str]:
    """Return why the event stream can't be opened, if it can't. Blocks for its server."""
    try:
        client.sse(
            stream.url,
            headers=dict(stream.headers),
            timeout=_TIMEOUT,
            reconnect="never",
            max_reconnection_attempts=0,
            retry_first_connection=False,
            cursor=None,
        ).close()
    except SSEClientError as error:
        return [describe(error)]
    return []
