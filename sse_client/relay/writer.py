"""Batches: the events that wait in the channel, without repeated ones, written by one script call.

A server that gets a ``Last-Event-ID`` sends the events after it (WHATWG HTML, section 9.2.4). An
event that sets its own ID is identified by it. Events without an ID carry the last ID before them.
The server sends them again after that ID, and the ID alone can't distinguish them. Therefore the
position consists of the ID and the number of consecutive events that had it. After a new connection
that number of events, less the one that set the ID, is left out while they still have that ID. The
first event with another ID ends this. So it also works with a server that resumes after the last of
several events with one ID.

The limits of this:

* Without any ID a relay cannot ask for missed events. It relays whatever the server sends.
* A server may send events without IDs only once, live, and not repeat them after the ID before
  them. Then ``within - 1`` new events would be left out. ``resends_unnumbered=False`` relays all of
  them.
* An ID may arrive in a block without data. If the first event after it has no ID, it is taken for
  the event that set the ID, and is written twice after a break.
"""

from __future__ import annotations

import enum
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sse_client import ServerSentEvent
from sse_client.relay.connection import text_of
from sse_client.relay.held_lease import Position
from sse_client.relay.lease import milliseconds
from sse_client.relay.scripts import WRITE

if TYPE_CHECKING:
    from sse_client import IncomingChannel
    from sse_client.relay.connection import RedisServer
    from sse_client.relay.lease import Lease
    from sse_client.relay.stop_flag import StopFlag

#: The maximum size of one script call. Redis does nothing else meanwhile: this many entries take it
#: about a millisecond, and this many bytes a few.
BATCH_EVENTS = 500
BATCH_BYTES = 1024 * 1024

#: How many times a batch that waits for more events checks whether it is full.
_LOOKS = 4

#: Put into the channel when a connection was opened; recognised by identity.
CONNECTION_OPENED = ServerSentEvent(event="sse-client:opened")


class Outcome(enum.Enum):
    """The outcome of a batch; the values are what the script returns."""

    WRITTEN = "written"
    AGAIN = "again"
    MOVED = "moved"
    LOST = "lost"


@dataclass(frozen=True)
class WriteOptions:
    """How entries are written.

    Attributes:
        source: The field ``source`` of each entry.
        max_length: The approximate maximum length of the stream; None for any length.
        batch_events: The maximum number of events in a batch.
        batch_time: How long a batch waits for more events after its first one, in seconds.
        resends_unnumbered: Whether the server repeats events without IDs.
        begin_after: The ID after which to start if nothing was ever relayed.
        wait_replicas: The number of replicas that must have a batch before it counts as written.
    """

    source: str
    max_length: int | None = None
    batch_events: int = BATCH_EVENTS
    batch_time: float = 0.0
    resends_unnumbered: bool = True
    begin_after: str = ""
    wait_replicas: int = 0


@dataclass
class Batch:
    """Events that are written together.

    Attributes:
        fields: Event, data and ID of each event, one after the other.
        repeated: The number of events that were left out, because they were relayed before.
        size: The size of the events in bytes.
        is_full: Whether the batch has reached its limit, so that more events may be waiting.
    """

    fields: list[bytes]
    repeated: int = 0
    size: int = 0
    is_full: bool = False

    @property
    def count(self) -> int:
        """The number of entries."""
        return len(self.fields) // 3


class RepeatFilter:
    """Lets each event through once, over any number of connections. For one thread.

    Args:
        last_event_id: The ID after which the first connection continues, ``""`` for none.
        within: The number of consecutive events that had it.
        resends_unnumbered: Whether the server repeats events without IDs.
    """

    def __init__(self, last_event_id: str, within: int, *, resends_unnumbered: bool = True) -> None:
        self.id = last_event_id
        self.within = within
        self._resends = resends_unnumbered
        self._expected = 0

    def connection_opened(self) -> None:
        """Expect the events with the last ID again, except the one that set it."""
        self._expected = max(0, self.within - 1) if self.id and self._resends else 0

    def admits(self, event: ServerSentEvent) -> bool:
        """Return whether the event is new; if so, it becomes the last one."""
        if self._expected and event.id == self.id:
            self._expected -= 1
            return False
        self._expected = 0
        self.within = self.within + 1 if event.id == self.id else 1
        self.id = event.id
        return True


