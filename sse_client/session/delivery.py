"""The way of the events from the reader thread into the channel, up to the end of the stream."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from sse_client.channel.incoming import ChannelClosed, IncomingChannel
from sse_client.errors import ErrorEventError
from sse_client.http.aborting import ConnectionAborted
from sse_client.session.state import Request, StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sse_client.clock import Clock, Doorbell
    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.session.statistics import Statistics
    from sse_client.session.time_limits import Timekeeper


class Delivery:
    """Puts events into a channel, which it holds weakly. For the reader thread.

    Args:
        channel: Where the events go.
        state: Asked before each step whether to go on.
        statistics: Where the events are counted.
        timekeeper: Limits the wait for room.
        clock: What that wait is measured with.
        is_end: Whether an event announces the end of the stream; None if none does.
        is_error: Whether an event reports an error of the server; None if none does.
    """

    __slots__ = (
        "_channel",
        "_clock",
        "_is_end",
        "_is_error",
        "_room",
        "_state",
        "_statistics",
        "_timekeeper",
        "undelivered_bytes",
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
        self._room: Doorbell = channel.room
        self._state = state
        self._statistics = statistics
        self._timekeeper = timekeeper
        self._clock = clock
        self._is_end = is_end
        self._is_error = is_error
        #: How many bytes the events took that are delivered next.
        self.undelivered_bytes = 0

    def deliver(self, batch: list[ServerSentEvent]) -> bool:
        """Deliver the events before the one that announces the end; return whether there is one.

        Blocks until the channel has room.

        Raises:
            ConnectionAborted: The thread is to end.
            ChannelClosed, ChannelOverflowError: The channel takes no more, or was abandoned.
            ErrorEventError: An event reports an error; those before it have been delivered.
            TotalTimeoutError: The stream lasted too long; what has arrived has been delivered.
        """
        is_end, is_error = self._is_end, self._is_error
        if is_end is None and is_error is None:
            self._put(batch)
            return False
        count = 0
        try:
            for event in batch:
                if is_error is not None and is_error(event):
                    message = f"the server reported an error by an event {event.event!r}"
                    raise ErrorEventError(message, event=event)
                if is_end is not None and is_end(event):
                    return True
                count += 1
            return False
        finally:  # also if a test of the user's own raised
            self._put(batch[:count])

    def _put(self, events: Sequence[ServerSentEvent]) -> None:
        """Put the events into the channel, waiting for room."""
        self._statistics.events += len(events)
        size, self.undelivered_bytes = self.undelivered_bytes, 0
        while events:
            channel = self._channel()
            if channel is None:
                raise ChannelClosed
            request = self._state.request
            if request is Request.DRAIN:
                channel.append_arrived(events)
            if request >= Request.DRAIN:
                raise ConnectionAborted
            rest = channel.offer(events, size)
            if len(rest) < len(events):
                size = 0
            events = rest
            self._statistics.dropped = channel.dropped
            if events and self._timekeeper.total_left == 0.0:
                channel.append_arrived(events)
                raise self._timekeeper.total_error()
            # While it waits nothing but the doorbell is held: the channel may be abandoned
            # meanwhile.
            del channel
            if events:
                self._wait_for_room()

    def _wait_for_room(self) -> None:
        deadline = self._timekeeper.total_deadline
        if deadline is None:
            self._room.wait()
        else:
            self._clock.wait_until(self._room, deadline)
