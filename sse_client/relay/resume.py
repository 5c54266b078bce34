"""Which events come again after a connection was opened anew, and were relayed already.

A server that is given a ``Last-Event-ID`` sends what came after it (WHATWG HTML, section 9.2.4). An
event that sets an ID of its own is told by it. Events without one carry the ID of an event before
them, so after that ID they come again: the position alone can't tell them apart. Hence the position
is the ID and how many events in a row had it, and that many, less the one that has set it, are
left out behind a new connection, as long as they still have that ID. The first event of another ID
ends it, so a server that goes on behind the last of several events of one ID is followed, too.

What that can't do:

* Without any ID there is nothing to ask for. What the server sends is relayed, whatever it is.
* A server that sends events without IDs once only, live, and not again behind the ID before them:
  then ``within - 1`` new ones would be left out. ``resends_unnumbered=False`` relays all.
* An ID that comes in a block without data: the first event behind it, if it has no ID itself, is
  taken for the one that has set it, and comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sse_client import ServerSentEvent


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
