"""What a command writes: to standard output, seen at once, and in one line to standard error."""

from __future__ import annotations

import os
import sys
from pathlib import Path


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


def complain(text: str) -> None:
    """Tell a failure or a warning in one line on standard error."""
    print("sse-client:", one_line(text), file=sys.stderr)


def one_line(text: str) -> str:
    """Return a text that may be the server's: no line break, and nothing else for a terminal."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())
