"""Turns the bytes of one connection into events in the channel, without I/O.

The stream's own reader thread or the shared reader drives it. It neither reads bytes nor blocks.
The driver passes it the bytes that have arrived, and then checks three attributes:

* ``is_blocked``: events wait for room in the channel. Until ``put_rest`` has put them, the driver
  must not read more bytes, so that backpressure reaches the server.
* ``has_ended``: an event has marked the end of the stream.
* ``deadline``: the moment by which bytes or room must be available.

Any other end of the stream is raised as an error, after all earlier events are in the channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.errors import EventTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Clock
    from sse_client.event_stream.buffer import DiagnosticBuffer
    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.event_stream.parser import EventStreamParser
    from sse_client.session.delivery import Delivery
    from sse_client.session.statistics import Statistics
    from sse_client.session.time_limits import Timekeeper


class Reception:
    """Processes the bytes of one connection. Not thread-safe. Never blocks.

    Args:
        parser: A new parser.
        delivery: Puts the events into the channel.
        timekeeper: Limits the time until the next event.
        buffer: Keeps the bytes that an error shows.
        statistics: Counts the bytes.
        clock: Measures how long events wait for room.
        on_first_event: Called when the first event has arrived.

    Attributes:
        parser: The parser.
        delivery: Puts the events into the channel.
        has_ended: Whether an event has marked the end of the stream.
        has_progressed: Whether any event has arrived.
    """

    __slots__ = (
        *("_batch", "_began", "_buffer", "_clock", "_failure", "_on_first_event"),
        *("_statistics", "_timekeeper", "_times_events", "delivery", "has_ended", "has_progressed"),
        "parser",
    )

    def __init__(  # noqa: PLR0917  # each step uses all of them
        self,
        parser: EventStreamParser,
        delivery: Delivery,
        timekeeper: Timekeeper,
        buffer: DiagnosticBuffer,
        statistics: Statistics,
        clock: Clock,
        *,
        on_first_event: Callable[[], object],
    ) -> None:
        self.parser = parser
        self.has_ended = False
        self.has_progressed = False
        self.delivery = delivery
        self._timekeeper = timekeeper
        self._times_events = timekeeper.times_events
        self._clock = clock
        self._on_first_event = on_first_event
        self._buffer = buffer
        self._statistics = statistics
        self._failure: Exception | None = None
        #: The events being delivered, and the time at which that began.
        self._batch: list[ServerSentEvent] = []
        self._began = 0.0
        delivery.wakes = None  # the previous connection may have been shared
        buffer.clear()
        timekeeper.opened()

    @property
    def is_blocked(self) -> bool:
        """Whether events wait for room. If so, ``receive`` must not be called."""
        return bool(self.delivery.rest)

    @property
    def deadline(self) -> float | None:
        """The moment, on the clock's ``monotonic``, by which bytes or room must come, or None."""
        return self._timekeeper.total_deadline if self.is_blocked else self._timekeeper.deadline

    def receive(self, chunk: bytes) -> None:
        """Process bytes that have arrived.

        Raises:
            Exception: An error that ends the connection or the stream, from the parser, the channel
                or a user's function.
        """
        size = len(chunk)
        parser = self.parser
        self._statistics.bytes += size
        # Heartbeats are not counted as a part of the event that follows them.
        self.delivery.undelivered_bytes = parser.unfinished_size + size
        if self._buffer.is_on:
            self._buffer.add(chunk)
        try:
            events = parser.feed(chunk)
            if events:
                self._deliver(events)
        except Exception as error:
            if isinstance(error, EventTooLargeError) and error.events:
                self._deliver(list(error.events))
                if self.has_ended:
                    return
            if not self.delivery.rest:
                raise
            self._failure = error

    def _deliver(self, events: list[ServerSentEvent]) -> None:
        if not self.has_progressed:
            self.has_progressed = True
            self._on_first_event()
        if self._times_events:
            self._batch, self._began = events, self._clock.monotonic()
        self.has_ended = self.delivery.deliver(events)
        if self._batch and not self.delivery.rest:
            self._delivered()

    def put_rest(self) -> None:
        """Put the events that have room now. Then raise the error that followed them, if any."""
        self.delivery.put_rest()
        if self.delivery.rest:
            return
        if self._failure is not None:
            raise self._failure
        if self._batch:
            self._delivered()

    def _delivered(self) -> None:
        batch, self._batch = self._batch, []
        if not self.has_ended:
            self._timekeeper.delivered(batch, self._began)
