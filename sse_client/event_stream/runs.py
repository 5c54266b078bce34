"""Runs of usual blocks: many of them at a time, without a step of Python for each line.

Most streams are made of a few kinds of blocks. For each kind there is a way that first proves that
it gives the same events as the loop of the ``Interpreter``, and else leaves the blocks to that:

* a block of a type, an ID or both, and one ``data: `` line behind: by itself (``interpret_block``);
* blocks of one ``data: `` line each: the text is cut between them (``_interpret_data_blocks``);
* ``data: `` lines alone, however many a block has: the prefixes are taken off all lines at once
  (``interpret_data_lines``);
* blocks with the same fields in the same order: field by field (``_columns``);
* blocks of one ``data: `` line or one comment each: by these two kinds (``_single_lines``);
* long lines under CRLF: cut at LF, which is much faster than cutting at any line end, and with only
  the values decoded (``take_long_lines``).

A way that has failed is left alone for a while. Bytes may be cut into lines before they are
decoded: no byte of a longer UTF-8 sequence is a line end.
"""

from __future__ import annotations

from io import BytesIO
from itertools import repeat
from typing import TYPE_CHECKING

from sse_client.event_stream.events import new_event
from sse_client.event_stream.lines import decode_lines, size_of_block, size_of_crlf_block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.event_stream.interpreter import Interpreter

#: How many lines make it worth looking for columns, and how many fields a block may have for that.
COLUMNS_FROM = 24
_MAX_COLUMNS = 3

#: How many bytes a line must have on average to be worth the way for long lines.
_LONG = 128

#: After a proof has failed, how many times to do without it.
_PAUSE = 15

# Without an end and without a state: they can be shared.
_NONE = repeat(None)
_MESSAGE = repeat("message")
_PREFIX = repeat(b"data: ")

_DATA = b"data: "
_CR = 13
_LF = 10
_COLON = 58

# Of a line. Making them anew for each line would take a while.
_FIRST = slice(1)
_FIRST_SIX = slice(6)
_COMMENT = slice(1, None)
_PAYLOAD = slice(6, None)
_CRLF_PAYLOAD = slice(6, -4)
_CRLF_COMMENT = slice(1, -4)
_CRLF_LINES = slice(-4)


