"""``sse-client relay --status``: the status of the streams of a relay."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from sse_client import SSEClientError
from sse_client.cli.output import show
from sse_client.relay.failures import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sse_client.relay.patience import Target
    from sse_client.relay.status import StreamStatus

#: The exit status if a stream is not relayed.
NOT_RELAYED = 3

_COLUMNS = ("STREAM", "OWNER", "STATE", "LAG", "WAITING", "RATE/S", "WRITTEN", "LAST ID", "ERRORS")

#: The maximum length of an ID, or of an error, in the table.
_LONGEST_ID = 40
_LONGEST_ERROR = 120


def show_status(
    target: Target, read: Callable[[], Sequence[StreamStatus]], *, as_json: bool
) -> int:
    """Print a table of the streams, or a JSON array. Blocks for the target.

    Args:
        target: The target.
        read: Reads the status of the streams from it.
        as_json: Whether to print JSON.

    Returns:
        0, or 3 if there is a stream that nobody has relayed for two lease times, or whose owner
        has not reported for one.

    Raises:
        SSEClientError: The target does not reply, or refuses.
    """
    try:
        statuses = read()
    except target.failures as error:
        raise SSEClientError(f"reading from {target.name} failed: {describe(error)}") from error
    if as_json:
        show(json.dumps([dataclasses.asdict(each) for each in statuses], indent=2) + "\n")
    else:
        _show_table(statuses)
    return NOT_RELAYED if any(each.unheld or each.stale for each in statuses) else 0


def _show_table(statuses: Sequence[StreamStatus]) -> None:
    rows = [_COLUMNS, *map(_row, statuses)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (word.ljust(width) for word, width in zip(row, widths, strict=True))
        show("  ".join(cells).rstrip() + "\n")


def _row(status: StreamStatus) -> tuple[str, ...]:
    return (
        status.stream,
        status.owner or "-",
        _state(status),
        "-" if status.lag is None else str(status.lag),
        str(status.waiting),
        f"{status.rate:.1f}",
        str(status.written),
        "-" if status.last_event_id is None else _shown(status.last_event_id, _LONGEST_ID),
        f"{status.errors} {_shown(status.last_error, _LONGEST_ERROR)}".strip(),
    )


def _state(status: StreamStatus) -> str:
    if status.stale:
        return f"{status.state} (stale: {status.reported:.0f} s ago)"
    if status.unheld and status.reported is not None:
        return f"{status.state} for {status.reported:.0f} s"
    return status.state


def _shown(text: str, longest: int) -> str:
    """Return a text for a terminal: it may contain text from the server."""
    return "".join(each if each.isprintable() else "?" for each in text[:longest])
