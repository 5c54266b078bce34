"""Batches: the events that wait in the channel, without repeated ones, written by one script call.

A server that is given a ``Last-Event-ID`` sends the events after it (WHATWG HTML, section 9.2.4).
An event that sets its own ID is recognised by it. Events without one carry the ID of an earlier
event, so they come again after that ID: the position alone can't tell them apart. Therefore the
position is the ID and how many events in a row had it. After a new connection that many events,
less the one that set the ID, are left out as long as they still have that ID. The first event with
another ID ends this, so a server that resumes after the last of several events of one ID is
followed, too.

The limits of this:

* Without any ID there is nothing to ask for. Whatever the server sends is relayed.
* A server may send events without IDs only once, live, and not again after the ID before them. Then
  ``within - 1`` new ones would be left out. ``resends_unnumbered=False`` relays all.
* An ID may come in a block without data. The first event after it, if it has no ID itself, is taken
  for the one that set the ID, and comes again.
"""

from __future__ import annotations

import enum
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client import ServerSentEvent
from sse_client.relay.connection import text_of
from sse_client.relay.lease import Position, milliseconds
from sse_client.relay.scripts import WRITE

if TYPE_CHECKING:
    from sse_client import IncomingChannel
    from sse_client.relay.connection import RedisServer, StopFlag
    from sse_client.relay.lease import Lease

#: What one script call takes at most. Redis does nothing else meanwhile: this many entries take it
#: about a millisecond, and this many bytes a few.
BATCH_EVENTS = 500
BATCH_BYTES = 1024 * 1024

#: How often a batch that waits for more looks whether it is full.
_LOOKS = 4

#: Put into the channel where a connection was opened; known by being this very object.
CONNECTION_OPENED = ServerSentEvent(event="sse-client:opened")


class Outcome(enum.Enum):
    """What became of a batch; the values are what the script returns."""

    WRITTEN = "written"
    AGAIN = "again"
    MOVED = "moved"
    LOST = "lost"


@dataclass(frozen=True)
class WriteOptions:
    """How entries are written.

    Attributes:
        source: What each entry says of where it came from.
        max_length: How long the stream may get, about; None for any length.
        batch_events: How many events are written at once, at most.
        batch_time: How long a batch waits for more events behind its first one, in seconds.
        resends_unnumbered: Whether the server repeats events without IDs.
        begin_after: The ID after which to begin where nothing was ever relayed.
    """

    source: str
    max_length: int | None = None
    batch_events: int = BATCH_EVENTS
    batch_time: float = 0.0
    resends_unnumbered: bool = True
    begin_after: str = ""


@dataclass
class Batch:
    """Events that are written together.

    Attributes:
        fields: Event, data and ID of each, one after the other.
        repeated: How many were left out, because they were relayed before.
    """

    fields: list[bytes]
    repeated: int = 0

    @property
    def count(self) -> int:
        """How many entries it makes."""
        return len(self.fields) // 3


class RepeatFilter:
    """Lets each event through once, over any number of connections. For one thread.

    Args:
        last_event_id: The ID from which the first connection goes on, ``""`` for none.
        within: How many events in a row had it.
        resends_unnumbered: Whether the server repeats events without IDs.
    """

    def __init__(self, last_event_id: str, within: int, *, resends_unnumbered: bool = True) -> None:
        self.id = last_event_id
        self.within = within
        self._resends = resends_unnumbered
        self._expected = 0

    def connection_opened(self) -> None:
        """Expect the events again that came with the last ID, but for the one that has set it."""
        self._expected = max(0, self.within - 1) if self.id and self._resends else 0

    def admits(self, event: ServerSentEvent) -> bool:
        """Return whether the event is a new one, and then take it for the last."""
        if self._expected and event.id == self.id:
            self._expected -= 1
            return False
        self._expected = 0
        self.within = self.within + 1 if event.id == self.id else 1
        self.id = event.id
        return True


class BatchReader:
    """Takes what is waiting in a channel, within bounds. For one thread.

    Args:
        channel: The channel.
        repeats: Which events to leave out.
        most: How many events a batch holds at most.
        patience: How long a batch waits for more events behind its first one, in seconds.
        stopping: Set once that waiting is to end.
    """

    def __init__(
        self,
        channel: IncomingChannel,
        repeats: RepeatFilter,
        most: int,
        *,
        patience: float,
        stopping: StopFlag,
    ) -> None:
        self._channel = channel
        self._repeats = repeats
        self._most = most
        self._patience = patience
        self._stopping = stopping

    def take(self) -> Batch:
        """Wait for an event, and return it with those behind it that are there already.

        Raises:
            ChannelClosed, SSEClientError: As ``channel.get``; only if there is nothing else.
        """
        batch = Batch([])
        size = self._add(batch, self._channel.get())
        if self._patience:
            self._wait_for_more()
        while batch.count < self._most and size < BATCH_BYTES:
            try:
                event = self._channel.get_nowait()
            except queue.Empty:
                break
            except Exception:
                if not batch.count:
                    raise
                break  # the end is told to the next call
            size += self._add(batch, event)
        return batch

    def _wait_for_more(self) -> None:
        """Let events gather, without waking for each of them: that is what costs most."""
        for _ in range(_LOOKS):
            if self._channel.qsize() + 1 >= self._most:
                return
            if self._stopping.wait(self._patience / _LOOKS):
                return

    def _add(self, batch: Batch, event: ServerSentEvent) -> int:
        if event is CONNECTION_OPENED:
            self._repeats.connection_opened()
            return 0
        if not self._repeats.admits(event):
            batch.repeated += 1
            return 0
        fields = [event.event.encode(), event.data.encode(), event.id.encode()]
        batch.fields += fields
        return sum(map(len, fields))


class StreamWriter:
    """Writes batches and the position under a lease. For one thread.

    The sequence of entries is compared and moved by the script itself, so a batch may be sent any
    number of times: whether or not a reply was lost, it is written once.
    """

    def __init__(
        self, server: RedisServer, lease: Lease, *, source: str, max_length: int | None
    ) -> None:
        self._server = server
        self._lease = lease
        self._source = source
        self._max_length: Any = "" if max_length is None else max_length
        self.sequence = lease.position.sequence

    def write(self, batch: Batch, repeats: RepeatFilter) -> Outcome:
        """Send it once, in one round trip. ``repeats`` is behind its last event."""
        lease = self._lease
        position = Position(repeats.id, repeats.within, self.sequence + batch.count)
        reply = self._server.run(
            WRITE,
            [lease.name, lease.key, lease.state_key],
            [
                *(lease.text, milliseconds(lease.seconds), self.sequence),
                *(position.id, position.within, self._max_length, self._source),
                *batch.fields,
            ],
        )
        outcome = Outcome(text_of(reply))
        if outcome in {Outcome.WRITTEN, Outcome.AGAIN}:
            self.sequence = position.sequence
        return outcome
