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
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.relay.connection import RedisServer
from sse_client.relay.held_lease import LEASE_TIME, new_owner
from sse_client.relay.lease import Lease, acquire
from sse_client.relay.lease_keeper import LeaseKeeper
from sse_client.relay.options import (
    check_batch_time,
    check_count,
    check_lease_time,
    check_name,
    check_replicas,
)
from sse_client.relay.single_relay import SingleRelay
from sse_client.relay.source import StreamSource
from sse_client.relay.writer import BATCH_EVENTS, StreamWriter, WriteOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sse_client import HttpClient
    from sse_client.plugins.sse_config import StreamArguments
    from sse_client.relay.connection import RedisAddress
    from sse_client.relay.held_lease import Wait


class RedisRelay(SingleRelay[Lease]):
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
        event_stream = StreamSource(client, url, arguments)
        check_name("stream", stream)
        check_count("max_length", max_length, optional=True)
        check_count("batch_events", batch_events)
        check_batch_time(batch_time)
        check_lease_time(lease_time)
        options = WriteOptions(
            source=event_stream.shown if source is None else source,
            max_length=max_length,
            batch_events=batch_events,
            batch_time=batch_time,
            resends_unnumbered=resends_unnumbered,
            begin_after=event_stream.begin_after,
            wait_replicas=check_replicas(wait_replicas),
        )
        owner = new_owner()
        self._server = RedisServer(redis, owner)
        super().__init__(
            event_stream,
            stream,
            owner=owner,
            target=self._server,
            keeper=LeaseKeeper(self._server, lease_time, self._reports),
            options=options,
            lease_time=lease_time,
        )

    def _acquire(self) -> Lease | Wait:
        return acquire(
            self._server,
            self._stream,
            self._owner,
            self._lease_time,
            source=self._source.identity,
        )

    def _writer(self, lease: Lease) -> StreamWriter:
        return StreamWriter(self._server, lease, self._options)

    def _failed(self) -> None:
        self._report.send(self._server)

    def _reports(self) -> list[list[object]]:
        relay = self._leased_relay
        return [] if relay is None else [self._report.command(relay.waiting)]
