"""``--exec``: a command that is run for each event."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from sse_client.cli import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client import ServerSentEvent


class CommandFailedError(ValueError):
    """The command that is run for each event has failed."""


def run_command(command: Sequence[str], event: ServerSentEvent, value: object, name: str) -> None:
    """Run a command for an event, and wait for its end.

    Its standard input is the data. Its environment variables ``SSE_EVENT``, ``SSE_ID`` and
    ``SSE_NAME`` contain the other fields.

    Args:
        command: The command and its arguments. No shell is used.
        event: The event.
        value: Its data, or the value selected from it.
        name: The name of the stream, if there are several.

    Raises:
        CommandFailedError: The exit status of the command is not 0.
        OSError: The command cannot be run.
    """
    variables = {"SSE_EVENT": event.event, "SSE_ID": event.id, "SSE_NAME": name}
    # An environment variable cannot contain a null.
    own = {key: text.replace("\0", "\ufffd") for key, text in variables.items()}
    data = json_text.as_text(value).encode("utf-8", "replace")
    done = subprocess.run(  # noqa: S603  # the user gave the command
        command, input=data, env={**os.environ, **own}, check=False
    )
    if done.returncode:
        after = f" at event {event.id}" if event.id else ""
        ended = f"status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise CommandFailedError(f"the command of --exec ended with {ended}{after}")
