"""The output formats of an event: data on a line, exact data, JSON, a template, the wire format.

A recording also contains events in the wire format.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.cli import json_text
from sse_client.cli.json_text import MISSING
from sse_client.cli.terminal import escape_controls, escape_json_controls

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client import ServerSentEvent
    from sse_client.cli.templates import Template

_PLACEHOLDER = "-"


class WireFormat:
    """Writes the events of a stream such that parsing returns equal ones. Not thread-safe.

    Args:
        last_event_id: The last event ID before the first event.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self._last_event_id = last_event_id

    def block(self, event: ServerSentEvent, *, has_data: bool = True) -> str:
        """Write an event with its blank line.

        Args:
            event: The event.
            has_data: Whether a parser dispatched it for its data, not only for its comments. This
                is not visible in the event, because both may have the same fields.
        """
        # The reset is in the block of the event, so that a killed writer leaves both or neither.
        # But a block with an ID does not count as having only comments.
        reset = ("id\n" if has_data else "id\n\n") if self._last_event_id and not event.id else ""
        self._last_event_id = event.id
        if has_data and not event.data:
            written = str(event.__replace__(data=_PLACEHOLDER)).removesuffix(f" {_PLACEHOLDER}\n\n")
            return f"{reset}{written}\n\n"
        return f"{reset}{event}"


@dataclass(frozen=True)
class Look:
    """How events are shown.

    Attributes:
        form: ``lines``, ``data_only``, ``json``, ``raw`` or ``template``.
        has_comments: Whether the comments of an event are shown with it.
        has_time: Whether the time of arrival is shown.
        is_terminal: Whether a terminal shows the text. The server must not control a terminal.
        has_colours: Whether colours are used.
        select: Selects a value from the data to show instead.
        template: Creates the text for the form ``template``.
    """

    form: str = "lines"
    has_comments: bool = False
    has_time: bool = False
    is_terminal: bool = False
    has_colours: bool = False
    select: json_text.Selector | None = None
    template: Template | None = None


class Presenter:
    """Creates the text of the events of one stream. Not thread-safe.

    Args:
        look: How events are shown.
        name: The name of the stream, if there are several.
        now: Returns the current time.
    """

    def __init__(
        self,
        look: Look,
        name: str = "",
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.timezone.utc),
    ) -> None:
        self._look = look
        self._name = name
        self._now = now
        self._wire = WireFormat()
        # The server must not control a terminal. But the wire format is shown exactly.
        self._safe: Callable[[str], str] = escape_controls if look.is_terminal else str

    def select(self, event: ServerSentEvent) -> object:
        """Return the value to show: the data, the value selected from it, or MISSING."""
        return event.data if self._look.select is None else self._look.select(event.data)

    def text(self, event: ServerSentEvent, *, is_aside: bool = False) -> str | None:
        """Return the text of an event, or None if there is nothing at the selected path.

        Args:
            event: The event.
            is_aside: Whether the event has only comments.
        """
        if self._look.form == "raw":
            shown = event if self._look.has_comments else event.__replace__(comments=None)
            return self._wire.block(shown, has_data=not is_aside)
        value: object = event.data if is_aside else self.select(event)
        if value is MISSING:
            return None
        comments = event.comments if self._look.has_comments else None
        if self._look.form == "json":
            return self._json(event, value, comments, is_aside=is_aside)
        data = json_text.as_text(value)
        if self._look.template is not None:
            return self._look.template(self._fields(event, data))
        if self._look.form == "data_only":
            return f"{self._prefix()}{self._safe(data)}\n"
        return self._lines(data, comments, is_aside=is_aside)

    def _lines(self, data: str, comments: str | None, *, is_aside: bool) -> str:
        prefix = self._prefix()
        shown = ""
        if comments is not None:
            lines = self._safe(comments).split("\n")
            shown = "".join(f"{prefix}: {line}\n" for line in lines)
        if is_aside:
            return shown
        line = None
        if self._look.is_terminal:
            line = json_text.indent(data, has_colours=self._look.has_colours)
        if line is None:
            line = self._safe(data.replace("\n", "\\n"))
        return f"{shown}{prefix}{line}\n"

    def _json(
        self, event: ServerSentEvent, value: object, comments: str | None, *, is_aside: bool
    ) -> str:
        shown: dict[str, Any] = {"time": self._time()} if self._look.has_time else {}
        if self._name:
            shown["name"] = self._name
        shown["id"] = event.id
        if not is_aside:
            shown |= {"event": event.event, "data": value}
        if comments is not None:
            shown["comments"] = comments
        line = json_text.in_one_line(shown)
        if self._look.is_terminal:
            line = escape_json_controls(line)
        return (json_text.colour(line) if self._look.has_colours else line) + "\n"

    def _fields(self, event: ServerSentEvent, data: str) -> dict[str, str]:
        fields = {
            "data": data,
            "event": event.event,
            "id": event.id,
            "retry": "" if event.retry is None else str(event.retry),
            "comments": event.comments or "",
            "name": self._name,
        }
        shown = {name: self._safe(text) for name, text in fields.items()}
        return {**shown, "time": self._time()}

    def _prefix(self) -> str:
        time = f"{self._time()} " if self._look.has_time else ""
        return f"{time}[{self._name}] " if self._name else time

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
