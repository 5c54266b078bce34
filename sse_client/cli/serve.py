"""``sse-client serve``: serves a recorded stream to any number of clients, with resumption.

The server responds to each client in its own thread. The main thread waits for the end.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sse_client.cli import values
from sse_client.cli.output import show
from sse_client.cli.parser import Parser
from sse_client.cli.recording import require_recording
from sse_client.cli.replay import Replay
from sse_client.cli.signals import ended_by_sigterm
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How often the main thread checks for signals, in seconds. On Windows Ctrl-C interrupts no wait.
_LOOK = 0.5

_LARGEST_PORT = 65535


def run(words: Sequence[str]) -> int:
    """Serve a recording until a signal, or with ``--once`` until a client has received it all."""
    arguments = parser().parse(words)
    require_recording(arguments.replay)
    replay = Replay(
        arguments.replay, arguments.rate, is_endless=arguments.loop, origins=arguments.cors
    )
    server = SSEServer(replay, port=arguments.port)
    server.host = arguments.host
    with ended_by_sigterm(0), server:
        show(f"{server.url}\n")
        end = replay.is_over if arguments.once else threading.Event()
        while not end.wait(_LOOK):
            pass
    return 0


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser(
        prog="sse-client serve",
        usage="sse-client serve --replay FILE [option ...]",
        description="Serve a recording of sse-client record on every path, and print the "
        "address. A client that sends Last-Event-ID continues after that event. A "
        "client that has all events gets status 204, and one with an unknown ID gets 410.",
        epilog="Ctrl-C and SIGTERM end it. Exit status: 0 ended, 1 failed, 2 wrong usage, "
        "130 Ctrl-C.",
    )
    what = made.add_argument_group("recording")
    what.add_argument(
        "--replay",
        metavar="FILE",
        type=values.existing_path,
        required=True,
        help="the recording",
    )
    what.add_argument(
        "--rate", metavar="N", type=values.above_zero, help="send N events per second"
    )
    end = what.add_mutually_exclusive_group()
    end.add_argument("--loop", action="store_true", help="start again at the end")
    end.add_argument(
        "--once", action="store_true", help="end after a client has received everything"
    )
    where = made.add_argument_group("address")
    where.add_argument(
        "--host", metavar="NAME", default="127.0.0.1", help="listen here; 127.0.0.1 by default"
    )
    where.add_argument(
        "--port",
        metavar="N",
        type=values.whole_number(0, _LARGEST_PORT),
        default=0,
        help="listen on this port; by default any free port",
    )
    where.add_argument(
        "--cors",
        metavar="ORIGIN",
        type=values.origin,
        action="append",
        default=[],
        help="let pages of this origin, or of any with '*', read it; repeatable",
    )
    made.add_help_option()
    return made
