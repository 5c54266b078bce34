"""A recording: a file in the wire format to which blocks are appended.

Each event is one block, written with one call. So if the process is killed, the file has complete
events and at most a part of one after them. The next run removes that part.
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
    """A file to which a stream is appended, locked against other writers.

    It is a context manager. Not thread-safe.

    Args:
        path: The file, which is created if it does not exist. An incomplete event at its end is
            removed.

    Raises:
        CursorError: Another process writes to it.
        OSError: It cannot be opened.
        ValueError: It is not a recording.

    Attributes:
        last_event_id: The ID to continue after, or ``""``.
        is_empty: Whether it had no events when it was opened.
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
        """Append an event. Blocks for the system, but not for the disk.

        Raises:
            OSError: Writing failed.
        """
        rest = memoryview(self._wire.block(event).encode())
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Close the file, and release its lock."""
        self._stack.close()

    def __enter__(self) -> Recording:
        """Return the recording."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the recording."""
        self.close()


def read_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the unchanged blocks of a stream, each with its blank line.

    An incomplete block at the end is left out. Lines end at LF, CR or CRLF (WHATWG HTML, section
    9.2.5), as in ``bytes.splitlines``.
    """
    block: list[bytes] = []
    for lines in file:
        for line in lines.splitlines(keepends=True):
            block.append(line)
            if not line.rstrip(b"\r\n"):
                yield b"".join(block)
                block = []


def new_parser() -> EventStreamParser:
    """Return a parser for a recording. The file itself bounds the size of events."""
    return EventStreamParser(max_event_size=sys.maxsize)


def require_recording(path: str) -> None:
    """Refuse a file that is not a recording, so that it is not served by mistake.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a recording.
    """
    _survey(path)


def _survey(path: str) -> tuple[int, int, str]:
    """Return the end of the last complete block, the number of events, and the last event ID."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise ValueError(f"{path} is not a regular file")  # reading a pipe could block forever
    parser = new_parser()
    end = count = 0
    with open(path, "rb") as file:  # noqa: PTH123  # as typed
        for block in read_blocks(file):
            end += len(block)
            count += len(parser.feed(block))
        file.seek(end)
        tail = file.read()
    # Only an incomplete event is removed. A file that was named by mistake stays unchanged.
    if (end and not count) or not _is_cut_off(tail):
        raise ValueError(f"{path} is not a recording of an event stream")
    return end, count, parser.last_event_id


def _is_cut_off(tail: bytes) -> bool:
    """Return whether this may be part of a block: lines of which the last may be incomplete."""
    *lines, last = tail.replace(b"\r", b"").split(b"\n")
    is_last_fine = bool(_LINE.fullmatch(last)) or any(name.startswith(last) for name in _FIELDS)
    return is_last_fine and all(_LINE.fullmatch(line) for line in lines)
