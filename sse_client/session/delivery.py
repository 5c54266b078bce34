"""The way of the events from the reader thread into the channel, up to the end of the stream."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from sse_client.channel.incoming import ChannelClosed, IncomingChannel
from sse_client.http.aborting import ConnectionAborted
from sse_client.session.state import Request, StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sse_client.clock import Doorbell
    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.session.statistics import Statistics


class Delivery:
    """Puts events into a channel, which it holds weakly. For the reader thread.

    Args:
        channel: Where the events go.
        state: Asked before each step whether to go on.
        statistics: Where the events are counted.
        is_end: Whether an event announces the end of the stream; None if none does.
    """

    __slots__ = ("_channel", "_is_end", "_room", "_state", "_statistics", "undelivered_bytes")

    def __init__(
        self,
        channel: IncomingChannel,
        state: StreamState,
        statistics: Statistics,
        is_end: Callable[[ServerSentEvent], object] | None,
    ) -> None:
        self._channel = weakref.ref(channel)
        self._room: Doorbell = channel.room
        self._state = state
        self._statistics = statistics
        self._is_end = is_end
        #: How many bytes the events took that are delivered next.
        self.undelivered_bytes = 0

    def deliver(self, batch: list[ServerSentEvent]) -> bool:
        """Deliver the events before the one that announces the end; return whether there is one.

        Blocks until the channel has room.

        Raises:
            ConnectionAborted: The thread is to end.
            ChannelClosed, ChannelOverflowError: The channel takes no more, or was abandoned.
        """
        is_end = self._is_end
        if is_end is None:
            self._put(batch)
            return False
        count = 0
        try:
            while count < len(batch):
                if is_end(batch[count]):
                    return True
                count += 1
            return False
        finally:  # also where the test of the user's own raised
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
            # While it waits nothing but the doorbell is held: the channel may be abandoned
            # meanwhile.
            del channel
            if events:
                self._room.wait()
