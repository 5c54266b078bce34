"""The relay from an event stream into a Redis Stream, which writes each event exactly once.

What can go wrong, and what protects against it:

* A crash between writing an entry and saving the position. This cannot happen: one script
  (``scripts.WRITE``) adds the entries of a batch and sets the position. Redis runs it atomically,
  logs it as one transaction and sends it to replicas as one transaction.
* The connection breaks after the script was sent and before its reply. The script is sent again. It
  compares the sequence number of the last entry, so it writes once, and then returns ``again``.
* A relay is paused (SIGSTOP), another takes over, and the first resumes in the middle of a write.
  The script compares owner and token of the lease before it writes. The late write is refused, and
  that relay stands by. The token only grows, so an earlier lease of the same owner is refused too.
* Redis restarts without its last second (``appendfsync everysec``), or a replica takes over that
  lacks the last entries. Entries, position and sequence number have gone back together. The next
  batch doesn't continue that sequence, so the script returns ``moved``. The relay reads the
  position from Redis, never from its own memory, and opens the stream again after it. The relay
  does not need to notice the restart, but the server must still have the events.
* Redis is unavailable, or refuses temporarily (``connection``). The current batch is sent again,
  the channel fills, the reader thread blocks, and TCP's backpressure reaches the server. A lease
  that expired meanwhile is taken again, with the position.
* The connection to the server breaks. The session reconnects, and ``RepeatFilter`` leaves out the
  events that the server repeats.

What it can't protect against: a Redis that evicts keys (a ``maxmemory-policy`` other than
``noeviction``) or is flushed forgets positions. With a server that doesn't resume there is nothing
to ask for.

Threads: the relay's own (or the caller's, in ``run``), one that renews the lease, one while a
stream is being opened, and the reader of the session. All state is in ``Progress`` and in Redis.
``_lock`` guards the current ``LeasedRelay``, and is not held across any call.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sse_client.relay.connection import RedisServer
from sse_client.relay.failures import describe
from sse_client.relay.lease import LEASE_TIME, Lease, Wait, acquire, new_owner
from sse_client.relay.lease_keeper import LeaseKeeper
from sse_client.relay.leased_relay import End, LeasedRelay
from sse_client.relay.lifecycle import Lifecycle
from sse_client.relay.options import (
    check_batch_time,
    check_count,
    check_lease_time,
    check_name,
    check_replicas,
)
from sse_client.relay.patience import Interrupted, Patience
from sse_client.relay.progress import Progress, RelayState, RelayStatistics
from sse_client.relay.source import StreamSource, warn_of_another
from sse_client.relay.status import OwnFigures, StatusReport
from sse_client.relay.writer import BATCH_EVENTS, WriteOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sse_client import HttpClient
    from sse_client.plugins.sse_config import StreamArguments
    from sse_client.relay.connection import RedisAddress

logger = logging.getLogger("sse_client")

#: How many times per lease time a standby looks for the lease: its holder may release it early.
_LOOKS = 3

#: How long ``close`` waits for the relay's threads, in seconds.
_CLOSE_TIMEOUT = 2.0


class RedisRelay(Lifecycle):
    """Relays one event stream into one Redis Stream; any number of relays may run for it.

    One of them holds the lease and relays, and the others stand by. One of these takes over within
    a third of ``lease_time`` when the lease is released, and within ``lease_time`` when its holder
    is gone. Each event becomes an entry with the fields ``event``, ``data``, ``id`` and ``source``.
    Entry and position are written in one transaction.

    All methods are thread-safe. As a context manager it starts and closes itself.

    Example:
        >>> client = HttpClient().install(SSE)
        >>> address = "redis://127.0.0.1:6379"
        >>> with RedisRelay(client, url, redis=address, stream="orders") as relay:  # doctest: +SKIP
        ...     relay.wait()

    Args:
        client: A client with the plugin ``SSE``. The relay does not close it; if you close it, the
            relay ends.
        url: The address of the event stream.
        redis: The address of a Redis 6.2 or newer, or a client of redis-py, which the relay does
            not close and which should have a socket timeout.
        stream: The key of the Redis Stream. The relay's other keys begin with
            ``sse-client:{stream}:``.
        source: The field ``source`` of each entry; by default the address of the event stream
            without user info and query.
        max_length: The approximate maximum length of the stream; None never trims it. Entries that
            no group has read are trimmed too.
        lease_time: The time after which the lease expires unless it is renewed, in seconds.
        batch_events: The maximum number of events that are written in one round trip.
        batch_time: How long a batch waits for more events after its first one, in seconds. With 0
            an event is written at once, and the events that arrive meanwhile are the next batch.
            For many streams of single events, a fraction of a second saves most round trips.
        resends_unnumbered: Whether the server, when it resumes after an ID, repeats the events
            without IDs that followed that ID. The relay then leaves them out.
        wait_replicas: The number of replicas that must have a batch before the next one is written
            (``WAIT``). Then a failover loses no batch that was followed by another one.
        **arguments: The other arguments of ``client.sse``: headers, options of ``SSEConfig`` and so
            on. ``last_event_id`` is the ID after which to start if nothing was relayed yet. The
            relay sets ``cursor``, ``types``, ``overflow`` and the options that show comments
            itself, and refuses them.

    Raises:
        ImportError: The package ``redis`` is missing (extra ``redis``).
        TypeError, ValueError: An option is wrong; the message names it.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        *,
        redis: RedisAddress,
        stream: str,
        source: str | None = None,
        max_length: int | None = None,
        lease_time: float = LEASE_TIME,
        batch_events: int = BATCH_EVENTS,
        batch_time: float = 0.0,
        resends_unnumbered: bool = True,
        wait_replicas: int = 0,
        **arguments: Unpack[StreamArguments],
    ) -> None:
        super().__init__("sse-client:relay")
        self._source = StreamSource(client, url, arguments)
        self._stream = check_name("stream", stream)
        check_count("max_length", max_length, optional=True)
        check_count("batch_events", batch_events)
        check_batch_time(batch_time)
        check_lease_time(lease_time)
        self._lease_time = lease_time
        self._options = WriteOptions(
            source=self._source.shown if source is None else source,
            max_length=max_length,
            batch_events=batch_events,
            batch_time=batch_time,
            resends_unnumbered=resends_unnumbered,
            begin_after=self._source.begin_after,
            wait_replicas=check_replicas(wait_replicas),
        )
        self._owner = new_owner()
        self._server = RedisServer(redis, self._owner)
        self._progress = Progress()
        self._report = StatusReport(self._stream, self._owner, self._progress, lease_time)
        self._keeper = LeaseKeeper(self._server, lease_time, self._reports)
        self._leased_relay: LeasedRelay | None = None
        self._runner: threading.Thread | None = None

    def __repr__(self) -> str:
        """Name the Redis Stream and the state."""
        return f"<RedisRelay {self._stream!r} {self.state.value}>"

    @property
    def state(self) -> RelayState:
        """The current state."""
        return self._progress.state

    @property
    def owner(self) -> str:
        """Its name in leases and in the status: host, process and a random part."""
        return self._owner

    @property
    def error(self) -> Exception | None:
        """Why it failed, None if it has not."""
        return self._error

    @property
    def statistics(self) -> RelayStatistics:
        """The current figures, as a copy."""
        return self._progress.statistics()

    def figures(self) -> dict[str, OwnFigures]:
        """Return the figures of the stream by name, if it holds the lease. Does not ask Redis."""
        relay = self._leased_relay
        return {} if relay is None else {self._stream: self._report.figures(relay.waiting)}

    @property
    def trouble(self) -> str:
        """Why it can't work at the moment, ``""`` if it can."""
        if self.state is RelayState.WAITING:
            return f"waiting for redis: {self._progress.last_error}"
        return "" if self.is_running else "not running"

    def run(self) -> None:
        """Relay on the calling thread. Blocks until the stream ends or ``close`` is called.

        Raises:
            SSEClientError: The stream has ended with this error. All events before it are written.
            RelayError: Redis refuses permanently.
            RuntimeError: It was started before.
            SessionClosedError: It belongs to the process from which this one was forked.
        """
        self._begin()
        self._run()
        if self._error is not None:
            raise self._error

    def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """End it: close the stream and release the lease. Idempotent, from any thread.

        Does nothing in a forked child.

        The next holder of the lease receives the events that have arrived and are not written.

        Args:
            timeout: How long to wait for its threads, in seconds. They end at once unless Redis
                hangs. If the first connection to the server hangs, its thread ends later: when it
                is opened, or after its ``timeout=``.
        """
        if not self._process.is_current:
            return
        if not self._stop():
            self._finish()
            return
        with self._lock:
            relay = self._leased_relay
        if relay is not None:
            relay.stop()
        # Not on the thread that runs it: a signal handler may have interrupted ``run``.
        if threading.current_thread() is self._runner:
            return
        if self._over.wait(timeout) and self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        self._runner = threading.current_thread()
        try:
            self._keeper.start()
            self._hold_leases()
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001  # kept for ``error`` and ``run``
            if not self._stopping.is_set():
                self._error = error
                self._progress.failed(error)
        finally:
            self._finish()

    def _finish(self) -> None:
        self._progress.move(RelayState.CLOSED if self._error is None else RelayState.FAILED)
        self._keeper.close(_CLOSE_TIMEOUT)
        if self._error is not None:
            logger.error("the relay into %r failed: %s", self._stream, describe(self._error))
            self._report.send(self._server)
        self._server.close()
        self._over.set()

    def _hold_leases(self) -> None:
        """Take the lease whenever it is free, and relay under it, until the stream ends."""
        patience = Patience(self._server, self._stopping, self._progress.redis_fails)
        warned = ""
        while not self._stopping.is_set():
            reply = patience.ask(self._acquire)
            other = reply.source if isinstance(reply, Wait) else reply.before
            if other != warned:  # once for each of them
                warned = other
                warn_of_another(self._stream, self._source.identity, other)
            if isinstance(reply, Wait):
                self._progress.move(RelayState.STANDBY)
                self._stopping.wait(min(reply.seconds + 0.001, self._lease_time / _LOOKS))
                continue
            if self._serve(reply) is End.STREAM_ENDED:
                return

    def _acquire(self) -> Lease | Wait:
        return acquire(
            self._server,
            self._stream,
            self._owner,
            self._lease_time,
            source=self._source.identity,
        )

    def _serve(self, lease: Lease) -> End:
        """Relay under the lease, and release it."""
        self._progress.leases += 1
        relay = LeasedRelay(self._server, lease, self._source.open, self._options, self._progress)
        with self._lock:
            self._leased_relay = relay
        if self._stopping.is_set():
            relay.stop()
        self._keeper.keep(lease)
        try:
            end = relay.run()
        finally:
            self._keeper.drop(lease)
            lease.release()
            with self._lock:
                self._leased_relay = None
        logger.info("%r: no longer relaying: %s", self._stream, end.value)
        return end

    def _reports(self) -> list[list[object]]:
        relay = self._leased_relay
        return [] if relay is None else [self._report.command(relay.waiting)]
