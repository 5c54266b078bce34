"""Many streams, shared by any number of workers: each takes its fair share of the leases.

There is no coordinator. The ``pool`` counts the workers with the same list of streams. The share of
a worker is ``ceil(streams / workers)``. Every third of the lease time, a worker runs a round:

1. It sends its heartbeat, and computes its share.
2. If it has more streams than its share, it ends some and releases their leases: a quarter of the
   surplus per round. So a worker that was silent for a moment doesn't disturb all streams, and one
   that joins has its share within two lease times.
3. If it has fewer, it takes free leases up to its share, in random order, so that workers that
   start at the same moment don't all try the same ones.

The shares add up to at least all streams, whatever number of workers each one counts, so no stream
is left out: a worker that counts too few takes too many streams for one round. Exactly once does
not depend on this, but on the lease of each stream.

Threads: one runs the rounds, one renews all leases, and one writes for all streams. Each stream has
its own thread while it is being opened. In a cluster one thread per master writes for the streams
there. With ``wait_replicas`` a stream keeps its own thread.
"""

from __future__ import annotations

import logging
import math
import random
import time
from typing import TYPE_CHECKING

from sse_client.relay.connection import RedisServer
from sse_client.relay.held_lease import LEASE_TIME
from sse_client.relay.held_lease import new_owner as new_name
from sse_client.relay.lease import milliseconds
from sse_client.relay.lease_keeper import LeaseKeeper
from sse_client.relay.lifecycle import Lifecycle
from sse_client.relay.options import check_lease_time, check_name, key_of
from sse_client.relay.patience import Interrupted, Patience
from sse_client.relay.pool import Pool
from sse_client.relay.shared_writer import SharedWriters
from sse_client.relay.unheld import UnheldStreams
from sse_client.relay.worker_stream import WorkerStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sse_client import HttpClient
    from sse_client.relay.config import RelayedStream
    from sse_client.relay.connection import RedisAddress
    from sse_client.relay.status import OwnFigures

logger = logging.getLogger("sse_client")

_ROUNDS = 3

#: In how many rounds a surplus is given up.
_PIECES = 4

#: The reply of ``PTTL`` if the key does not exist.
_NO_KEY = -2

_CLOSE_TIMEOUT = 5.0


