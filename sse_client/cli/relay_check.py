"""``sse-client relay --check``: checks whether it could relay, and writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client import SSE, HttpClient
from sse_client.cli.output import one_line, show
from sse_client.relay.check import check_pool, check_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.relay import RelayConfig
    from sse_client.relay.connection import RedisServer

_FAILED = 1


def check_relay(server: RedisServer, config: RelayConfig, *, is_pool: bool) -> int:
    """Print a line for each stream, and one for each of its problems.

    Args:
        server: The Redis.
        config: The streams.
        is_pool: Whether workers would share the streams.

    Returns:
        0, or 1 if there is a problem.
    """
    status = 0
    if is_pool:
        status = show_problems(f"pool {config.pool}", check_pool(server, config.pool))
    with HttpClient().install(SSE) as client:
        for stream, problems in check_streams(client, server, config.streams):
            status = show_problems(stream.stream, problems) or status
    return status


def show_problems(name: str, problems: Sequence[str]) -> int:
    """Print a line for what was checked, and one for each problem; return the exit status."""
    show(f"{'wrong' if problems else 'ok   '}  {one_line(name)}\n")
    for problem in problems:
        show(f"       {one_line(problem)}\n")
    return _FAILED if problems else 0