class BatchReader:
    """Takes the events that wait in a channel, within bounds. For one thread.

    Args:
        channel: The channel.
        repeats: Decides which events to leave out.
        most: The maximum number of events in a batch.
        patience: How long a batch waits for more events after its first one, in seconds.
        stopping: Set when that wait is to end.
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
        #: Since when the first event of the next batch waits, as seen by ``take_waiting``.
        self._waits_since: float | None = None

    def take(self) -> Batch:
        """Wait for an event, and return it with those that have arrived after it.

        Raises:
            ChannelClosed, SSEClientError: As ``channel.get`` does, if there is no event left.
        """
        batch = Batch([])
        self._add(batch, self._channel.get())
        if self._patience:
            self._wait_for_more()
        self._add_waiting(batch)
        return batch

    def take_waiting(self, now: float) -> Batch | None:
        """Return the events that have arrived; None if there are none, or they wait for more.

        Args:
            now: The time of the monotonic clock.

        Raises:
            ChannelClosed, SSEClientError: As ``take`` does.
        """
        waiting = self._channel.qsize()
        if not (waiting or self._channel.is_shutdown):
            return None
        if waiting and self._patience and waiting < self._most:
            if self._waits_since is None:
                self._waits_since = now
            if now - self._waits_since < self._patience:
                return None
        self._waits_since = None
        batch = Batch([])
        self._add_waiting(batch)
        return batch if batch.count or batch.repeated else None

    def _add_waiting(self, batch: Batch) -> None:
        while batch.count < self._most and batch.size < BATCH_BYTES:
            try:
                event = self._channel.get_nowait()
            except queue.Empty:
                return
            except Exception:
                if not batch.count:
                    raise
                return  # the next call raises the error
            self._add(batch, event)
        batch.is_full = True

    def _wait_for_more(self) -> None:
        """Let events gather, without waking for each of them, which would cost most."""
        for _ in range(_LOOKS):
            if self._channel.qsize() + 1 >= self._most:
                return
            if self._stopping.wait(self._patience / _LOOKS):
                return

    def _add(self, batch: Batch, event: ServerSentEvent) -> None:
        if event is CONNECTION_OPENED:
            self._repeats.connection_opened()
        elif self._repeats.admits(event):
            fields = [event.event.encode(), event.data.encode(), event.id.encode()]
            batch.fields += fields
            batch.size += sum(map(len, fields))
        else:
            batch.repeated += 1


class BatchWriter(Protocol):
    """Writes batches and the position. For one thread.

    A batch may be sent any number of times, for example after a lost reply, and is written once.
    """

    @property
    def sequence(self) -> int:
        """The number of entries that were ever written."""

    def write(self, batch: Batch, repeats: RepeatFilter) -> Outcome:
        """Write a batch. Blocks for the system.

        ``repeats`` has admitted the last event of the batch, and no later one.
        """


class StreamWriter:
    """Writes batches and the position into Redis under a lease. For one thread.

    The script itself compares and increases the sequence number. So a batch may be sent any number
    of times, for example after a lost reply, and is written once.
    """

    def __init__(
        self,
        server: RedisServer,
        lease: Lease,
        options: WriteOptions,
    ) -> None:
        self._server = server
        self._lease = lease
        self._source = options.source
        self._max_length: Any = "" if options.max_length is None else options.max_length
        self._wait_replicas = options.wait_replicas
        self.sequence = lease.position.sequence

    def call(self, batch: Batch, repeats: RepeatFilter) -> tuple[list[str], list[Any]]:
        """Return the keys and arguments of the script that writes a batch.

        ``repeats`` has admitted the last event of the batch, and no later one.
        """
        lease = self._lease
        position = Position(repeats.id, repeats.within, self.sequence + batch.count)
        keys = [lease.name, lease.key, lease.state_key]
        return keys, [
            *(lease.text, milliseconds(lease.seconds), self.sequence),
            *(position.id, position.within, self._max_length, self._source),
            *batch.fields,
        ]

    def write(self, batch: Batch, repeats: RepeatFilter) -> Outcome:
        """Send a batch, in one round trip; see ``call``."""
        call = self.call(batch, repeats)
        if self._wait_replicas:
            # If it is sent again, it is already written, and this waits for the replicas again.
            reply = self._server.run_on_replicas(WRITE, *call, self._wait_replicas)
        else:
            reply = self._server.run(WRITE, *call)
        return self.note(batch, Outcome(text_of(reply)))

    def note(self, batch: Batch, outcome: Outcome) -> Outcome:
        """Advance the sequence if a batch is written, and return its outcome."""
        if outcome in {Outcome.WRITTEN, Outcome.AGAIN}:
            self.sequence += batch.count
        return outcome
