"""Turns lines into events: "interpreting an event stream" of WHATWG HTML, section 9.2.6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.event_stream.events import MAX_RETRY_DIGITS, is_extra, new_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.event_stream.events import ServerSentEvent

#: How much of a block's comments an event keeps, in characters. Servers send comments as
#: heartbeats, perhaps for months without a blank line. That must neither use ever more memory nor
#: be an error.
_MAX_COMMENTS_SIZE = 64 * 1024

# Creating the slices for each line would cost as much as slicing it.
_FIRST_SIX = slice(6)
_AFTER_SIX = slice(6, None)
_FIRST_FIVE = slice(5)
_AFTER_FIVE = slice(5, None)
_FIRST = slice(1)
_AFTER_FIRST = slice(1, None)
_SECOND = slice(1, 2)

#: More data lines than this in an unfinished block are joined.
_MANY_LINES = 4096


class Interpreter:
    """The state of the stream and of its unfinished block. Not thread-safe. Never blocks.

    Attributes:
        last_event_id: The ``id`` of the last finished block that had one.
        reconnection_time: The latest ``retry`` in milliseconds, None if there was none.
        is_in_block: Whether a block has begun.
    """

    def __init__(
        self,
        last_event_id: str,
        on_comment: Callable[[str], None] | None,
        *,
        show_comment_events: bool,
        show_retry_events: bool,
    ) -> None:
        self.last_event_id = last_event_id
        self.reconnection_time: int | None = None
        self._on_comment = on_comment
        self._show_comment_events = show_comment_events
        self._show_retry_events = show_retry_events
        self._shows_extras = show_comment_events or show_retry_events
        self.abandon_block()

    def abandon_block(self) -> None:
        """Discard the unfinished block and its ``id``."""
        self.is_in_block = False
        # The unfinished block. The next five attributes are valid only while ``is_in_block``.
        self._data: str | None = None  # the first data line
        self._event_type = "message"
        self._id = self.last_event_id
        self._has_type_or_id = False
        self._has_more = False  # more than one data line, a type and an ID
        self._more_data: list[str] = []  # the other data lines: joined ones, then single ones
        self._joined = 0
        self._retry: int | None = None
        self._comments: list[str] = []  # bounded at the end of each ``interpret``

    def interpret(self, lines: list[str]) -> list[ServerSentEvent]:  # noqa: C901, PLR0912, PLR0915  # the hot loop
        """Interpret one or more finished lines. Return the events that they complete."""
        events: list[ServerSentEvent] = []
        data, event_type, id = None, "message", self.last_event_id
        has_type_or_id = has_more = False
        more_data, comments = self._more_data, self._comments
        if self.is_in_block:
            data, event_type, id = self._data, self._event_type, self._id
            has_type_or_id, has_more = self._has_type_or_id, self._has_more
        line = ""
        try:
            for line in lines:
                if not line:  # a blank line: "dispatch the event"
                    self.last_event_id = id  # even if the block dispatches no event
                    if has_more:
                        if data is not None or (self._shows_extras and not has_type_or_id):
                            events += self._events_with_more(data, event_type, id)
                        more_data.clear()
                        comments.clear()
                        self._joined, self._retry = 0, None
                        has_more = False
                    elif data is not None:
                        events.append(new_event((data, event_type, id, None, None)))
                    data = None
                    event_type = "message"
                    has_type_or_id = False
                    continue
                first = line[0]
                if first == "d" and line[_FIRST_SIX] == "data: ":
                    value = line[_AFTER_SIX]
                elif first == "d" and line[_FIRST_FIVE] == "data:":
                    value = line[_AFTER_FIVE]
                elif first == ":":
                    has_more = True
                    comment = line[2:] if line[_SECOND] == " " else line[_AFTER_FIRST]
                    comments.append(comment)
                    if self._on_comment is not None:
                        self._on_comment(comment)
                    continue
                else:
                    # Almost all fields have a space after the colon, so try the combination first.
                    name, space, value = line.partition(": ")
                    if name != "id" and (not space or ":" in name):
                        name, _, value = line.partition(":")
                    if name == "id":
                        if "\0" not in value:
                            id = value
                            has_type_or_id = True
                        continue
                    if name == "event":
                        event_type = value or "message"
                        has_type_or_id = True
                        continue
                    if name != "data":
                        if name == "retry" and value.isascii() and value.isdigit():
                            has_more = True
                            self._take_retry(value)
                        continue
                if data is None:
                    data = value
                else:
                    more_data.append(value)
                    has_more = True
        finally:  # the user's ``on_comment`` may raise an error
            self.is_in_block = line != ""
            if line:
                self._data, self._event_type, self._id = data, event_type, id
                self._has_type_or_id, self._has_more = has_type_or_id, has_more
                if has_more:
                    self._bound_more()
        return events

    def interpret_usual_line(self, line: str) -> list[ServerSentEvent] | None:
        """Interpret a block of one data line or comment. Return None for any other block."""
        if line[_FIRST_SIX] == "data: ":
            data = line[_AFTER_SIX]
        elif line[_FIRST_FIVE] == "data:":
            data = line[_AFTER_FIVE]
        else:
            is_silent = self._on_comment is None and not self._show_comment_events
            return [] if is_silent and line[_FIRST] == ":" else None
        return [new_event((data, "message", self.last_event_id, None, None))]

    def _bound_more(self) -> None:
        """Join what an unfinished block holds of single lines, and bound its comments."""
        # A short str takes many times its size.
        if len(self._more_data) - self._joined > _MANY_LINES:
            self._more_data[self._joined :] = ["\n".join(self._more_data[self._joined :])]
            self._joined += 1
        if self._comments:
            if len(self._comments[0]) != _MAX_COMMENTS_SIZE:  # not full yet
                self._comments[0] = "\n".join(self._comments)[:_MAX_COMMENTS_SIZE]
            del self._comments[1:]

    def _take_retry(self, digits: str) -> None:
        """Set the reconnection time, which takes effect at once, not at the end of the block."""
        digits = digits.lstrip("0") or "0"
        if len(digits) > MAX_RETRY_DIGITS:
            digits = "9" * MAX_RETRY_DIGITS
        self._retry = self.reconnection_time = int(digits)

    def _events_with_more(
        self, data: str | None, event_type: str, id: str
    ) -> list[ServerSentEvent]:
        """Return the event of a block with several data lines, comments or a retry, if any."""
        text = "\n".join([data or "", *self._more_data])
        comments = "\n".join(self._comments)[:_MAX_COMMENTS_SIZE] if self._comments else None
        event = new_event((text, event_type, id, self._retry, comments))
        is_event = data is not None or is_extra(
            event,
            show_comment_events=self._show_comment_events,
            show_retry_events=self._show_retry_events,
        )
        return [event] if is_event else []
