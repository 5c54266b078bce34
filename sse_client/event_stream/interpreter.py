"""Text in, events out: "interpreting an event stream" of WHATWG HTML, section 9.2.6.

This is the general way, a loop over the lines. What most streams are made of goes faster in bulk,
which is the business of ``runs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.event_stream.events import MAX_RETRY_DIGITS, new_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sse_client.event_stream.events import ServerSentEvent

#: How much of the comments is kept for the ``comments`` of one event, in characters. Servers send
#: comments as heartbeats, perhaps for months without a blank line: that must neither grow nor be an
#: error.
_MAX_COMMENTS_SIZE = 64 * 1024


class Interpreter:
    """The state of the stream and of the block in work. For one thread at a time; never blocks.

    Attributes:
        last_event_id: The ``id`` of the last finished block that had one.
        reconnection_time: The latest ``retry`` in milliseconds, None if there was none.
        is_in_block: Whether a block has begun.
        size: Of the lines of that block, in bytes, comments and line ends left out.
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
        self._id_buffer = last_event_id
        self.abandon_block()

    def abandon_block(self) -> None:
        """Forget the block in work, its ``id`` with it."""
        self.is_in_block = False
        self.size = 0
        self._id_buffer = self.last_event_id
        self._data: str | None = None  # the first data line, or what was joined so far
        self._more_data: list[str] = []
        self._has_more = False  # than data of one line, a type and an ID
        self._event_type = ""
        self._retry: int | None = None
        self._comments: list[str] = []
        self._comments_size = 0
        self._has_type_or_id = False

    def interpret_heartbeat(self, comment: bytes) -> list[ServerSentEvent]:
        """Interpret a block of one comment line, given what is behind its colon."""
        if self._on_comment is None and not self._show_comment_events:
            return []
        return self._take_heartbeat(comment.decode("utf-8", "replace"))

    def _take_heartbeat(self, comment: str) -> list[ServerSentEvent]:
        text = comment[1:] if comment[:1] == " " else comment
        if self._on_comment is not None:
            self._on_comment(text)
        if self._show_comment_events:
            kept = text[:_MAX_COMMENTS_SIZE]
            return [new_event(("", "message", self.last_event_id, None, kept))]
        return []

    def hear(self, comments: list[str]) -> bool:
        """Take blocks of one comment line each, without an event; return False if they show."""
        if self._show_comment_events:
            return False
        for comment in comments if self._on_comment is not None else ():
            self._take_heartbeat(comment)
        return True

    def move_to(self, last_event_id: str) -> None:
        """Take the ID of the last of some blocks that were interpreted elsewhere."""
        self.last_event_id = self._id_buffer = last_event_id

    def add_data_lines(self, data: str) -> None:
        """Take data lines of the block in work, joined with a line feed."""
        if self._data is None:
            self._data = data
        else:
            self._more_data.append(data)
            self._has_more = True
        self.is_in_block = True

    def interpret_lines(self, lines: Iterable[str]) -> list[ServerSentEvent]:
        """Interpret finished lines, at least one."""
        events: list[ServerSentEvent] = []
        data = self._data
        line = ""
        for line in lines:
            if line:
                # Almost all fields have the space behind the colon, and this cuts both off.
                name, separator, value = line.partition(": ")
                if name == "data":
                    if data is None:
                        data = value
                    else:
                        self._more_data.append(value)
                        self._has_more = True
                elif name == "id" and "\0" not in value:
                    self._id_buffer = value
                    self._has_type_or_id = True
                elif name == "event":
                    self._event_type = value
                    self._has_type_or_id = True
                elif line[0] == ":":
                    self._data = data  # should the user's function raise
                    self.is_in_block = True
                    self._take_comment(line[1:] if name else value)
                else:
                    self._data = data
                    self._take_field(name, separator, value)
                    data = self._data
                continue
            # The blank line: "dispatch the event". The ID counts even if there is no event.
            self.last_event_id = self._id_buffer
            if self._has_more:
                self._end_block_with_more(data, events)
            elif data is not None:
                event_type = self._event_type or "message"
                events.append(new_event((data, event_type, self._id_buffer, None, None)))
            data = None
            self._event_type = ""
            self._has_type_or_id = False
        self._data = data
        self.is_in_block = line != ""
        return events

    def take_crlf_lines(self, lines: list[bytes], events: list[ServerSentEvent]) -> list[bytes]:
        """Do the same with lines as bytes, each with its CRLF, as long as they are usual ones.

        Long lines are copied less often in this way. The ``size`` is left to the caller.

        Args:
            lines: Finished ones, cut behind each LF.
            events: Where to add those that are completed.

        Returns:
            What is left: from the first line on that is anything else, and so may be several lines.
        """
        remaining = iter(lines)
        line = b""
        try:
            for line in remaining:
                if line == b"\r\n":
                    self.last_event_id = self._id_buffer
                    if self._has_more:
                        self._end_block_with_more(self._data, events)
                    elif self._data is not None:
                        event_type = self._event_type or "message"
                        event = new_event((self._data, event_type, self._id_buffer, None, None))
                        events.append(event)
                    self._data = None
                    self._event_type = ""
                    self._has_type_or_id = self.is_in_block = False
                    continue
                name, _, value = line.partition(b": ")
                text = value.removesuffix(b"\r\n").decode()
                if "\n" in text or "\r" in text:
                    break
                if name == b"data" and self._data is None:
                    self._data = text
                elif name == b"id" and "\0" not in text:
                    self._id_buffer = text
                    self._has_type_or_id = True
                elif name == b"event":
                    self._event_type = text
                    self._has_type_or_id = True
                else:
                    break
                self.is_in_block = True
            else:
                return []
        except UnicodeDecodeError:
            pass
        return [line, *remaining]

    def _take_field(self, name: str, separator: str, value: str) -> None:
        """Take a line that is written in another way, or that is none of the usual fields."""
        if ":" in name:
            name, _, begin = name.partition(":")
            value = begin + separator + value
        if name == "data":
            self.add_data_lines(value)
        elif name == "event":
            self._event_type = value
            self._has_type_or_id = True
        elif name == "id" and "\0" not in value:
            self._id_buffer = value
            self._has_type_or_id = True
        elif name == "retry" and value.isascii() and value.isdigit():
            digits = value.lstrip("0") or "0"
            if len(digits) > MAX_RETRY_DIGITS:
                digits = "9" * MAX_RETRY_DIGITS
            self._retry = self.reconnection_time = int(digits)
            self._has_more = True

    def _take_comment(self, text: str) -> None:
        self._has_more = True
        room = _MAX_COMMENTS_SIZE - self._comments_size
        if room >= 0:  # where it is 0, there is still the line feed ahead of this comment
            self._comments.append(text[:room])
            self._comments_size += len(text) + 1
        if self._on_comment is not None:
            self._on_comment(text)

    def _end_block_with_more(self, data: str | None, events: list[ServerSentEvent]) -> None:
        """Dispatch a block with several data lines, a retry or comments."""
        if data is not None or (self._shows_extras and self._is_extra()):
            text = "\n".join([data or "", *self._more_data]) if self._more_data else data or ""
            event_type = self._event_type or "message"
            comments = "\n".join(self._comments) if self._comments else None
            events.append(new_event((text, event_type, self._id_buffer, self._retry, comments)))
        if self._more_data:
            self._more_data = []
        if self._comments:
            self._comments = []
            self._comments_size = 0
        self._retry = None
        self._has_more = False

    def _is_extra(self) -> bool:
        """Return whether the block is one of Ktor's extras, and is asked for."""
        if self._has_type_or_id:
            return False
        if self._retry is None:
            return self._show_comment_events and bool(self._comments)
        return self._show_retry_events and not self._comments
