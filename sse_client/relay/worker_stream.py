"""One of the streams of a worker: its relay, as long as the worker holds the lease."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from sse_client import SSEClientError
from sse_client.relay.failures import describe, refused
from sse_client.relay.held_lease import Wait
from sse_client.relay.lease import Lease, acquire
from sse_client.relay.leased_relay import End
from sse_client.relay.options import check_name
from sse_client.relay.progress import Progress, RelayState
from sse_client.relay.shared_relay import SharedRelay
from sse_client.relay.source import StreamSource, warn_of_another
from sse_client.relay.status import OwnFigures, StatusReport
from sse_client.relay.writer import StreamWriter, WriteOptions

if TYPE_CHECKING:
    from sse_client import HttpClient
    from sse_client.relay.config import RelayedStream
    from sse_client.relay.connection import RedisServer
    from sse_client.relay.lease_keeper import LeaseKeeper
    from sse_client.relay.shared_writer import SharedWriters

logger = logging.getLogger("sse_client")

#: How long this worker leaves a stream alone that has ended or failed, in seconds. Other workers
#: may try it meanwhile. A stream that nobody can open costs one request per worker in this time.
REST = 30.0


#: How many attempts in a row to open a stream may fail. After one more the lease is released,
#: because another worker may reach the server. This takes about a minute, because the waits grow.
ATTEMPTS = 5


class WorkerStream:
    """A stream in the list of a worker.

    Threads: the worker's thread takes the lease and starts another one, which relays and releases
    it. Only one of the two writes each attribute at a time.

    Args:
        server: The Redis.
        keeper: Renews the lease.
        worker: The name of the worker.
        client: Opens the stream.
        stream: The definition of the stream.
        lease_time: The time after which a lease expires unless it is renewed, in seconds.
        writers: Write for this stream and others.

    Attributes:
        name: The key of the Redis Stream.
        definition: The definition of the stream.
        relay: The relay of the stream while the lease is held, otherwise None.
    """

    def __init__(
        self,
        server: RedisServer,
        keeper: LeaseKeeper,
        worker: str,
        client: HttpClient,
        stream: RelayedStream,
        *,
        lease_time: float,
        writers: SharedWriters,
    ) -> None:
        self.name = check_name("stream", stream.stream)
        self.definition = stream
        self.relay: SharedRelay | None = None
        self._server = server
        self._keeper = keeper
        self._worker = worker
        self._lease_time = lease_time
        # WAIT needs a connection that does nothing else meanwhile.
        self._writers = None if stream.wait_replicas else writers
        self._source = StreamSource(client, stream.url, stream.arguments())
        self._options = WriteOptions(
            source=self._source.shown,
            max_length=stream.max_length,
            batch_time=stream.batch_time,
            resends_unnumbered=stream.resends_unnumbered,
            begin_after=stream.last_event_id,
            wait_replicas=stream.wait_replicas,
        )
        self._progress = Progress()
        self._report = StatusReport(self.name, worker, self._progress, lease_time)
        self._resting_until = 0.0
        self._thread: threading.Thread | None = None

    @property
    def is_resting(self) -> bool:
        """Whether it has failed or ended a short time ago."""
        return time.monotonic() < self._resting_until

    def report(self) -> list[list[object]]:
        """Return the command that reports on the stream, if it is relayed."""
        relay = self.relay
        return [] if relay is None else [self._report.command(relay.waiting)]

    def figures(self) -> OwnFigures | None:
        """Return its figures, if it is relayed."""
        relay = self.relay
        return None if relay is None else self._report.figures(relay.waiting)

    def take(self) -> bool:
        """Take the lease if it is free, and relay under it; return whether it was free.

        Raises:
            redis.RedisError: Redis fails temporarily.
        """
        try:
            lease = acquire(
                self._server,
                self.name,
                self._worker,
                self._lease_time,
                source=self._source.identity,
            )
        except self._server.failures as failure:
            if self._server.passes(failure):
                raise
            self.refuse(failure)
            return False
        if isinstance(lease, Wait):
            return False
        warn_of_another(self.name, self._source.identity, lease.before)
        self._begin(lease)
        return True

    def refuse(self, failure: Exception) -> None:
        """Rest, because Redis refuses a command that concerns only this stream."""
        self._fail(refused(failure, self._server.name))
        self._resting_until = time.monotonic() + REST

    def stop(self) -> None:
        """Ask the relay to end, if there is one. Does not block."""
        relay = self.relay
        if relay is not None:
            relay.stop()

    def join(self, timeout: float) -> None:
        """Wait until the lease is released, for ``timeout`` seconds at most."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _begin(self, lease: Lease) -> None:
        self._progress.leases += 1
        relay = SharedRelay(
            self._server,
            lease,
            self._source.open,
            self._options,
            self._progress,
            writer=StreamWriter(self._server, lease, self._options),
            attempts=ATTEMPTS,
        )
        thread = threading.Thread(
            target=self._serve,
            args=(relay, lease),
            name=f"sse-client:relay:{self.name}",
            daemon=True,
        )
        self.relay = relay
        self._keeper.keep(lease)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many threads
            lease.release()
            self._finish(lease, error)
            return
        self._thread = thread

    def _serve(self, relay: SharedRelay, lease: Lease) -> None:
        end: End | Exception
        try:
            if self._writers is None:
                end = relay.run()
            elif relay.prepare():
                self._writers.of(self.name).add(relay, lambda end: self._finish(lease, end))
                return
            else:
                end = relay.end()
        except Exception as error:  # noqa: BLE001  # the other streams continue
            end = error
        relay.close_session()
        lease.release()
        self._finish(lease, end)

    def _finish(self, lease: Lease, end: End | Exception) -> None:
        """Note why relaying has ended. Its lease is released."""
        rest = REST
        if isinstance(end, Exception):
            self._fail(end)
        else:
            rest = REST if end in {End.STREAM_ENDED, End.UNREACHABLE} else 0.0
            level = logging.WARNING if end is End.UNREACHABLE else logging.INFO
            logger.log(level, "%r: no longer relaying: %s", self.name, end.value)
        self._give_back(lease, rest)

    def _fail(self, error: Exception) -> None:
        """Note and log why the stream is not relayed."""
        self._progress.failed(error)
        # The traceback of a server's failure is not useful, and would appear every half a minute.
        known = isinstance(error, SSEClientError)
        logger.error(
            "the relay into %r failed: %s",
            self.name,
            describe(error),
            exc_info=None if known else error,
        )
        self._report.send(self._server)

    def _give_back(self, lease: Lease, rest: float) -> None:
        self._keeper.drop(lease)
        self._progress.move(RelayState.STANDBY)
        self._resting_until = time.monotonic() + rest
        self.relay = None
