"""Responds to requests with a recorded stream, with resumption and CORS."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

from sse_client.cli.cors import headers_for, options_for
from sse_client.cli.recording import new_parser, read_blocks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sse_client import EventStreamParser
    from sse_client.testing import Exchange

#: How long a client may take to receive the end of the stream, in seconds.
_PATIENCE = 5.0


class Replay:
    """Responds to a request with the recording, from the event after its ID. Thread-safe.

    Args:
        path: The recording. It is read for each client, so it may grow.
        rate: Events per second, or None for no limit.
        is_endless: Whether to start again at the end.
        origins: The origins whose pages may read the stream in a browser.

    Attributes:
        is_over: Set once a client has received everything.
    """

    def __init__(
        self,
        path: str,
        rate: float | None,
        *,
        is_endless: bool,
        origins: Collection[str] = (),
    ) -> None:
        self._path = path
        self._interval = 0.0 if rate is None else 1 / rate
        self._is_endless = is_endless
        self._origins = origins
        self.is_over = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        """Respond to a request."""
        if exchange.request.method == "OPTIONS":
            exchange.respond(204, options_for(exchange.request, self._origins))
            return
        headers = headers_for(exchange.request, self._origins)
        headers["Connection"] = "close"
        begin = exchange.request.headers.get("Last-Event-ID", "")
        with open(self._path, "rb") as file:  # noqa: PTH123  # as it was typed
            count = _count_known(read_blocks(file), begin) if begin else 0
            if count is None:
                exchange.respond(410, headers, "The recording has no event with this ID.\n")
                return
            file.seek(0)
            blocks: Iterator[bytes] = itertools.islice(read_blocks(file), count, None)
            if self._is_endless:
                blocks = itertools.chain(blocks, _repeated(file))
            first = next(blocks, None)
            if first is None:
                exchange.respond(204, headers)
            else:
                exchange.open(headers=headers)
                self._send(itertools.chain([first], blocks), exchange, new_parser())
                exchange.end()
        exchange.wait_closed(_PATIENCE)
        self.is_over.set()

    def _send(self, blocks: Iterator[bytes], exchange: Exchange, parser: EventStreamParser) -> None:
        due = time.monotonic()
        for block in blocks:
            if parser.feed(block):
                exchange.wait_closed(max(0.0, due - time.monotonic()))
                due += self._interval
            exchange.write(block)


def _count_known(blocks: Iterator[bytes], last_event_id: str) -> int | None:
    """Return the number of blocks that a client with this ID has, or None for an unknown ID.

    If several events have this ID, the first counts, so that no event is lost, although events may
    be repeated. But if all later events of the recording have this ID, the last counts. Otherwise a
    client that has everything would get the last events again and again.
    """
    parser = new_parser()
    first: int | None = None
    number = 0
    for number, block in enumerate(blocks, 1):
        parser.feed(block)
        if parser.last_event_id == last_event_id:
            first = first or number
        elif first:
            return first
    return number if first else None


def _repeated(file: BinaryIO) -> Iterator[bytes]:
    """Yield the blocks of a recording from its start, repeatedly, unless there are none."""
    is_empty = False
    while not is_empty:
        file.seek(0)
        is_empty = True
        for block in read_blocks(file):
            is_empty = False
            yield block
