"""Events in the wire format, one behind the other: what ``--raw`` prints and a recording holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sse_client import ServerSentEvent

_PLACEHOLDER = "-"


class WireFormat:
    """Writes the events of a stream so that parsing gives the same ones. For one thread at a time.

    Args:
        last_event_id: The last event ID of what stands before the first of them.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self._last_event_id = last_event_id

    def block(self, event: ServerSentEvent, *, has_data: bool = True) -> str:
        """Write an event, blank line included.

        Args:
            event: The event.
            has_data: Whether a parser dispatched it for its data, not for a comment alone. An event
                does not tell: both may have the same fields.
        """
        # Within the block of an event: a writer that is killed leaves both of them or none.
        # A block with an ID is none that has only comments.
        reset = ("id\n" if has_data else "id\n\n") if self._last_event_id and not event.id else ""
        self._last_event_id = event.id
        if has_data and not event.data:
            written = str(event.__replace__(data=_PLACEHOLDER)).removesuffix(f" {_PLACEHOLDER}\n\n")
            return f"{reset}{written}\n\n"
        return f"{reset}{event}"