class RelayWorker(Lifecycle):
    """Relays its share of many streams; start as many workers as the streams need, on any machines.

    Workers with the same streams share them. All methods are thread-safe. As a context manager it
    starts and closes itself.

    Example:
        >>> worker = RelayWorker(client, load_config("relays.toml").streams, redis=address)
        ... # doctest: +SKIP
        >>> with worker:  # doctest: +SKIP
        ...     worker.wait()

    Args:
        client: A client with the plugin ``SSE``. The worker does not close it.
        streams: The streams to relay.
        redis: The address of a Redis 6.2 or newer, or a client of redis-py, which the worker does
            not close. It should have a socket timeout, and as many connections as this worker has
            streams.
        pool: The name that the workers which share these streams have in common.
        lease_time: The time after which a lease expires, or a worker counts as dead, without a
            renewal, in seconds.

    Raises:
        ImportError: The package ``redis`` is missing (extra ``redis``).
        TypeError, ValueError: An option is wrong; the message names it.
    """

    def __init__(
        self,
        client: HttpClient,
        streams: Sequence[RelayedStream],
        *,
        redis: RedisAddress,
        pool: str = "relays",
        lease_time: float = LEASE_TIME,
    ) -> None:
        super().__init__("sse-client:worker")
        check_lease_time(lease_time)
        check_name("pool", pool)
        self._lease_time = lease_time
        self._name = new_name()
        self._server = RedisServer(redis, self._name)
        self._keeper = LeaseKeeper(self._server, lease_time, self._reports)
        self._writers = SharedWriters(self._server)
        self._client = client
        self._pool_name = pool
        self._streams = self._prepare(streams, {})
        #: Streams that are no longer wanted, until their leases are released.
        self._leaving: list[WorkerStream] = []
        #: The streams of the last call of ``reload``, until the next round.
        self._next: dict[str, WorkerStream] | None = None
        self._patience = Patience(self._server, self._stopping)
        self._pool = Pool(self._server, pool, self._name, self._streams, lease_time)
        self._unheld = UnheldStreams(self._name, lease_time)
        #: How many relays a round ends, while there are too many.
        self._piece = 0

    def _prepare(
        self, streams: Sequence[RelayedStream], before: Mapping[str, WorkerStream]
    ) -> dict[str, WorkerStream]:
        """Create the ``WorkerStream`` of each stream, or keep it if the stream has not changed."""
        found: dict[str, WorkerStream] = {}
        for each in streams:
            if each.stream in found:
                raise ValueError(f"streams must not name the Redis Stream {each.stream!r} twice")
            old = before.get(each.stream)
            if old is None or old.definition != each:
                words = (self._server, self._keeper, self._name, self._client, each)
                old = WorkerStream(*words, lease_time=self._lease_time, writers=self._writers)
            found[each.stream] = old
        if not found:
            raise ValueError("streams must not be empty")
        return found

    def reload(self, streams: Sequence[RelayedStream]) -> None:
        """Relay these streams from the next round on. Does not block, from any thread.

        Unchanged streams are relayed without a pause. Streams that are gone or changed are given
        back, and any worker takes the changed ones.

        Args:
            streams: All streams, as for a new worker.

        Raises:
            TypeError, ValueError: They are wrong. Then nothing changes.
        """
        self._next = self._prepare(streams, self._streams)

    def __repr__(self) -> str:
        """Name the worker and the number of streams that it relays."""
        return f"<RelayWorker {self._name} {len(self.relayed)} of {len(self._streams)}>"

    @property
    def name(self) -> str:
        """Its name in leases and in the status: host, process and a random part."""
        return self._name

    @property
    def streams(self) -> list[str]:
        """The Redis Streams of its list."""
        return list(self._streams)

    @property
    def relayed(self) -> list[str]:
        """The streams that it relays at this moment."""
        return [name for name, each in self._streams.items() if each.relay is not None]

    def figures(self) -> dict[str, OwnFigures]:
        """Return the figures of the streams that it relays, by name. Does not ask Redis."""
        found = {name: each.figures() for name, each in self._streams.items()}
        return {name: figures for name, figures in found.items() if figures is not None}

    @property
    def trouble(self) -> str:
        """Why it can't work at the moment, ``""`` if it can."""
        if self.is_running:
            return self._patience.trouble and f"waiting for redis: {self._patience.trouble}"
        return "not running"

    def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """End all its relays and release the leases. Idempotent, from any thread.

        Does nothing in a forked child.

        Args:
            timeout: How long to wait for its threads, in seconds.
        """
        if not self._process.is_current:
            return
        if not self._stop():
            self._server.close()
            self._over.set()
        elif self._thread.ident is not None:
            self._thread.join(timeout)

    # The worker's thread.

    def _run(self) -> None:
        try:
            self._keeper.start()
            while not self._stopping.is_set():
                self._patience.ask(self._round)
                self._stopping.wait(self._lease_time / _ROUNDS)
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001  # raised by ``wait``
            self._error = error
        finally:
            self._leave(is_failing=bool(self._patience.trouble))

    def _round(self) -> None:
        """Compare the number of relayed streams with the share, and approach it."""
        self._change()
        share = math.ceil(len(self._streams) / self._pool.count())
        relays = [each.relay for each in self._streams.values() if each.relay is not None]
        relays = [each for each in relays if not each.is_stopping]
        surplus = len(relays) - share
        self._piece = max(self._piece, math.ceil(surplus / _PIECES)) if surplus > 0 else 0
        for relay in random.sample(relays, min(self._piece, max(0, surplus))):
            relay.stop()
        free = self._look()
        if surplus < 0:
            self._take(free, -surplus)

    def _change(self) -> None:
        """Apply the last call of ``reload``."""
        wanted, self._next = self._next, None
        if wanted is None:
            return
        gone = [each for name, each in self._streams.items() if wanted.get(name) is not each]
        self._pool.leave()
        self._streams = wanted
        self._pool = Pool(self._server, self._pool_name, self._name, wanted, self._lease_time)
        self._unheld = UnheldStreams(self._name, self._lease_time)
        self._leaving = [each for each in self._leaving if each.relay is not None] + gone
        for each in gone:
            each.stop()
        logger.info("%s: the streams have changed: there are %d now", self._name, len(wanted))

    def _look(self) -> list[WorkerStream]:
        """Return the streams that may be free."""
        lease_time = milliseconds(self._lease_time)
        others = [each for each in self._streams.values() if each.relay is None]
        for name in self._streams.keys() - {each.name for each in others}:
            self._unheld.note(name, is_held=True)
        found = self._server.execute_all([("PTTL", key_of(each.name, "lease")) for each in others])
        free = []
        for each, left in zip(others, found, strict=True):
            if isinstance(left, Exception):
                self._meet(each, left)
                continue
            self._unheld.note(each.name, is_held=left != _NO_KEY)
            # A lease that expires later than it can was taken before the clock was moved back.
            if not (0 <= left <= lease_time or each.is_resting):
                free.append(each)
        return free

    def _take(self, free: Sequence[WorkerStream], count: int) -> None:
        for each in random.sample(free, len(free)):
            if count == 0 or self._stopping.is_set():
                return
            try:
                count -= each.take()
            except self._server.failures as error:
                self._meet(each, error)

    def _meet(self, stream: WorkerStream, error: Exception) -> None:
        """Let one stream rest that Redis refuses; raise a failure that is temporary.

        In a cluster even that is not raised: the streams of the other masters need a worker.
        """
        if not self._server.passes(error):
            if not stream.is_resting:
                stream.refuse(error)
        elif not self._server.is_cluster:
            raise error

    def _leave(self, *, is_failing: bool) -> None:
        # First, so that the shares of the others have grown when the leases are released.
        if not is_failing:
            self._pool.leave()
        streams = [*self._streams.values(), *self._leaving]
        for stream in streams:
            stream.stop()
        deadline = time.monotonic() + _CLOSE_TIMEOUT
        for stream in streams:
            stream.join(max(0.0, deadline - time.monotonic()))
        self._writers.close(max(0.0, deadline - time.monotonic()))
        self._keeper.close(_CLOSE_TIMEOUT)
        self._server.close()
        self._over.set()

    def _reports(self) -> list[list[object]]:
        """Return the commands that report on each stream; on the keeper's thread."""
        return [words for each in self._streams.values() for words in each.report()]
