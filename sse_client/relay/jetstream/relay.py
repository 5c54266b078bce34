"""The relay from an event stream into a stream of NATS JetStream, which writes each event once.

What can go wrong, and what protects against it:

* A crash between writing an event and saving the position. This cannot happen: a message holds
  both (``stream``).
* The connection breaks before the reply to a batch. The relay reads the last message, and continues
  after the last one that is written (``writer``).
* A relay is paused (SIGSTOP), another takes over, and the first resumes in the middle of a write.
  JetStream refuses the late write, because its condition is not met. That relay stands by.
* JetStream loses messages, for example because a machine failed before they were on the disk. The
  position has gone back with them, and the relay opens the event stream again after it.
* NATS is unavailable. The current batch is sent again, the channel fills, and TCP's backpressure
  reaches the server of the events.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sse_client.relay.held_lease import LEASE_TIME, new_owner
from sse_client.relay.jetstream.bucket import BUCKET, Bucket
from sse_client.relay.jetstream.connection import NatsServer
from sse_client.relay.jetstream.failures import NatsError
from sse_client.relay.jetstream.lease import BucketKeeper, BucketLease, Claim, acquire
from sse_client.relay.jetstream.stream import JetStreamStream, check_stream_name
from sse_client.relay.jetstream.writer import MessageWriter
from sse_client.relay.options import check_lease_time
from sse_client.relay.single_relay import SingleRelay
from sse_client.relay.source import StreamSource
from sse_client.relay.writer import WriteOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sse_client import HttpClient
    from sse_client.plugins.sse_config import StreamArguments
    from sse_client.relay.held_lease import Wait

logger = logging.getLogger("sse_client")


class JetStreamRelay(SingleRelay[BucketLease]):
    """Relays one event stream into one stream of JetStream; any number of relays may run for it.

    Args:
        client: A client with the plugin ``SSE``. The relay does not close it.
        url: The address of the event stream.
        nats: The address of NATS, see ``parse_addresses``.
        stream: The name of the stream in JetStream. If it doesn't exist, the relay creates it.
        lease_time: The time after which the lease expires unless it is renewed, in seconds. All
            relays that share the bucket must have the same one.
        bucket: The bucket of the leases.
        **arguments: The other arguments of ``client.sse``, as for ``RedisRelay``.

    Raises:
        ImportError: The package ``nats-py`` is missing (extra ``nats``).
        TypeError, ValueError: An option is wrong; the message names it.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        *,
        nats: str,
        stream: str,
        lease_time: float = LEASE_TIME,
        bucket: str = BUCKET,
        **arguments: Unpack[StreamArguments],
    ) -> None:
        source = StreamSource(client, url, arguments)
        check_stream_name(stream)
        check_lease_time(lease_time)
        owner = new_owner()
        self._server = NatsServer(nats, owner)
        super().__init__(
            source,
            stream,
            owner=owner,
            target=self._server,
            keeper=BucketKeeper(lease_time),
            options=WriteOptions(source.shown, begin_after=source.begin_after),
            lease_time=lease_time,
        )
        self._jetstream = JetStreamStream(self._server, stream)
        self._bucket = Bucket(self._server, bucket)
        self._claim = Claim(stream, owner, source.identity, self._current_figures)

    def _acquire(self) -> BucketLease | Wait:
        stream = self._jetstream
        info = stream.info()
        if info is None:
            info = stream.create()
            logger.warning(
                "%r: the stream is created, with one replica and no limits", self._stream
            )
        stream.adopt(info)
        self._bucket.prepare(self._lease_time, stream.replicas)
        lease = acquire(self._bucket, self._claim, self._lease_time)
        if isinstance(lease, BucketLease):
            try:
                self._start(lease)
            except BaseException:
                lease.release()
                raise
        return lease

    def _start(self, lease: BucketLease) -> None:
        """Read the position from which to relay, after the lease is taken."""
        last = self._jetstream.last()
        info = self._jetstream.info()
        if info is None or info["state"]["last_seq"] != last.sequence:
            raise NatsError(
                "the last message of the stream is not the newest one: another relay is writing, "
                "or the newest one was deleted",
                passes=True,
            )
        lease.start_from(last)
        # The messages only hold the address without the digest of its query.
        source = self._source
        lease.before = source.identity if last.source == source.shown else last.source

    def _writer(self, lease: BucketLease) -> MessageWriter:
        return MessageWriter(self._jetstream, lease.last, self._options)

    def _failed(self) -> None:
        """Report nothing: the value of a lease that is released is gone."""

    def _current_figures(self) -> dict[str, object]:
        relay = self._leased_relay
        if relay is None:  # the lease is just being taken
            return {**self._report.fields(0), "state": "starting"}
        return self._report.fields(relay.waiting)
