"""Writes to standard output, flushed each time, and one-line messages to standard error."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def show(text: str) -> None:
    """Write to standard output, and flush.

    Raises:
        BrokenPipeError: Its reader has gone.
        OSError: Writing failed.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # The text is still buffered, and writing it would fail again at exit.
        with Path(os.devnull).open("wb") as devnull:
            os.dup2(devnull.fileno(), sys.stdout.fileno())
        if sys.platform == "win32" and error.errno == errno.EINVAL:
            # This is the error of Windows for a pipe whose other end is closed.
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
        raise


@contextlib.contextmanager
def closed_without_reader(close: Callable[[], object]) -> Iterator[None]:
    """Call ``close`` when the reader of standard output has gone, if that is a pipe.

    Writing would also fail, but a stream may be silent for hours before there is something to
    write. So a thread waits for this until the end of the block. Windows has no such wait.
    """
    output = _pipe_of_output()
    if sys.platform != "win32" and output is not None and hasattr(select, "poll"):
        listening, alarm = os.pipe()
        poll = select.poll()
        poll.register(output, 0)  # errors are always reported
        poll.register(listening, 0)

        def watch() -> None:
            if output in dict(poll.poll()):
                close()

        thread = threading.Thread(target=watch, name="sse-client:output", daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.close(alarm)
            thread.join()
            os.close(listening)
    else:
        yield


def _pipe_of_output() -> int | None:
    """Return the descriptor of standard output, or None if that is not a pipe."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # it is not a file, or it is closed
        return None
    return descriptor if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None


def complain(text: str) -> None:
    """Report a failure or a warning in one line on standard error."""
    print("sse-client:", one_line(text), file=sys.stderr)


def complain_in_detail(line: str) -> None:
    """Write a line below a message on standard error."""
    print(f"  {line}", file=sys.stderr)


def one_line(text: str) -> str:
    """Return a text, perhaps from a server, without line breaks and control characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())
