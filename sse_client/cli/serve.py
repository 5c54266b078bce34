"""``sse-client serve``: serves a recorded stream, to any number of clients, with resumption.

Threads: the server answers each client in a thread of its own; the main thread waits for the end.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

from sse_client.cli import values
from sse_client.cli.output import show
from sse_client.cli.parser import Parser
from sse_client.cli.recording import new_parser, read_blocks
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from sse_client import EventStreamParser
    from sse_client.testing import Exchange

#: How long ``--once`` waits for its client to take the end of the stream, in seconds.
_PATIENCE = 5.0

_LARGEST_PORT = 65535


def run(words: Sequence[str]) -> int:
    """Serve a recording until a signal ends it, or with ``--once`` a client has had it all."""
    arguments = _parse(words)
    replay = _Replay(arguments.replay, arguments.rate, is_endless=arguments.loop)
    server = SSEServer(replay, port=arguments.port)
    server.host = arguments.host
    with _ended_by_sigterm(), server:
        show(f"{server.url}\n")
        if arguments.once:
            replay.is_over.wait()
        else:
            threading.Event().wait()
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="sse-client serve",
        usage="sse-client serve --replay FILE [option ...]",
        description="Serve a recorded stream, such as sse-client record writes, on every path, "
        "and print the address. Last-Event-ID is obeyed: a client goes on behind that event. "
        "204 tells one that has them all to stop, 410 that the recording has no such ID.",
        epilog="Ctrl-C and SIGTERM end it. Exit status: 0 ended, 1 failed, 2 wrong usage, "
        "130 Ctrl-C.",
    )
    what = parser.add_argument_group("recording")
    what.add_argument("--replay", metavar="FILE", type=values.existing_path, required=True)
    what.add_argument("--rate", metavar="N", type=values.above_zero, help="events a second")
    end = what.add_mutually_exclusive_group()
    end.add_argument("--loop", action="store_true", help="from the start again at its end")
    end.add_argument("--once", action="store_true", help="end once a client has had it all")
    where = parser.add_argument_group("address")
    where.add_argument("--host", metavar="NAME", default="127.0.0.1", help="127.0.0.1")
    where.add_argument(
        "--port",
        metavar="N",
        type=values.whole_number(0, _LARGEST_PORT),
        default=0,
        help="any that is free",
    )
    parser.add_help_option()
    return parser.parse(words)


class _Replay:
    """Answers a request with the recording, from behind its last event ID on. Thread-safe.

    Args:
        path: The recording; each client reads it for itself, so it may grow.
        rate: Events a second, or None for as many as the client takes.
        is_endless: Whether to begin again at the end.

    Attributes:
        is_over: Set once a client has had it all.
    """

    def __init__(self, path: str, rate: float | None, *, is_endless: bool) -> None:
        self._path = path
        self._interval = 0.0 if rate is None else 1 / rate
        self._is_endless = is_endless
        self.is_over = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        begin = exchange.request.headers.get("Last-Event-ID", "")
        with open(self._path, "rb") as file:  # noqa: PTH123  # as it was typed
            count = _count_known(read_blocks(file), begin) if begin else 0
            if count is None:
                exchange.respond(410, body="The recording has no event of this ID.\n")
                return
            file.seek(0)
            blocks: Iterator[bytes] = itertools.islice(read_blocks(file), count, None)
            if self._is_endless:
                blocks = itertools.chain(blocks, _repeated(file))
            first = next(blocks, None)
            if first is None:
                exchange.respond(204, {"Connection": "close"})
            else:
                exchange.open(headers={"Connection": "close"})
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
    """Return how many blocks are behind a client with this ID, None if the recording lacks it.

    Of several with the same ID the first counts: so an event may come twice, but none is lost. Not
    so at the end of the recording, where nothing but this ID follows: whoever had it all asks with
    that ID, too, and would get the last events again and again.
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
    """Yield the blocks of a recording from its start on, again and again while there are any."""
    is_empty = False
    while not is_empty:
        file.seek(0)
        is_empty = True
        for block in read_blocks(file):
            is_empty = False
            yield block


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block, as a clean exit."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
