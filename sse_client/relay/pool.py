"""The workers of a pool: who is alive, by Redis's clock.

Each worker keeps its name in a sorted set, with the time at which it counts as dead. Workers may
have different lists of streams, for example during a change of the configuration. To compute its
share, a worker counts only the workers with the same list. So the shares in a list add up to all
of its streams, and each stream of each list is relayed.
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import TYPE_CHECKING

from sse_client.relay.failures import describe
from sse_client.relay.lease import milliseconds
from sse_client.relay.options import key_of
from sse_client.relay.scripts import HEARTBEAT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sse_client.relay.connection import RedisServer

logger = logging.getLogger("sse_client")


class Pool:
    """A worker's membership in its pool. For one thread.

    Args:
        server: The Redis.
        pool: The name of the pool.
        worker: The name of this worker.
        streams: Its streams.
        lease_time: The time after which it counts as dead without a heartbeat, in seconds.
    """

    def __init__(
        self, server: RedisServer, pool: str, worker: str, streams: Iterable[str], lease_time: float
    ) -> None:
        self._server = server
        self._key = key_of(pool, "workers")
        self._worker = worker
        self._life = lease_time
        # NUL separates the names. Redis accepts it in a name, but it is not used in practice.
        names = "\0".join(sorted(streams)).encode()
        digest = hashlib.sha256(names).hexdigest()[:16]
        self._member = f"{worker} {digest} {milliseconds(lease_time)}"
        #: The last count of workers, and its time.
        self._workers = 1
        self._counted_at = time.monotonic()
        #: Whether the workers can't be counted at the moment.
        self._is_alone = False

    def count(self) -> int:
        """Report that this worker is alive, and return the number of workers with its streams.

        Raises:
            redis.RedisError: Redis does not reply, or refuses.
        """
        words = [self._member, milliseconds(self._life)]
        try:
            workers = int(self._server.run(HEARTBEAT, [self._key], words))
        except self._server.failures as error:
            # In a cluster the master of this key may be down. The streams on the other masters
            # still need a worker.
            if not (self._server.is_cluster and self._server.passes(error)):
                raise
            return self._count_alone(error)
        if self._is_alone:
            self._is_alone = False
            logger.warning("%s can count the workers of its pool again", self._worker)
        self._workers, self._counted_at = max(1, workers), time.monotonic()
        return self._workers

    def _count_alone(self, error: Exception) -> int:
        """Return the last count; or 1, once the other workers would count as dead."""
        if not self._is_alone:
            self._is_alone = True
            logger.warning(
                "%s cannot count the workers of its pool: %s", self._worker, describe(error)
            )
        return 1 if time.monotonic() - self._counted_at > self._life else self._workers

    def leave(self) -> None:
        """Leave the pool, so that the shares of the others grow. A failure is only logged."""
        try:
            self._server.execute("ZREM", self._key, self._member)
        except Exception as error:  # noqa: BLE001  # its entry expires
            logger.info("a worker could not leave the pool: %s", describe(error))
