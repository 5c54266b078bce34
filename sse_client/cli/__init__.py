"""The ``sse-client`` command: follows a stream in a terminal, records one, or serves a recording.

Each command is a module with a function ``run``, which takes the words after the command's name
and returns the exit status. ``commands.py`` lists them. A module is imported only when its command
is called, so that no command waits for the imports of another.

Standard error never repeats what was typed, because header values, user info and queries may be
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
from sse_client.cli.commands import COMMANDS, DEFAULT, WITH_ONE_FAILURE
from sse_client.cli.failures import FAILED, report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENDED = 0
_INTERRUPTED = 130  # the status that a shell reports for a command ended by SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``sse-client`` command. Blocks until it is done. Call it on the main thread.

    Standard output is UTF-8 from then on, in any locale. If the process has no standard output or
    error, because the descriptor was closed, the text written to it is dropped.

    Args:
        argv: The words after the command's name, by default those of the process.

    Returns:
        The exit status: 0 if the stream has ended, a requested limit was reached, or the reader of
        the output has gone. 3 if there was no response, 4 if the response was refused, 5 if the
        stream was cut off, and 1 for any other failure, with the reason on standard error. 130 for
        Ctrl-C.

    Raises:
        SystemExit: With 2 for wrong usage, with 0 after ``--help`` and ``--version``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
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
        status = report(error)
        return FAILED if module in WITH_ONE_FAILURE else status
    return status


@contextlib.contextmanager
def _open_streams() -> Iterator[None]:
    """Drop text that is written to a closed stream (``>&-``, ``2>&-``) within the block.

    Python replaces such a stream by None, for which ``print`` uses standard output.
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
