"""From event streams into Redis Streams, for more than one process can do (extra ``redis``).

``RedisRelay`` relays one stream, exactly once, however many run for it; ``RelayWorker`` shares many
streams with other workers; ``incoming_from_redis`` reads what they wrote, as a member of a consumer
group; ``RedisCursor`` keeps the position of a stream that is processed here. The package ``redis``
is imported only when one of them is made.
"""

from __future__ import annotations

from sse_client.relay.config import RelayConfig, RelayedStream, load_config
from sse_client.relay.connection import RelayError
from sse_client.relay.cursor import RedisCursor
from sse_client.relay.incoming import RedisIncoming, incoming_from_redis
from sse_client.relay.redis_relay import RedisRelay
from sse_client.relay.status import RelayState, RelayStatistics
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
