"""Bytes in, events out: the event stream of WHATWG HTML, sections 9.2.5 and 9.2.6.

No I/O, no threads, no clock, no logging. The chunking of the bytes never changes the events.

This part deals in chunks: the byte order mark, line ends, what is unfinished, the bound. It cuts
each chunk behind its last blank line: what is before that are whole blocks, which go to ``Runs``
all at once. What is behind it waits for the next chunk, as bytes if it is little, so that it will
be interpreted together with the rest of its block; but it waits so only once, which keeps the work
linear, and not with comments, which are told at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.errors import EventTooLargeError
from sse_client.event_stream.events import new_event
from sse_client.event_stream.interpreter import Interpreter
from sse_client.event_stream.lines import end_of_block, find_too_large
from sse_client.event_stream.runs import COLUMNS_FROM, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sse_client.event_stream.events import ServerSentEvent

#: The default bound of one event, in bytes: far above what servers send, far below what hurts.
DEFAULT_MAX_EVENT_SIZE = 16 * 1024 * 1024

#: How many bytes of finished lines of an unfinished block may wait for the rest of it.
_MAX_WAITING_LINES = 512

#: Pieces of fewer bytes are put together: each piece costs more than 40 bytes beyond its size.
_TINY = 256

_BOM = b"\xef\xbb\xbf"
_CR = 13
_LF = 10
_COLON = 58

# Of a chunk that is one block under LF. Making them anew for each chunk would take a while.
_FIRST_SIX = slice(6)
_LAST_TWO = slice(-2, None)
_LAST_FOUR = slice(-4, None)
_PAYLOAD = slice(6, -2)  # behind ``data: ``
_COMMENT = slice(1, -2)
_LINES = slice(-2)


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
            if its block never ends. What it raises comes out of ``feed``, and what the chunk has
            behind the comment is lost.

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
        self._max_event_size = max_event_size
        self._tells_comments = on_comment is not None
        self._interpreter = Interpreter(
            last_event_id,
            on_comment,
            show_comment_events=show_comment_events,
            show_retry_events=show_retry_events,
        )
        self._runs = Runs(self._interpreter)
        # What may yet turn out to be a BOM; None once that is known.
        self._start: bytes | None = b""
        self._skip_lf = False  # the last line ended with a CR: an LF right behind belongs to it
        self._failed = False
        self._is_special = True  # whether one of these three matters to the next chunk
        # What is not interpreted yet: an unfinished line, perhaps with finished ones of its block
        # before it; and pieces that have come since, to be joined once a line ends.
        self._waiting = b""
        self._has_waiting_lines = False
        self._pieces: list[bytes | bytearray] = []
        self._pieces_size = 0
        self._is_between_blocks = False  # whether none of all this matters to the next chunk

    @property
    def last_event_id(self) -> str:
        """The last event ID of the stream, from the last finished block that had an ``id``."""
        return self._interpreter.last_event_id

    @property
    def unfinished_size(self) -> int:
        """How many bytes the unfinished block has so far, give or take comments and line ends."""
        return self._interpreter.size + len(self._waiting) + self._pieces_size

    @property
    def reconnection_time(self) -> int | None:
        """The latest ``retry`` in milliseconds, None if there was none.

        It counts as soon as its line is complete.
        """
        self._interpret_waiting_lines()
        return self._interpreter.reconnection_time

    def feed(  # noqa: C901, PLR0911, PLR0912  # on the hottest path a call of its own would cost a tenth
        self, chunk: bytes | bytearray | memoryview
    ) -> list[ServerSentEvent]:
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
        if self._is_between_blocks and type(chunk) is bytes and len(chunk) <= self._max_event_size:
            # The usual chunk of a live stream is one event or heartbeat.
            if chunk[_LAST_TWO] == b"\n\n":
                if chunk[_FIRST_SIX] == b"data: ":
                    try:
                        data = chunk[_PAYLOAD].decode()  # an eighth faster than with "replace"
                    except UnicodeDecodeError:
                        data = chunk[_PAYLOAD].decode("utf-8", "replace")
                    if "\n" not in data and "\r" not in data:
                        id = self._interpreter.last_event_id
                        return [new_event((data, "message", id, None, None))]
                elif chunk[0] == _COLON:
                    comment = chunk[_COMMENT]
                    if _LF not in comment and _CR not in comment:
                        return self._interpreter.interpret_heartbeat(comment)
                elif _CR not in chunk:
                    try:
                        text = chunk[_LINES].decode()
                    except UnicodeDecodeError:
                        text = chunk[_LINES].decode("utf-8", "replace")
                    fields, _, data = text.partition("\ndata: ")
                    if data and "\n" not in data:
                        events = self._runs.interpret_block(fields, data)
                        if events is not None:
                            return events
                    self._is_between_blocks = False  # should ``on_comment`` raise
                    lines = text.split("\n")
                    lines.append("")
                    if len(lines) < COLUMNS_FROM:
                        events = self._interpreter.interpret_lines(lines)
                    else:
                        events = self._runs.interpret_lines(lines)
                    self._is_between_blocks = True
                    return events
            elif chunk[_LAST_FOUR] == b"\r\n\r\n":
                found = self._runs.interpret_crlf_block(chunk)
                if found is not None:
                    return found
            self._is_between_blocks = False
        if self._is_special or type(chunk) is not bytes:
            chunk = self._admit(chunk)
        if _LF not in chunk and _CR not in chunk:
            if chunk:
                self._wait(chunk)
            return []
        if self._waiting or self._pieces:
            # Nothing waits any more once ``on_comment`` is called, which may look at the parser.
            waiting, self._waiting = self._waiting, b""
            if self._pieces:
                pieces, self._pieces, self._pieces_size = self._pieces, [], 0
                chunk = b"".join([waiting, *pieces, chunk])
            else:
                chunk = waiting + chunk
        if self._interpreter.size + len(chunk) > self._max_event_size:
            fitting = find_too_large(chunk, self._interpreter.size, self._max_event_size)
            if fitting is not None:
                raise self._too_large(self._take(chunk[:fitting]) if fitting else [])
        return self._take(chunk)

    def _admit(self, chunk: bytes | bytearray | memoryview) -> bytes:
        """Return the chunk as bytes, less a byte order mark and an LF that belongs to a CR."""
        if self._failed:
            raise self._too_large([])
        if not isinstance(chunk, bytes):
            if not isinstance(chunk, bytearray | memoryview):
                raise TypeError(f"chunk must be bytes, not {type(chunk).__name__}")
            chunk = bytes(chunk)
        if self._start is not None:
            chunk = self._start + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._start = chunk
                return b""
            self._start = None
            chunk = chunk.removeprefix(_BOM)
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        self._is_special = self._skip_lf
        return chunk

    def _wait(self, piece: bytes) -> None:
        """Keep a piece of an unfinished line."""
        self._is_between_blocks = False
        if len(piece) >= _TINY:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))
        self._pieces_size += len(piece)
        if self.unfinished_size > self._max_event_size:
            self._interpret_waiting_lines()  # so that no more than the unfinished line waits
            begin = self._waiting or self._pieces[0]
            others = self._interpreter.size if begin.startswith(b":") else 0
            if self.unfinished_size - others > self._max_event_size:
                raise self._too_large([])

    def _take(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take all that is not interpreted yet, in which at least one line ends."""
        if _CR in chunk:
            return self._take_with_cr(chunk)
        events: list[ServerSentEvent] = []
        interpreter = self._interpreter
        if interpreter.is_in_block:  # most often one of many data lines, like the next ones
            end = chunk.rfind(b"\n") + 1
            found = self._runs.interpret_data_lines(chunk[:end])
            if found is None:
                end = end_of_block(chunk) or end
                found = self._runs.interpret_any(chunk[:end].splitlines())
            events = found
            chunk = chunk[end:]
        # The last line end is found in no time; it may be that of the last blank line.
        last = chunk.rfind(b"\n")
        blank = last - 1
        if blank < 0 or chunk[blank] != _LF:
            blank = chunk.rfind(b"\n\n", 0, last)
        rest = chunk
        if blank >= 0:
            found = self._runs.interpret_blocks(chunk, blank)
            events = events + found if events else found
            rest = chunk[blank + 2 :]
        # What is left of a block waits, if it is little and has no comment for ``on_comment``. But
        # nothing waits for another blank line once it has waited for one.
        waits = False
        end = last + 1 - (len(chunk) - len(rest))  # of the finished lines in it
        if end > 0:
            waits = end <= _MAX_WAITING_LINES and (blank >= 0 or not self._has_waiting_lines)
            if self._tells_comments and waits:
                waits = rest[0] != _COLON and rest.find(b"\n:", 0, end) < 0
            if not waits:
                events += self._interpret_part(rest[:end])
                rest = rest[end:]
        self._waiting = rest
        self._has_waiting_lines = waits
        self._is_between_blocks = not (rest or interpreter.is_in_block)
        return events

    def _take_with_cr(self, chunk: bytes) -> list[ServerSentEvent]:
        """Do the same with lines that end with CR or CRLF, or with this and that."""
        interpreter = self._interpreter
        events: list[ServerSentEvent] = []
        if not interpreter.is_in_block and chunk[_FIRST_SIX] == b"data: ":
            blank = chunk.rfind(b"\r\n\r\n")
            found = self._runs.interpret_crlf_blocks(chunk, blank) if blank >= 0 else None
            if found is not None:
                events = found
                chunk = chunk[blank + 4 :]
        self._waiting, self._has_waiting_lines = b"", False
        if _LF in chunk or _CR in chunk:
            if chunk[-1] == _CR:
                self._skip_lf = self._is_special = True
            chunk = self._runs.take_long_lines(chunk, events)
            if _LF in chunk or _CR in chunk:
                # bytes.splitlines cuts at LF, CR and CRLF and, unlike that of str, nowhere else.
                lines = chunk.splitlines()
                chunk = b"" if chunk[-1] in {_LF, _CR} else lines.pop()
                events += self._runs.interpret_any(lines)
        self._waiting = chunk
        self._is_between_blocks = not (chunk or self._is_special or interpreter.is_in_block)
        return events

    def _interpret_part(self, part: bytes) -> list[ServerSentEvent]:
        """Interpret finished lines, without CR."""
        events = self._runs.interpret_data_lines(part)
        return self._runs.interpret_any(part.splitlines()) if events is None else events

    def _interpret_waiting_lines(self) -> None:
        """Interpret what could have waited as bytes."""
        if self._has_waiting_lines and self._waiting:
            self._has_waiting_lines = False
            end = self._waiting.rfind(b"\n") + 1
            lines, self._waiting = self._waiting[:end], self._waiting[end:]
            self._interpret_part(lines)

    def _too_large(self, events: list[ServerSentEvent]) -> EventTooLargeError:
        self._interpret_waiting_lines()
        self._failed = self._is_special = True
        self._is_between_blocks = False
        self._waiting = b""
        self._pieces, self._pieces_size = [], 0
        self._interpreter.abandon_block()
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
