"""Runs the sse-client command for tests: in this process, or in another with pipes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from processes import Process

from sse_client import EventStreamParser, ServerSentEvent, cli

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMAND = [sys.executable, "-m", "sse_client"]

# How long a process may take to end, in seconds. Anything longer is a hang.
PATIENCE = 30

#: A stream of eleven events that uses every feature of the format.
NASTY = (
    b": hello\n\n"
    b"data: plain\n\n"
    b"id: 1\ndata:  two\ndata:lines \ndata:\n\n"
    b"data: cut\rdata: by CR\r\n\n"
    b"event: \xe2\x82\xac\ndata: a\xe2\x80\xa8b\xc2\x85c\x0bd\n\n"
    b": about\ndata: with a comment\n: more\n\n"
    b":\ndata:\n\n"
    b"retry: 10\ndata\n\n"
    b"retry: 1\n\n"
    b"id: 2\n\n"
    b"data: of the block before\n\n"
    b"id\ndata: without an id\n\n"
    b"event: only\ndata\n\n"
    b"id:  3\x00\nid: \xff\ndata: \xff\n\n"
)


#: Stands for an existing file, because its path would make the names of tests differ by machine.
A_FILE = "A-FILE"


def with_file(words: Sequence[str]) -> list[str]:
    """Return the words, with A_FILE replaced by the path of a file."""
    return [__file__ if word == A_FILE else word for word in words]


def parse(stream: bytes, **options: bool) -> list[ServerSentEvent]:
    """Return the events of a stream."""
    return EventStreamParser(**options).feed(stream)


def follow(*words: str) -> int:
    """Run the command in this process. Return its status, which may come from a SystemExit."""
    try:
        return cli.main(words)
    except SystemExit as exit_:
        return exit_.code


@contextlib.contextmanager
def started(*words: str, **environment: str) -> Iterator[Process]:
    """Run the command in another process with pipes, and end it after the block."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONUNBUFFERED", *environment}}
    with Process(
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
