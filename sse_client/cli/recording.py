"""A recording: a file in the wire format that blocks are appended to, and read from.

Each event is one block, written with one call, so whatever ends the process leaves whole events
and at most a part of one behind them, which the next run takes away.
"""

from __future__ import annotations

import contextlib
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sse_client import EventStreamParser
from sse_client.cli.formats import WireFormat
from sse_client.cursors.lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client import ServerSentEvent

#: A line of a block, and one that was cut off.
_LINE = re.compile(rb"(event|id|retry|data)(:.*)?|:.*", re.DOTALL)
_FIELDS = (b"event", b"id", b"retry", b"data")


class Recording:
    """A file that a stream is appended to, locked against a second writer. A context manager.

    For one thread at a time.

    Args:
        path: The file; it is made if there is none. A part of an event at its end is cut off.

    Raises:
        CursorError: Somebody else writes to it.
        OSError: It can't be opened.
        ValueError: It is no recording, but another file.

    Attributes:
        last_event_id: The ID to go on after, ``""`` if there is none.
        is_empty: Whether it held no event when it was opened.
    """

    def __init__(self, path: str) -> None:
        with contextlib.ExitStack() as stack:
            lock = FileLock(Path(f"{path}.lock"), Path(path))
            stack.callback(lock.release)
            lock.acquire()
            self._file = stack.enter_context(open(path, "a+b", buffering=0))  # noqa: PTH123  # as typed
            end, count, self.last_event_id = _survey(path)
            self.is_empty = not count
            self._file.truncate(end)
            self._wire = WireFormat(self.last_event_id)
            self._stack = stack.pop_all()

    def append(self, event: ServerSentEvent) -> None:
        """Append an event. Blocks for the system, not for the disk.

        Raises:
            OSError: It can't be written.
        """
        rest = memoryview(self._wire.block(event).encode())
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Close the file, and free it for another writer."""
        self._stack.close()

    def __enter__(self) -> Recording:
        """Return the recording."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def read_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the blocks of a stream as they stand there, each with the blank line that ends it.

    What is cut off at the end is left out. Lines end at LF, CR or CRLF (WHATWG HTML, section
    9.2.5), as those of ``bytes.splitlines`` do.
    """
    block: list[bytes] = []
    for lines in file:
        for line in lines.splitlines(keepends=True):
            block.append(line)
            if not line.rstrip(b"\r\n"):
                yield b"".join(block)
                block = []


def new_parser() -> EventStreamParser:
    """Return a parser for a recording, which the file itself bounds."""
    return EventStreamParser(max_event_size=sys.maxsize)


def _survey(path: str) -> tuple[int, int, str]:
    """Return where the last whole block ends, how many events there are, and the last event ID."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise ValueError(f"{path} is not a regular file")  # reading a pipe could block for ever
    parser = new_parser()
    end = count = 0
    with open(path, "rb") as file:  # noqa: PTH123  # as typed
        for block in read_blocks(file):
            end += len(block)
            count += len(parser.feed(block))
        file.seek(end)
        tail = file.read()
    # What is cut off has to be ours: a file that was named by mistake is left as it is.
    if (end and not count) or not _is_cut_off(tail):
        raise ValueError(f"{path} is not a recording of an event stream")
    return end, count, parser.last_event_id


def _is_cut_off(tail: bytes) -> bool:
    """Return whether this is a part of a block: nothing, whole lines, the beginning of a line."""
    *lines, last = tail.replace(b"\r", b"").split(b"\n")
    is_last_fine = bool(_LINE.fullmatch(last)) or any(name.startswith(last) for name in _FIELDS)
    return is_last_fine and all(_LINE.fullmatch(line) for line in lines)
