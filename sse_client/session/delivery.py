"""The way of the events from the reader thread into the channel, up to the end of the stream."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sse_client.channel.incoming import IncomingChannel
    from sse_client.clock import Doorbell
    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.session.state import Statistics


class Stopped(Exception):  # noqa: N818  # no error, but the way out
    """Unwinds the reader thread once it was told to stop."""


class Delivery:
    """Puts events into a channel, which it holds weakly. For the reader thread.

    Args:
        channel: Where the events go.
        statistics: Where they are counted.
        is_end: Whether an event announces the end of the stream; None if none does.
    """

    def __init__(
        self,
        channel: IncomingChannel,
        statistics: Statistics,
        is_end: Callable[[ServerSentEvent], object] | None,
    ) -> None:
        self._channel = weakref.ref(channel)
        self._room: Doorbell = channel.room
        self._statistics = statistics
        self._is_end = is_end
        #: How many bytes the events took that are delivered next.
        self.undelivered_bytes = 0
        #: Whether what has arrived is still delivered once the thread was told to stop.
        self.is_draining = False

    def deliver(self, batch: list[ServerSentEvent], raise_if_stopped: Callable[[], None]) -> bool:
        """Deliver the events before the one that announces the end; return whether there is one.

        Blocks until the channel has room.

        Raises:
            Stopped: ``raise_if_stopped`` raised it, or nobody wants the events any more.
            ChannelClosed, ChannelOverflowError: The channel takes no more.
        """
        is_end = self._is_end
        if is_end is None:
            self._put(batch, raise_if_stopped)
            return False
        count = 0
        try:
            while count < len(batch):
                if is_end(batch[count]):
                    return True
                count += 1
            return False
        finally:  # also where the test of the user's own raised
            self._put(batch[:count], raise_if_stopped)

    def _put(self, events: Sequence[ServerSentEvent], raise_if_stopped: Callable[[], None]) -> None:
        """Put the events into the channel, waiting for room."""
        self._statistics.events += len(events)
        size, self.undelivered_bytes = self.undelivered_bytes, 0
        while events:
            channel = self._channel()
            if channel is None:
                raise Stopped  # abandoned
            try:
                raise_if_stopped()
            except Stopped:
                if self.is_draining:
                    channel.append_arrived(events)
                raise
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
