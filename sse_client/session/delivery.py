"""Puts events into the channel, up to the one that ends the stream."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from sse_client.channel.incoming import ChannelClosed, IncomingChannel
from sse_client.errors import ErrorEventError
from sse_client.http.aborting import ConnectionAborted
from sse_client.session.state import Request, StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sse_client.clock import Clock
    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.session.statistics import Statistics
    from sse_client.session.time_limits import Timekeeper


class Delivery:
    """Puts events into a channel, which it references weakly. Only the reader thread uses it.

    Args:
        channel: Receives the events.
        state: Checked for a request to stop before each step.
        statistics: Counts the events.
        timekeeper: Limits the wait for room.
        clock: Gives the time of the last event.
        is_end: Returns whether an event marks the end of the stream. None if no event does.
        is_error: Returns whether an event reports an error of the server. None if no event does.
    """

    __slots__ = (
        "_channel",
        "_clock",
        "_is_end",
        "_is_error",
        "_may_drop",
        "_state",
        "_statistics",
        "_timekeeper",
        "rest",
        "undelivered_bytes",
        "wakes",
    )

    def __init__(
        self,
        channel: IncomingChannel,
        state: StreamState,
        statistics: Statistics,
        timekeeper: Timekeeper,
        clock: Clock,
        *,
        is_end: Callable[[ServerSentEvent], object] | None,
        is_error: Callable[[ServerSentEvent], object] | None,
    ) -> None:
        self._channel = weakref.ref(channel)
        self._state = state
        self._statistics = statistics
        self._timekeeper = timekeeper
        self._clock = clock
        self._is_end = is_end
        self._is_error = is_error
        self._may_drop = channel.overflow != "block"
        #: Collects the functions that wake consumers. None wakes them at once.
        self.wakes: dict[Callable[[], object], None] | None = None
        #: The events that have no room yet.
        self.rest: Sequence[ServerSentEvent] = ()
        #: The size in the stream of the next events to deliver, in bytes. Set before each batch.
        self.undelivered_bytes = 0

    def deliver(self, batch: list[ServerSentEvent]) -> bool:
        """Put the events before the one that marks the end. Return whether there is such an event.

        Does not block: ``put_rest`` puts the events without room later.

        Raises:
            ErrorEventError: An event reports an error. The events before it are put.
            ConnectionAborted, ChannelClosed, ChannelOverflowError, TotalTimeoutError: As for
                ``put_rest``.
        """
        is_end, is_error = self._is_end, self._is_error
        if is_end is None and is_error is None:
            statistics = self._statistics  # as in ``_put_new``, without a call
            statistics.events += len(batch)
            statistics.last_event_at = self._clock.time()
            self._put(batch)
            return False
        count = 0
        try:
            for event in batch:
                if is_error is not None and is_error(event):
                    message = f"the server reported an error with an event {event.event!r}"
                    raise ErrorEventError(message, event=event)
                if is_end is not None and is_end(event):
                    return True
                count += 1
            return False
        finally:  # also if the user's function raised an error
            if count:
                self._put_new(batch[:count])
            else:
                self.undelivered_bytes = 0

    def _put_new(self, events: Sequence[ServerSentEvent]) -> None:
        self._statistics.events += len(events)
        self._statistics.last_event_at = self._clock.time()
        self._put(events)

    def put_rest(self) -> None:
        """Put the events that have room now. Does not block.

        The channel's ``room`` rings when another call is worthwhile.

        Raises:
            ConnectionAborted: The stream must end.
            ChannelClosed, ChannelOverflowError: The channel accepts no more, or was abandoned.
            TotalTimeoutError: The stream lasted too long. The events that arrived are delivered.
        """
        rest, self.rest = self.rest, ()
        self._put(rest)

    def _put(self, events: Sequence[ServerSentEvent]) -> None:
        channel = self._channel()
        if channel is None:
            raise ChannelClosed
        request = self._state.request
        if request and request is not Request.RECONNECT:
            if request is Request.DRAIN:
                channel.append_arrived(events)
            raise ConnectionAborted
        rest = channel.offer(events, self.undelivered_bytes, self.wakes)
        if self._may_drop:
            self._statistics.dropped = channel.dropped
        if rest:
            if len(rest) < len(events):
                self.undelivered_bytes = 0
            if self._timekeeper.total_left == 0.0:
                channel.append_arrived(rest)
                raise self._timekeeper.total_error()
            self.rest = rest
