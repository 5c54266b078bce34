"""The formats of an event: its data in a line, its data exactly, JSON, and the wire format.

A recording holds events in the wire format, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sse_client import ServerSentEvent

#: Makes the text of an event; the second argument says whether it is one of comments alone.
Format = Callable[["ServerSentEvent", bool], str]

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


def format_of(name: str, *, has_comments: bool) -> Format:
    """Return the format of this name: ``lines``, ``data_only``, ``json`` or ``raw``.

    Args:
        name: The name.
        has_comments: Whether the comments of an event are shown with it.
    """
    if name == "raw":
        return _raw(has_comments=has_comments)
    if name == "data_only":
        return lambda event, _: f"{event.data}\n"
    write = _json_line if name == "json" else _lines

    def write_event(event: ServerSentEvent, is_comment: bool) -> str:  # noqa: FBT001  # a Format
        return write(event, event.comments if has_comments else None, is_comment)

    return write_event


def _lines(event: ServerSentEvent, comments: str | None, is_comment: bool) -> str:  # noqa: FBT001  # as Format
    shown = "" if comments is None else "".join(f": {line}\n" for line in comments.split("\n"))
    if is_comment:
        return shown
    data = event.data.replace("\n", "\\n")
    return f"{shown}{data}\n"


def _json_line(event: ServerSentEvent, comments: str | None, is_comment: bool) -> str:  # noqa: FBT001  # as Format
    shown = {"id": event.id}
    if not is_comment:
        shown |= {"event": event.event, "data": event.data}
    if comments is not None:
        shown["comments"] = comments
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")) + "\n"


def _raw(*, has_comments: bool) -> Format:
    wire = WireFormat()

    def write_event(event: ServerSentEvent, is_comment: bool) -> str:  # noqa: FBT001  # a Format
        shown = event if has_comments else event.__replace__(comments=None)
        return wire.block(shown, has_data=not is_comment)

    return write_event
