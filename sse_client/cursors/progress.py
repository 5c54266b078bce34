"""Tracks how far a stream has been processed, from the acknowledged events. No I/O.

The events that were handed out but not acknowledged form a linked list, in their order. Each link,
and the head of the list, knows the last ID of the unbroken run of acknowledged events after it.
Acknowledging an event merges its run into the run of the link before it. So only unacknowledged
events take memory, and each step takes constant time. Links of equal events also form a ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sse_client.event_stream.events import ServerSentEvent


class HandedOut:
    """A link of the list: an event that was handed out. Equal events have separate links."""

    __slots__ = ("after", "before", "event", "newer_equal", "older_equal", "reached")

    def __init__(self, event: ServerSentEvent | None, reached: str) -> None:
        self.event = event  # None for the head of the list, and after it was acknowledged
        #: The position once this event and all earlier ones have been acknowledged.
        self.reached = reached
        self.before: HandedOut = self
        self.after: HandedOut = self
        #: The ring of links of equal events, in their order.
        self.older_equal: HandedOut = self
        self.newer_equal: HandedOut = self


class Progress:
    """Tracks which of the events handed out were acknowledged. Not thread-safe.

    Args:
        position: The ID after which the stream begins.
    """

    def __init__(self, position: str) -> None:
        # A ring: the link before the head is the event that was handed out last.
        self._head = HandedOut(None, position)
        #: For each event, its link. For equal events, the oldest link.
        self._oldest: dict[ServerSentEvent, HandedOut] = {}
        self._count = 0

    @property
    def position(self) -> str:
        """The ID up to which all events have been acknowledged."""
        return self._head.reached

    @property
    def unacknowledged(self) -> int:
        """The number of events handed out but not acknowledged."""
        return self._count

    def hand_out(self, event: ServerSentEvent) -> HandedOut:
        """Record that an event is handed out. Return its link, for ``finish``."""
        link, head = HandedOut(event, event.id), self._head
        link.before, link.after = head.before, head
        link.before.after = head.before = link
        oldest = self._oldest.setdefault(event, link)
        if oldest is not link:
            link.older_equal, link.newer_equal = oldest.older_equal, oldest
            link.older_equal.newer_equal = oldest.older_equal = link
        self._count += 1
        return link

    def acknowledge(self, event: ServerSentEvent) -> None:
        """Record that an event was processed: the oldest of the equal ones.

        Raises:
            ValueError: No such event is handed out, or it was already acknowledged.
        """
        oldest = self._oldest.get(event)
        if oldest is None:
            raise ValueError(
                "this event cannot be acknowledged: the session has not handed it out, "
                "or it was already acknowledged"
            )
        self.finish(oldest)

    def finish(self, link: HandedOut) -> bool:
        """Record that the event of this link was processed. Return False if it already was."""
        event = link.event
        if event is None:
            return False
        link.event = None
        if link.newer_equal is link:
            del self._oldest[event]
        elif self._oldest[event] is link:
            self._oldest[event] = link.newer_equal
        older, newer = link.older_equal, link.newer_equal
        older.newer_equal, newer.older_equal = newer, older
        link.before.reached = link.reached
        link.before.after, link.after.before = link.after, link.before
        del link.older_equal, link.newer_equal
        del link.before, link.after  # so that a holder of this link keeps no others alive
        self._count -= 1
        return True
