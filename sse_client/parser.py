"""Bytes in, events out: the event stream of WHATWG HTML, sections 9.2.5 and 9.2.6.

No I/O, no threads, no clock, no logging. The chunking of the bytes never changes the events. Fields
are told apart as bytes and decoded as late as can be: no byte of a longer UTF-8 sequence is a line
end, a colon or a blank, so a line decoded by itself equals the stream decoded as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.errors import EventTooLargeError
from sse_client.events import MAX_RETRY_DIGITS, ServerSentEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: The default bound of one event, in bytes: far above what servers send, far below what hurts.
DEFAULT_MAX_EVENT_SIZE = 16 * 1024 * 1024

#: How many bytes of comments are kept for the ``comments`` of one event. Servers send comments as
#: heartbeats, perhaps for months without a blank line: that must neither grow nor be an error.
_MAX_COMMENTS_SIZE = 64 * 1024

_BOM = b"\xef\xbb\xbf"
_CR = 13
_LF = 10


class EventStreamParser:
    r"""An incremental parser of one connection's event stream.

    Use a new one for each connection, handing on the last event ID: a byte order mark, a pending CR
    and an unfinished block belong to the connection. Never blocks; for one thread at a time.

    Example:
        >>> parser = EventStreamParser()
        >>> parser.feed(b"id: 1\nda")
        []
        >>> [event.data for event in parser.feed(b"ta: hello\n\n")]
        ['hello']

    Args:
        last_event_id: What ``last_event_id`` starts with. (Read literally, the spec would begin
            each connection with an empty one and so forget the position at the first event without
            an ID; browsers hand it on, and so does the session.)
        show_comment_events: Also give events for blocks that have nothing but comments.
        show_retry_events: Also give events for blocks that have nothing but a ``retry``.
        max_event_size: The most bytes that the lines of one event may take, line ends and comments
            not counted; no single line, comment or not, finished or not, may be longer.
        on_comment: Called with the text of each comment line as soon as the line is complete, even
            if its block never ends.

    Raises:
        TypeError: A ``max_event_size`` that is not an int, a ``last_event_id`` that is not a str,
            an ``on_comment`` that cannot be called.
        ValueError: A ``max_event_size`` below 1.
    """

    def __init__(
        self,
        *,
        last_event_id: str = "",
        show_comment_events: bool = False,
        show_retry_events: bool = False,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Callable[[str], None] | None = None,
    ) -> None:
        if not isinstance(last_event_id, str):
            raise TypeError(f"last_event_id must be a str, not {type(last_event_id).__name__}")
        if on_comment is not None and not callable(on_comment):
            raise TypeError(f"on_comment must be callable, not {type(on_comment).__name__}")
        if type(max_event_size) is not int:  # True is no size
            raise TypeError(f"max_event_size must be an int, not {type(max_event_size).__name__}")
        if max_event_size < 1:
            raise ValueError(f"max_event_size must be at least 1 byte, not {max_event_size}")
        self._show_comment_events = show_comment_events
        self._show_retry_events = show_retry_events
        self._max_event_size = max_event_size
        self._on_comment = on_comment

        self._last_event_id = last_event_id
        self._reconnection_time: int | None = None

        self._start: bytes | None = (
            b""  # what may yet turn out to be a BOM; None once that is known
        )
        self._skip_lf = False  # the last line ended with a CR: an LF right behind belongs to it
        self._pending = bytearray()  # the unfinished line; a list of tiny pieces is 20 times as big
        self._failed = False
        self._id_buffer = last_event_id

        self._data: list[bytes] = []
        self._event_type = b""
        self._retry: int | None = None
        self._comments: list[bytes] = []
        self._comments_size = 0
        self._has_type_or_id = False
        self._size = 0  # of the block's lines so far, comments left out

    @property
    def last_event_id(self) -> str:
        """The last event ID of the stream: the ``id`` of the last finished block that had one."""
        return self._last_event_id

    @property
    def unfinished_size(self) -> int:
        """How many bytes the unfinished block has so far, comments left out."""
        return self._size + len(self._pending)

    @property
    def reconnection_time(self) -> int | None:
        """The latest ``retry`` in milliseconds, None if there was none.

        It counts as soon as its line is complete.
        """
        return self._reconnection_time

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[ServerSentEvent]:
        """Take the next bytes of the stream, however they were cut. Does not block.

        Args:
            chunk: The bytes; an empty chunk changes nothing. At the end of the stream there is
                nothing to call: an unfinished block is discarded, as the spec wants it.

        Returns:
            The events that these bytes completed, in order; often none.

        Raises:
            EventTooLargeError: The event in work exceeds ``max_event_size``. What this chunk
                completed before it is in the error's ``events``; the parser is of no more use.
            TypeError: The chunk is not bytes.
        """
        if self._failed:
            raise self._too_large([])
        if not isinstance(chunk, bytes):
            if not isinstance(chunk, bytearray | memoryview):
                raise TypeError(f"chunk must be bytes, not {type(chunk).__name__}")
            chunk = bytes(chunk)
        if self._start is not None:
            chunk = self._drop_bom(chunk)
        if not chunk:
            return []
        if self._skip_lf:
            self._skip_lf = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
                if not chunk:
                    return []
        if _LF not in chunk and _CR not in chunk:
            self._keep(chunk)
            return []
        if self._pending:
            self._pending += chunk
            chunk = bytes(self._pending)
            self._pending = bytearray()
        # bytes.splitlines cuts at LF, CR and CRLF and, unlike that of str, nowhere else.
        lines = chunk.splitlines()
        last = chunk[-1]
        tail = b"" if last in (_LF, _CR) else lines.pop()
        self._skip_lf = last == _CR
        events: list[ServerSentEvent] = []
        self._interpret(lines, events)
        if tail:
            self._keep(tail, events)
        return events

    def _drop_bom(self, chunk: bytes) -> bytes:
        """Return the chunk less a leading BOM, or b"" while it is too short to tell."""
        start = (self._start or b"") + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _keep(self, part: bytes, events: list[ServerSentEvent] | None = None) -> None:
        """Keep a piece of an unfinished line."""
        self._pending += part
        others = 0 if self._pending.startswith(b":") else self._size
        if others + len(self._pending) > self._max_event_size:
            raise self._too_large(events or [])

    def _interpret(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        """Process finished lines, adding to ``events`` (section 9.2.6, "interpreting")."""
        for line in lines:
            if not line:
                self._end_block(events)
                continue
            name, colon, value = line.partition(b":")
            is_comment = colon and not name
            size = len(line) if is_comment else self._size + len(line)
            if size > self._max_event_size:
                raise self._too_large(events)
            if is_comment:
                self._comment(value)
                continue
            self._size = size
            if value.startswith(b" "):
                value = value[1:]
            if name == b"data":
                self._data.append(value)
            elif name == b"id":
                if b"\0" not in value:
                    self._id_buffer = value.decode("utf-8", "replace")
                    self._has_type_or_id = True
            elif name == b"event":
                self._event_type = value
                self._has_type_or_id = True
            elif name == b"retry":
                self._retry_field(value)

    def _comment(self, value: bytes) -> None:
        text = value[1:] if value.startswith(b" ") else value
        if self._comments_size < _MAX_COMMENTS_SIZE:
            self._comments.append(text)
            self._comments_size += len(text) + 1
        if self._on_comment is not None:
            self._on_comment(text.decode("utf-8", "replace"))

    def _retry_field(self, value: bytes) -> None:
        if value.isdigit():  # of bytes: ASCII digits only
            digits = value.lstrip(b"0") or b"0"
            if len(digits) > MAX_RETRY_DIGITS:
                digits = b"9" * MAX_RETRY_DIGITS
            self._retry = self._reconnection_time = int(digits)

    def _end_block(self, events: list[ServerSentEvent]) -> None:
        """Process the blank line that ends a block (section 9.2.6, "dispatch the event")."""
        # The ID counts even if the block has no data and so dispatches nothing.
        self._last_event_id = self._id_buffer
        if self._data or self._is_shown_without_data():
            # A short circuit round ServerSentEvent.__new__, whose checks can't fail here.
            events.append(
                tuple.__new__(
                    ServerSentEvent,
                    (
                        b"\n".join(self._data).decode("utf-8", "replace"),
                        self._event_type.decode("utf-8", "replace") or "message",
                        self._last_event_id,
                        self._retry,
                        b"\n".join(self._comments).decode("utf-8", "replace")
                        if self._comments
                        else None,
                    ),
                )
            )
        self._begin_block()

    def _is_shown_without_data(self) -> bool:
        """Whether the block is one of Ktor's extras, and is asked for."""
        if self._has_type_or_id:
            return False
        if self._retry is None:
            return self._show_comment_events and bool(self._comments)
        return self._show_retry_events and not self._comments

    def _begin_block(self) -> None:
        self._data = []
        self._event_type = b""
        self._retry = None
        self._comments = []
        self._comments_size = 0
        self._has_type_or_id = False
        self._size = 0

    def _too_large(self, events: list[ServerSentEvent]) -> EventTooLargeError:
        self._failed = True
        self._pending = bytearray()
        self._begin_block()
        return EventTooLargeError(
            f"an event takes more than max_event_size={self._max_event_size} bytes",
            limit=self._max_event_size,
            events=events,
        )


def parse_event_stream(
    chunks: Iterable[bytes], *, parser: EventStreamParser | None = None
) -> Iterator[ServerSentEvent]:
    """Parse chunks of an event stream, an event at a time (WHATWG HTML, section 9.2.6).

    Blocks only while ``chunks`` does. For one thread at a time.

    Args:
        chunks: The bytes of one connection, cut anyhow.
        parser: A new parser with options of your own; a default one if left out.

    Yields:
        Each event, as soon as the chunk that completes it is there.

    Raises:
        EventTooLargeError: After the events that were complete before the large one.
    """
    for events in parse_event_batches(chunks, parser=parser):
        yield from events


def parse_event_batches(
    chunks: Iterable[bytes], *, parser: EventStreamParser | None = None
) -> Iterator[list[ServerSentEvent]]:
    """Parse chunks of an event stream, the events of a chunk at a time.

    The same as ``parse_event_stream``, with less work for each event. No batch is empty.
    """
    if parser is None:
        parser = EventStreamParser()
    for chunk in chunks:
        try:
            events = parser.feed(chunk)
        except EventTooLargeError as error:
            if error.events:
                yield list(error.events)
            raise
        if events:
            yield events