class Runs:
    """Interprets whole lines, the usual ones in bulk. For one thread at a time; never blocks."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._data_blocks_pause = self._data_lines_pause = self._columns_pause = 0
        self._long_lines_pause = 0

    def interpret_block(self, fields: str, data: str) -> list[ServerSentEvent] | None:
        """Interpret a block of some lines and one data line; None if it is not a usual one."""
        interpreter = self._interpreter
        id = interpreter.last_event_id
        event_type = "message"
        for line in fields.split("\n"):
            name, _, value = line.partition(": ")
            if name == "id" and "\0" not in value:
                id = value
            elif name == "event":
                event_type = value or "message"
            else:
                return None
        interpreter.move_to(id)
        return [new_event((data, event_type, id, None, None))]

    def interpret_blocks(self, chunk: bytes, end: int) -> list[ServerSentEvent]:
        """Interpret whole blocks without CR, up to the two line ends at ``end``."""
        if chunk[:6] == _DATA:
            events = self._interpret_data_blocks(chunk[6:end], "\n\ndata: ")
            if events is None:
                events = self.interpret_data_lines(chunk[: end + 2])
            if events is not None:
                return events
        lines = chunk[:end].decode("utf-8", "replace").split("\n")
        lines.append("")
        return self.interpret_lines(lines)

    def interpret_crlf_block(self, chunk: bytes) -> list[ServerSentEvent] | None:
        """Interpret a chunk that is one block under CRLF; None if it is more, or no usual one."""
        if chunk[_FIRST_SIX] == _DATA:
            try:
                data = chunk[_CRLF_PAYLOAD].decode()
            except UnicodeDecodeError:
                data = chunk[_CRLF_PAYLOAD].decode("utf-8", "replace")
            if "\n" in data or "\r" in data:
                return None
            return [new_event((data, "message", self._interpreter.last_event_id, None, None))]
        if chunk[0] == _COLON:
            comment = chunk[_CRLF_COMMENT]
            if _LF in comment or _CR in comment:
                return None
            return self._interpreter.interpret_heartbeat(comment)
        fields, _, data = chunk[_CRLF_LINES].decode("utf-8", "replace").partition("\r\ndata: ")
        if not data or "\n" in data or "\r" in data:
            return None
        fields = fields.replace("\r\n", "\n")  # an LF by itself ends a line just as well
        return None if "\r" in fields else self.interpret_block(fields, data)

    def interpret_crlf_blocks(self, chunk: bytes, end: int) -> list[ServerSentEvent] | None:
        """Interpret ``data: `` blocks up to the CRLF CRLF at ``end``; None if some are no such."""
        return self._interpret_data_blocks(chunk[6:end], "\r\n\r\ndata: ")

    def take_long_lines(self, chunk: bytes, events: list[ServerSentEvent]) -> bytes:
        """Interpret lines under CRLF as long as they are usual ones, if they are long.

        Args:
            chunk: Lines, perhaps with an unfinished one at the end.
            events: Where to add those that are completed.

        Returns:
            What is left: the unfinished line, and from the first line on that is anything else.
        """
        if self._long_lines_pause:
            self._long_lines_pause -= 1
            return chunk
        interpreter = self._interpreter
        lines = BytesIO(chunk).readlines()
        if len(chunk) < len(lines) * _LONG:
            self._long_lines_pause = _PAUSE
            return chunk
        rest = b"" if chunk[-1] == _LF else lines.pop()
        left = interpreter.take_crlf_lines(lines, events)
        if left:
            self._long_lines_pause = _PAUSE
            del lines[-len(left) :]
            rest = b"".join([*left, rest])
        interpreter.size = size_of_crlf_block(lines, interpreter.size)
        return rest

    def interpret_lines(self, lines: list[str]) -> list[ServerSentEvent]:
        """Interpret the lines of whole blocks, the blank one at the end included."""
        if len(lines) >= COLUMNS_FROM:
            if self._columns_pause:
                self._columns_pause -= 1
            else:
                events = self._columns(lines) if lines[1] else self._single_lines(lines)
                if events is not None:
                    return events
                self._columns_pause = _PAUSE
        return self._interpreter.interpret_lines(lines)

    def interpret_any(self, lines: list[bytes]) -> list[ServerSentEvent]:
        """Interpret any finished lines, and reckon the size of the block in work."""
        interpreter = self._interpreter
        size = size_of_block(lines, interpreter.size)
        are_whole_blocks = not (interpreter.is_in_block or lines[-1])
        interpret = self.interpret_lines if are_whole_blocks else interpreter.interpret_lines
        events = interpret(decode_lines(lines))
        interpreter.size = size
        return events

    def interpret_data_lines(self, part: bytes) -> list[ServerSentEvent] | None:
        """Interpret finished lines without CR, also of the block in work; None if not all data."""
        if self._data_lines_pause:
            self._data_lines_pause -= 1
            return None
        lines = BytesIO(part).readlines()  # a third faster than ``split``, and more on long lines
        payloads = [*map(bytes.removeprefix, lines, _PREFIX)]
        blanks = lines.count(b"\n")
        # Each line that is not blank must have had the prefix.
        if len(part) - len(b"".join(payloads)) != (len(lines) - blanks) * len(_DATA):
            self._data_lines_pause = _PAUSE
            return None
        interpreter = self._interpreter
        events: list[ServerSentEvent] = []
        start = 0
        for _ in range(blanks):
            end = lines.index(b"\n", start)
            if start == 0 and interpreter.is_in_block:
                if end:
                    interpreter.add_data_lines(_join(payloads[:end]))
                events += interpreter.interpret_lines(("",))
            elif end > start:
                data = _join(payloads[start:end])
                events.append(new_event((data, "message", interpreter.last_event_id, None, None)))
            start = end + 1
        if start:
            interpreter.size = 0
        if start < len(lines):
            interpreter.add_data_lines(_join(payloads[start:]))
            interpreter.size += len(b"".join(lines[start:])) - (len(lines) - start)
        return events

    def _interpret_data_blocks(self, blocks: bytes, between: str) -> list[ServerSentEvent] | None:
        """Interpret whole blocks, less the ``data: `` at the beginning and the line ends behind."""
        text = blocks.decode("utf-8", "replace")
        if "\n" not in text and "\r" not in text:
            return [new_event((text, "message", self._interpreter.last_event_id, None, None))]
        if self._data_blocks_pause:
            self._data_blocks_pause -= 1
            return None
        payloads = text.split(between)
        joined = "".join(payloads)  # to look for line ends once instead of in each
        if "\n" in joined or (between[0] == "\r" and "\r" in joined):
            self._data_blocks_pause = _PAUSE
            return None
        ids = repeat(self._interpreter.last_event_id)
        return [*map(new_event, zip(payloads, _MESSAGE, ids, _NONE, _NONE, strict=False))]

    def _columns(self, lines: list[str]) -> list[ServerSentEvent] | None:
        """Interpret blocks of the same fields in the same order; None if they are not that."""
        try:
            count = lines.index("", 0, _MAX_COLUMNS + 1)
        except ValueError:
            return None
        if len(lines) % (count + 1) or any(lines[count :: count + 1]):
            return None
        columns: dict[str, list[str]] = {}
        for number in range(count):
            column = lines[number :: count + 1]
            name = column[0].partition(": ")[0]
            prefix = name + ": "
            values = [*map(str.removeprefix, column, repeat(prefix))]
            joined = "".join(values)
            if len("".join(column)) - len(joined) != len(values) * len(prefix):
                return None  # not all of them have the prefix
            if name in columns or (name == "id" and "\0" in joined):
                return None
            columns[name] = values
        types: Iterable[str] | None = columns.pop("event", None)
        ids: Iterable[str] | None = columns.pop("id", None)
        if columns.keys() != {"data"} or (types and not all(types)):
            return None  # an empty event type counts as "message"
        types = types or _MESSAGE
        ids = ids or repeat(self._interpreter.last_event_id)
        events = [*map(new_event, zip(columns["data"], types, ids, _NONE, _NONE, strict=False))]
        self._interpreter.move_to(events[-1].id)
        return events

    def _single_lines(self, lines: list[str]) -> list[ServerSentEvent] | None:
        """Interpret blocks of one line each; None if not all of them are data or comments."""
        singles = lines[::2]
        if any(lines[1::2]) or len(lines) % 2:
            return None
        id = self._interpreter.last_event_id
        events = [
            new_event((line[_PAYLOAD], "message", id, None, None))
            for line in singles
            if line[_FIRST_SIX] == "data: "
        ]
        comments = [line[_COMMENT] for line in singles if line[_FIRST] == ":"]
        if len(events) + len(comments) < len(singles):
            return None
        return events if self._interpreter.hear(comments) else None


def _join(payloads: list[bytes]) -> str:
    return b"".join(payloads)[:-1].decode("utf-8", "replace")
