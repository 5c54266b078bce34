"""How far a stream has been processed: arithmetic alone, on events that are acknowledged.

The events that were handed out and not acknowledged yet stand in a chain, in their order. Each of
them, and the head of the chain, knows the ID that an unbroken run of acknowledged events behind it
has reached. Acknowledging one merges its run into that of the one before it. So it takes memory
for the events that are not acknowledged, and for nothing else, and each step takes the same time.
For that, the links of equal events form a ring of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sse_client.event_stream.events import ServerSentEvent


class HandedOut:
    """An event that was handed out: one link of the chain. Two of equal events are two."""

    __slots__ = ("after", "before", "event", "newer_equal", "older_equal", "reached")

    def __init__(self, event: ServerSentEvent | None, reached: str) -> None:
        self.event = event  # None for the head of the chain, and once it was acknowledged
        #: The ID where the position will be once all before it, and it, have been acknowledged.
        self.reached = reached
        self.before: HandedOut = self
        self.after: HandedOut = self
        #: The ring of the links of equal events, in their order.
        self.older_equal: HandedOut = self
        self.newer_equal: HandedOut = self


class Progress:
    """Which of the events handed out were acknowledged. For one thread at a time; no I/O.

    Args:
        position: The ID after which the stream begins.
    """

    def __init__(self, position: str) -> None:
        # A ring: before the head is the one that was handed out last.
        self._head = HandedOut(None, position)
        #: The links by their events: of equal ones, the oldest.
        self._oldest: dict[ServerSentEvent, HandedOut] = {}
        self._count = 0

    @property
    def position(self) -> str:
        """The ID of the last event of the unbroken run of acknowledged ones from the beginning."""
        return self._head.reached

    @property
    def unacknowledged(self) -> int:
        """How many events are handed out and not acknowledged."""
        return self._count

    def hand_out(self, event: ServerSentEvent) -> HandedOut:
        """Take note that an event is handed out next. Return its link, for ``finish``."""
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
        """Take note that an event was processed, or an equal one: the oldest of them.

        Raises:
            ValueError: None that is handed out is like it, or it was acknowledged already.
        """
        oldest = self._oldest.get(event)
        if oldest is None:
            raise ValueError(
                "this event cannot be acknowledged: the session has not handed it out, "
                "or it was acknowledged already"
            )
        self.finish(oldest)

    def finish(self, link: HandedOut) -> bool:
        """Take note that this very event was processed; return False if it is known already."""
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
        del link.before, link.after  # who still holds this link holds no other
        self._count -= 1
        return True
