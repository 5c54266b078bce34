"""Relaying event streams into Redis Streams, for more work than one process can do.

``RedisRelay`` relays one stream, exactly once, however many relays run for it. ``RelayWorker``
shares many streams with other workers. ``incoming_from_redis`` reads the relayed events as a member
of a consumer group. ``RedisCursor`` keeps the position of a stream that this process handles
itself. All need the extra ``redis``; its package is imported when the first of them is created.
"""

from __future__ import annotations

from sse_client.relay.config import RelayConfig, RelayedStream, load_config
from sse_client.relay.cursor import RedisCursor
from sse_client.relay.failures import RelayError
from sse_client.relay.incoming import RedisIncoming, incoming_from_redis
from sse_client.relay.progress import RelayState, RelayStatistics
from sse_client.relay.redis_relay import RedisRelay
from sse_client.relay.worker import RelayWorker

__all__ = [
    "RedisCursor",
    "RedisIncoming",
    "RedisRelay",
    "RelayConfig",
    "RelayError",
    "RelayState",
    "RelayStatistics",
    "RelayWorker",
    "RelayedStream",
    "incoming_from_redis",
    "load_config",
]
