"""The commands by name. Without such a name, ``sse-client`` follows streams."""

from __future__ import annotations

import difflib

#: The module of each command, with ``run(words) -> int``. It is imported when it is called.
COMMANDS = {
    "check": "sse_client.cli.check",
    "serve": "sse_client.cli.serve",
    "record": "sse_client.cli.record",
    "relay": "sse_client.cli.relay",
    "demo": "sse_client.cli.demo",
    "completion": "sse_client.cli.completion",
    "man": "sse_client.cli.man",
}

DEFAULT = "sse_client.cli.follow"

#: The commands whose exit status is the same for all failures.
WITH_ONE_FAILURE = frozenset({COMMANDS["relay"]})


def similar_command(word: str) -> str | None:
    """Return the command whose name is similar to a word, or None."""
    similar = difflib.get_close_matches(word.lower(), COMMANDS, 1, 0.7)
    return similar[0] if similar else None
