"""The relay: from an event stream into a Redis Stream, each event exactly once.

What can go wrong, and what holds it:

* A crash between writing an entry and noting the position: there is no between. One script
  (``scripts.WRITE``) adds the entries of a batch and sets the position; Redis runs it as a whole,
  logs it as one transaction, and hands it to replicas as one.
* The connection breaks after the script was sent and before its reply: it is sent again. The
  script compares the sequence number of the last entry, so it writes once, and says ``again``.
* A relay sleeps (SIGSTOP), another takes over, the first wakes up in the middle of a write: the
  script compares the lease, owner and token, before it writes; the late one is refused and becomes
  a standby. The token only grows, so the same owner's earlier lease is refused, too.
* Redis restarts and has lost its last second (``appendfsync everysec``), or a replica takes over
  that had not got everything: entries and position have gone back together, and the sequence number
  with them. The next batch doesn't continue it, the script says ``moved``, and the relay reads the
  position in Redis, never in its memory, and opens the stream anew behind that. This needs no
  notice of the restart. It needs a server that still has the events.
* Redis is away or refuses for the moment (``connection``): the batch in hand is repeated, the
  channel fills, the reader thread blocks, and TCP's back-pressure reaches the server. A lease that
  ran out meanwhile is taken anew, with the position.
* The connection to the server breaks: the session reconnects, and ``RepeatFilter`` leaves out what
  comes again.

What it can't hold: a Redis that evicts keys (``maxmemory-policy`` other than ``noeviction``) or is
flushed forgets positions, and a server that doesn't resume has nothing to resume.

Threads: the relay's own (or the caller's, in ``run``), one that renews the lease, one while a
stream is being opened, and the reader of the session. All state is in ``Progress`` and in Redis.
``_lock`` guards which lease is relayed under, and is not held across anything.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sse_client.relay.connection import Interrupted, Patience, RedisServer, describe
from sse_client.relay.lease import LEASE_TIME, Lease, LeaseKeeper, Wait, acquire, new_owner
from sse_client.relay.leased_relay import End, LeasedRelay
from sse_client.relay.lifecycle import Lifecycle
from sse_client.relay.options import check_batch_time, check_count, check_lease_time, check_name
from sse_client.relay.source import StreamSource
from sse_client.relay.status import Progress, RelayState, RelayStatistics, StatusReport
from sse_client.relay.writer import BATCH_EVENTS, WriteOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sse_client import HttpClient
    from sse_client.plugins.sse import StreamArguments
    from sse_client.relay.connection import RedisAddress

logger = logging.getLogger("sse_client")

#: How often a standby looks for the lease, as a part of the lease time, although it is renewed: its
#: holder may give it back.
_LOOKS = 3

#: How long ``close`` waits for the relay's threads, in seconds.
_CLOSE_TIMEOUT = 2.0


class RedisRelay(Lifecycle):
    """Relays one event stream into one Redis Stream; any number may run for the same.

    One of them holds the lease and relays, the others stand by, and one takes over at once when it
    is given back, or within ``lease_time`` when its holder is gone. Each event becomes an entry
    with the fields ``event``, ``data``, ``id`` and ``source``; entry and position are written in
    one transaction.

    All methods are thread-safe. As a context manager it starts and closes itself.

    Example:
        >>> client = HttpClient().install(SSE)
        >>> address = "redis://127.0.0.1:6379"
        >>> with RedisRelay(client, url, redis=address, stream="orders") as relay:  # doctest: +SKIP
        ...     relay.wait()

    Args:
        client: A client with the plugin ``SSE``. It stays yours; closing it ends the relay, too.
        url: The address of the event stream.
        redis: The address of a Redis 6.2 or newer, or a client of redis-py, which stays yours and
            should have a socket timeout.
        stream: The key of the Redis Stream. Keys beside it begin with ``sse-client:{stream}:``.
        source: What each entry says of where it came from; the address without user info and query
            by default.
        max_length: How long the stream may get, about; None never trims. Entries that no group has
            read are trimmed, too.
        lease_time: How long the lease is held without being renewed, in seconds.
        batch_events: How many events are written in one round trip, at most.
        batch_time: How long a batch waits for more events behind its first one, in seconds. With 0
            an event is written at once, and what has arrived meanwhile is the next batch; for many
            streams of single events a part of a second saves most of the round trips.
        resends_unnumbered: Whether the server, asked to go on behind an ID, repeats the events
            without IDs that came behind it. They are then left out.
        **arguments: What ``client.sse`` takes: headers, options of ``SSEConfig`` and so on.
            ``last_event_id`` is where to begin if nothing was relayed yet. ``cursor``, ``types``,
            ``overflow`` and those that show comments are the relay's own, and refused.

    Raises:
        ImportError: The package ``redis`` is missing (extra ``redis``).
        TypeError, ValueError: An option is wrong, by name.
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
        )
        self._server = RedisServer(redis)
        self._progress = Progress()
        self._owner = new_owner()
        self._report = StatusReport(self._stream, self._owner, self._progress)
        self._keeper = LeaseKeeper(self._server, lease_time, self._reports)
        self._leased_relay: LeasedRelay | None = None
        self._runner: threading.Thread | None = None

    def __repr__(self) -> str:
        """Name the Redis Stream and the state."""
        return f"<RedisRelay {self._stream!r} {self.state.value}>"

    @property
    def state(self) -> RelayState:
        """What it is doing."""
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
        """The figures up to now, as a copy."""
        return self._progress.statistics()

    def run(self) -> None:
        """Relay on the calling thread. Blocks until the stream ends or ``close`` is called.

        Raises:
            SSEClientError: The stream has ended with it: what came before it is written.
            RelayError: Redis refuses what waiting can't mend.
            RuntimeError: It was begun already.
        """
        self._begin()
        self._run()
        if self._error is not None:
            raise self._error

    def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """End it: drop the stream, give the lease back. Idempotent, from any thread.

        What has arrived and is not written comes again to the next holder of the lease.

        Args:
            timeout: How long to wait for its threads, in seconds. They end at once, unless Redis
                hangs. A first connection that does is left alone, and dropped once it comes about
                or its ``timeout=`` is over.
        """
        if not self._stop():
            self._finish()
            return
        with self._lock:
            relay = self._leased_relay
        if relay is not None:
            relay.stop()
        # Not on the thread that runs it: a signal handler may have come in the middle of ``run``.
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
        except Exception as error:  # noqa: BLE001  # to whoever asks for it
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
        while not self._stopping.is_set():
            reply = patience.ask(
                lambda: acquire(self._server, self._stream, self._owner, self._lease_time)
            )
            if isinstance(reply, Wait):
                self._progress.move(RelayState.STANDBY)
                self._stopping.wait(min(reply.seconds + 0.001, self._lease_time / _LOOKS))
                continue
            if self._serve(reply) is End.STREAM_ENDED:
                return

    def _serve(self, lease: Lease) -> End:
        """Relay under the lease, and give it back."""
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
        logger.info("%r: not relaying any more: %s", self._stream, end.value)
        return end

    def _reports(self) -> list[list[object]]:
        relay = self._leased_relay
        return [] if relay is None else [self._report.command(relay.waiting)]
