"""The ``sse-client`` command: follows a stream in a terminal, records one, or serves a recording.

Each command is a module with a function ``run``, which takes the words behind the command's name
and returns the exit status. ``commands.py`` lists them; a module is imported once its command is
called, so that none waits for what another needs.

Nothing that was typed is repeated on standard error: header values, user info and queries are
secrets.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sse_client import SSEClientError
from sse_client.cli.commands import COMMANDS, DEFAULT
from sse_client.cli.output import complain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENDED = 0
_FAILED = 1
_INTERRUPTED = 130  # what a shell makes of a command that SIGINT has ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``sse-client`` command. Blocks until it is done; for the main thread.

    Standard output is UTF-8 from then on, whatever the locale. Where the process has no standard
    output or error, because the descriptor was closed, what would be written there is dropped.

    Args:
        argv: The words behind the command's name; those of the process by default.

    Returns:
        The exit status: 0 for a stream that has ended, a limit that was asked for, or a reader
        that has gone; 1 for a failure, told in one line on standard error; 130 for Ctrl-C.

    Raises:
        SystemExit: With 2 for wrong usage, with 0 after ``--help`` and ``--version``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with _open_streams():
        return _run(words)


def _run(words: list[str]) -> int:
    module = COMMANDS.get(words[0]) if words else None
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        command = importlib.import_module(module or DEFAULT)
        status: int = command.run(words[1:] if module else words)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _ENDED
    except (SSEClientError, OSError, ValueError) as error:
        complain(str(error))
        return _FAILED
    return status


@contextlib.contextmanager
def _open_streams() -> Iterator[None]:
    """Let what Python found closed (``>&-``, ``2>&-``) lead nowhere, until the end of the block.

    It stands there as None, for which ``print`` takes standard output.
    """
    with contextlib.ExitStack() as stack:
        for is_closed, redirect in (
            (sys.stdout is None, contextlib.redirect_stdout),
            (sys.stderr is None, contextlib.redirect_stderr),
        ):
            if is_closed:
                nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect(nowhere))
        yield
