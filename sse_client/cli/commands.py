"""The commands by name. What does not begin with such a name is a stream to follow."""

from __future__ import annotations

#: The module of each command, with its ``run(words) -> int``; imported once the command is called.
COMMANDS = {
    "serve": "sse_client.cli.serve",
    "record": "sse_client.cli.record",
    "relay": "sse_client.cli.relay",
    "demo": "sse_client.cli.demo",
}

DEFAULT = "sse_client.cli.follow"
