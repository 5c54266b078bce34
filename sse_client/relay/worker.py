"""Many streams, shared by any number of workers: each takes its fair share of the leases.

There is no coordinator. Each worker keeps its name in a sorted set in Redis, with the moment, by
Redis's clock, at which it counts as dead. From that set it learns how many workers there are; its
share is ``ceil(streams / workers)``. A round, at a third of the lease time, is:

1. Heartbeat, and the share that follows from it.
2. More relays than the share: some are ended, and their leases given back. A quarter of what is too
   much at a time, the last ones one by one, so that a worker which was silent for a moment doesn't
   turn everything over.
3. Fewer: leases that are free are taken, up to the share, in an order by chance, so that workers
   that start together don't all try the same ones.

Shares add up to at least all streams, whatever each worker believes, so none is left alone: a
worker that knows fewer others takes more, not less. Who believes wrongly takes too much for a
round. Exactly once does not depend on any of it, but on each stream's own lease.

Threads: one runs the rounds, one renews all leases, and each stream that is relayed has its own and
the reader of its session. ``_lock`` guards which streams are relayed.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sse_client import SSEClientError
from sse_client.relay.connection import Interrupted, Patience, RedisServer, describe, refused
from sse_client.relay.lease import LEASE_TIME, Lease, LeaseKeeper, Wait, acquire, milliseconds
from sse_client.relay.lease import new_owner as new_name
from sse_client.relay.leased_relay import End, LeasedRelay
from sse_client.relay.lifecycle import Lifecycle
from sse_client.relay.options import check_lease_time, check_name, key_of
from sse_client.relay.scripts import HEARTBEAT
from sse_client.relay.source import StreamSource
from sse_client.relay.status import Progress, RelayState, StatusReport
from sse_client.relay.writer import WriteOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client import HttpClient
    from sse_client.relay.config import RelayedStream
    from sse_client.relay.connection import RedisAddress

logger = logging.getLogger("sse_client")

_ROUNDS = 3

#: In how many rounds, about, what is too much is given up.
_PIECES = 4

#: How long a stream that has ended or failed is left alone by this worker, in seconds. Others may
#: try it meanwhile; one that nobody can open costs a request per worker in that time.
_REST = 30.0

_CLOSE_TIMEOUT = 5.0


@dataclass
class _Relayed:
    """A stream that this worker is to relay, or may."""

    stream: str
    source: StreamSource
    options: WriteOptions
    report: StatusReport
    progress: Progress
    resting_until: float = 0.0
    relay: LeasedRelay | None = None  # as long as the lease is held
    thread: threading.Thread | None = field(default=None, repr=False)


class RelayWorker(Lifecycle):
    """Relays its share of many streams; start as many as the streams need, on any machines.

    All workers are given the same streams. All methods are thread-safe. As a context manager it
    starts and closes itself.

    Example:
        >>> worker = RelayWorker(client, load_config("relays.toml").streams, redis=address)
        ... # doctest: +SKIP
        >>> with worker:  # doctest: +SKIP
        ...     worker.wait()

    Args:
        client: A client with the plugin ``SSE``. It stays yours.
        streams: What is to be relayed.
        redis: The address of a Redis 6.2 or newer, or a client of redis-py, which stays yours and
            should have a socket timeout and as many connections as this worker has streams.
        pool: What the workers that share these streams have in common.
        lease_time: How long a lease, or a worker, lives without being renewed, in seconds.

    Raises:
        ImportError: The package ``redis`` is missing (extra ``redis``).
        TypeError, ValueError: An option is wrong, by name.
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
        self._key = key_of(check_name("pool", pool), "workers")
        self._lease_time = lease_time
        self._server = RedisServer(redis)
        self._name = new_name()
        self._streams: dict[str, _Relayed] = {}
        for each in streams:
            if each.stream in self._streams:
                raise ValueError(f"streams must not name the Redis Stream {each.stream!r} twice")
            self._streams[each.stream] = self._prepare(client, each)
        if not self._streams:
            raise ValueError("streams must not be empty")
        self._keeper = LeaseKeeper(self._server, lease_time, self._reports)

    def _prepare(self, client: HttpClient, stream: RelayedStream) -> _Relayed:
        source = StreamSource(client, stream.url, stream.arguments())
        progress = Progress()
        name = check_name("stream", stream.stream)
        return _Relayed(
            name,
            source,
            WriteOptions(
                source=source.shown,
                max_length=stream.max_length,
                batch_time=stream.batch_time,
                resends_unnumbered=stream.resends_unnumbered,
                begin_after=stream.last_event_id,
            ),
            StatusReport(name, self._name, progress),
            progress,
        )

    def __repr__(self) -> str:
        """Tell how much it relays."""
        return f"<RelayWorker {self._name} {len(self.relayed)} of {len(self._streams)}>"

    @property
    def name(self) -> str:
        """Its name in leases and in the status: host, process and a random part."""
        return self._name

    @property
    def relayed(self) -> list[str]:
        """The streams that it relays at this moment."""
        with self._lock:
            return [name for name, each in self._streams.items() if each.relay is not None]

    def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """End all its relays and give the leases back. Idempotent, from any thread.

        Args:
            timeout: How long to wait for its threads, in seconds.
        """
        if not self._stop():
            self._server.close()
            self._over.set()
        elif self._thread.ident is not None:
            self._thread.join(timeout)

    # The worker's thread.

    def _run(self) -> None:
        patience = Patience(self._server, self._stopping)
        try:
            self._keeper.start()
            while not self._stopping.is_set():
                patience.ask(self._round)
                self._stopping.wait(self._lease_time / _ROUNDS)
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001  # to whoever waits
            self._error = error
        finally:
            self._leave()

    def _round(self) -> None:
        """Compare what it relays with its share, and move towards it."""
        life = milliseconds(self._lease_time)
        workers = int(self._server.run(HEARTBEAT, [self._key], [self._name, life]))
        share = math.ceil(len(self._streams) / max(1, workers))
        with self._lock:
            relays = [each.relay for each in self._streams.values() if each.relay is not None]
        if len(relays) > share:
            surplus = math.ceil((len(relays) - share) / _PIECES)
            for relay in random.sample(relays, surplus):
                relay.stop()
        elif len(relays) < share:
            self._take(share - len(relays))

    def _take(self, count: int) -> None:
        now = time.monotonic()
        with self._lock:
            idle = [
                each
                for each in self._streams.values()
                if each.relay is None and each.resting_until <= now
            ]
        random.shuffle(idle)
        held = self._server.execute_all([("GET", key_of(each.stream, "lease")) for each in idle])
        for each, holder in zip(idle, held, strict=True):
            if count == 0 or self._stopping.is_set():
                return
            if holder is None or isinstance(holder, Exception):
                count -= self._try(each, holder)

    def _try(self, each: _Relayed, error: Exception | None) -> bool:
        """Take a lease that seemed free, and relay under it; return whether it was free."""
        try:
            if error is not None:
                raise error
            lease = acquire(self._server, each.stream, self._name, self._lease_time)
        except self._server.failures as failure:
            if self._server.passes(failure):
                raise
            # Of the pool's own key nothing was refused: it is this stream that has to rest.
            self._fails(each, refused(failure))
            self._rest(each, _REST)
            return False
        if isinstance(lease, Wait):
            return False
        self._relay_stream(each, lease)
        return True

    def _relay_stream(self, each: _Relayed, lease: Lease) -> None:
        each.progress.leases += 1
        relay = LeasedRelay(self._server, lease, each.source.open, each.options, each.progress)
        thread = threading.Thread(
            target=self._serve,
            args=(each, relay, lease),
            name=f"sse-client:relay:{each.stream}",
            daemon=True,
        )
        with self._lock:
            each.relay = relay
        self._keeper.keep(lease)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many
            self._fails(each, error)
            self._give_back(each, lease, _REST)
            return
        each.thread = thread

    def _serve(self, each: _Relayed, relay: LeasedRelay, lease: Lease) -> None:
        """Relay one stream under its lease; on a thread of its own."""
        rest = _REST
        try:
            end = relay.run()
            rest = _REST if end is End.STREAM_ENDED else 0.0
            logger.info("%r: not relaying any more: %s", each.stream, end.value)
        except Exception as error:  # noqa: BLE001  # the other streams have to go on
            self._fails(each, error)
        finally:
            self._give_back(each, lease, rest)

    def _fails(self, each: _Relayed, error: Exception) -> None:
        """Note and log why a stream is not relayed."""
        each.progress.failed(error)
        # The traceback of a failure of the server says nothing, and comes every half a minute.
        known = isinstance(error, SSEClientError)
        logger.error(
            "the relay into %r failed: %s",
            each.stream,
            describe(error),
            exc_info=None if known else error,
        )
        each.report.send(self._server)

    def _give_back(self, each: _Relayed, lease: Lease, rest: float) -> None:
        self._keeper.drop(lease)
        lease.release()
        each.progress.move(RelayState.STANDBY)
        self._rest(each, rest)

    def _rest(self, each: _Relayed, seconds: float) -> None:
        with self._lock:
            each.relay = None
            each.resting_until = time.monotonic() + seconds

    def _leave(self) -> None:
        with self._lock:
            relayed = [(each.relay, each.thread) for each in self._streams.values()]
        for relay, _ in relayed:
            if relay is not None:
                relay.stop()
        deadline = time.monotonic() + _CLOSE_TIMEOUT
        for _, thread in relayed:
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._keeper.close(_CLOSE_TIMEOUT)
        try:
            # Else the others would leave its share alone for the time that it counts as alive.
            self._server.execute("ZREM", self._key, self._name)
        except Exception as error:  # noqa: BLE001  # it dies out by itself
            logger.info("a worker is left in the pool: %s", describe(error))
        self._server.close()
        self._over.set()

    def _reports(self) -> list[list[object]]:
        """Tell how each stream is doing; on the keeper's thread."""
        with self._lock:
            relayed = [(each.report, each.relay) for each in self._streams.values()]
        return [report.command(relay.waiting) for report, relay in relayed if relay is not None]
