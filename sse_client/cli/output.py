"""What a command writes: to standard output, seen at once, and in one line to standard error."""

from __future__ import annotations

import contextlib
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
        BrokenPipeError: Nobody reads it any more.
        OSError: It can't be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # What could not be written is still buffered, and would fail once more at exit.
        with Path(os.devnull).open("wb") as devnull:
            os.dup2(devnull.fileno(), sys.stdout.fileno())
        raise


@contextlib.contextmanager
def noticing_that_nobody_reads(close: Callable[[], object]) -> Iterator[None]:
    """Call ``close`` once the reader of standard output has gone, if that is a pipe.

    Writing would fail then, but a stream may be silent for hours before there is something to
    write. A thread of its own waits for it, until the end of the block.
    """
    output = _pipe_of_output()
    if output is None:
        yield
        return
    listening, alarm = os.pipe()
    poll = select.poll()
    poll.register(output, 0)  # for its errors, which need not be asked for
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


def _pipe_of_output() -> int | None:
    """Return the descriptor of standard output, None if that is no pipe."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file, or closed
        return None
    is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode) and hasattr(select, "poll")
    return descriptor if is_pipe else None


def complain(text: str) -> None:
    """Tell a failure or a warning in one line on standard error."""
    print("sse-client:", one_line(text), file=sys.stderr)


def one_line(text: str) -> str:
    """Return a text that may be the server's: no line break, and nothing else for a terminal."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())
