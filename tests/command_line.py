"""How tests run the sse-client command: in this process, or in another with pipes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from sse_client import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "sse_client"]

# How long a process may take to end, in seconds; beyond it is a hang.
PATIENCE = 30


def follow(*words: str) -> int:
    """Run the command in this process; a SystemExit is its status, too."""
    try:
        return cli.main(words)
    except SystemExit as exit_:
        return exit_.code


@contextlib.contextmanager
def started(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in another process, with pipes, and see to it that it ends."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONUNBUFFERED", *environment}}
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**env, **environment},
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()
