"""The forms in which an event is printed: its data in a line, exactly, as JSON, as on the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from sse_client.cli.wire import WireFormat

if TYPE_CHECKING:
    from sse_client import ServerSentEvent

#: Makes the text of an event; the second argument says whether it is one of comments alone.
Form = Callable[["ServerSentEvent", bool], str]


def form_of(name: str, *, has_comments: bool) -> Form:
    """Return the form of this name: ``lines``, ``data_only``, ``json`` or ``raw``.

    Args:
        name: The name.
        has_comments: Whether the comments of an event are shown with it.
    """
    if name == "raw":
        return _raw(has_comments=has_comments)
    if name == "data_only":
        return lambda event, _: f"{event.data}\n"
    write = _json_line if name == "json" else _lines

    def form(event: ServerSentEvent, is_comment: bool) -> str:  # noqa: FBT001  # a Form
        return write(event, event.comments if has_comments else None, is_comment)

    return form


def _lines(event: ServerSentEvent, comments: str | None, is_comment: bool) -> str:  # noqa: FBT001  # as Form
    shown = "" if comments is None else "".join(f": {line}\n" for line in comments.split("\n"))
    if is_comment:
        return shown
    data = event.data.replace("\n", "\\n")
    return f"{shown}{data}\n"


def _json_line(event: ServerSentEvent, comments: str | None, is_comment: bool) -> str:  # noqa: FBT001  # as Form
    shown = {"id": event.id}
    if not is_comment:
        shown |= {"event": event.event, "data": event.data}
    if comments is not None:
        shown["comments"] = comments
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")) + "\n"


def _raw(*, has_comments: bool) -> Form:
    wire = WireFormat()

    def form(event: ServerSentEvent, is_comment: bool) -> str:  # noqa: FBT001  # a Form
        shown = event if has_comments else event.__replace__(comments=None)
        return wire.block(shown, has_data=not is_comment)

    return form
