"""``sse-client relay``: relays event streams into Redis Streams, and shows how that goes."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

from sse_client import SSE, HttpClient, SSEClientError
from sse_client.cli import values
from sse_client.cli.output import complain, show
from sse_client.cli.parser import Parser
from sse_client.relay import RedisRelay, RelayConfig, RelayedStream, RelayWorker, load_config
from sse_client.relay.connection import RedisServer, StopFlag, describe
from sse_client.relay.lease import LEASE_TIME
from sse_client.relay.metrics import serve_metrics
from sse_client.relay.status import StreamStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENDED = 0
_FAILED = 1

#: Where the address of Redis may be instead of on the command line, where everybody sees it.
_ENVIRONMENT = "REDIS_URL"

#: How often the main thread looks for signals, in seconds: a lock alone can't be interrupted by
#: them everywhere.
_LOOK = 0.5

_COLUMNS = ("STREAM", "OWNER", "STATE", "LAG", "WAITING", "RATE/S", "WRITTEN", "LAST ID", "ERRORS")

#: More of an ID, or of an error, than this says no more in a table.
_LONGEST_ID = 40
_LONGEST_ERROR = 120


def _parser() -> Parser:
    parser = Parser(
        prog="sse-client relay",
        usage="sse-client relay [option ...] --stream NAME URL\n"
        "       sse-client relay [option ...] --config FILE\n"
        "       sse-client relay --status (--stream NAME | --config FILE)",
        description="Relay event streams into Redis Streams, each event exactly once. Any number "
        "may run for the same: the others stand by, or share the streams of a file.",
        epilog="Exit status: 0 the stream has ended or SIGTERM came, 1 it failed, 2 wrong usage, "
        "130 Ctrl-C.",
    )
    parser.add_argument("url", metavar="URL", nargs="?", type=values.url)
    what = parser.add_argument_group("what")
    what.add_argument("--stream", metavar="NAME", help="the key of the Redis Stream")
    what.add_argument("--config", metavar="FILE", type=values.existing_path, help="many, in TOML")
    how = parser.add_argument_group("how")
    how.add_argument("--redis", metavar="ADDRESS", help=f"or {_ENVIRONMENT} of the environment")
    how.add_argument(
        "--lease-time",
        metavar="SECONDS",
        type=values.above_zero,
        help=f"{LEASE_TIME:g}: what a take-over takes at most",
    )
    how.add_argument(
        "--max-length", metavar="N", type=values.whole_number(1), help="trim the stream, about"
    )
    view = parser.add_argument_group("view")
    view.add_argument("--status", action="store_true", help="a table of the streams")
    view.add_argument("--verbose", action="store_true", help="log what happens")
    view.add_argument(
        "--metrics-port", metavar="N", type=values.whole_number(0, 65535), help="for Prometheus"
    )
    view.add_argument("--metrics-host", metavar="HOST", default="127.0.0.1")
    parser.add_help_option()
    return parser


def run(words: Sequence[str]) -> int:
    """Run ``sse-client relay``. Blocks until it is done; for the main thread.

    Args:
        words: The words behind the command's name.

    Returns:
        The exit status.

    Raises:
        SystemExit: With 2 for wrong usage.
        SSEClientError, OSError, ValueError: It failed.
        KeyboardInterrupt: Ctrl-C.
    """
    parser = _parser()
    options = parser.parse(words)
    _check_usage(parser, options)
    try:
        config = _config(options)
        server = RedisServer(_address(options, config))
    except ImportError as error:
        complain(str(error))
        return _FAILED
    try:
        if options.status:
            return _show_status(server, config)
        logging.basicConfig(
            level=logging.INFO if options.verbose else logging.WARNING,
            format="%(asctime)s %(levelname)s %(message)s",
        )
        return _relay(options, config, server)
    except ImportError as error:
        complain(str(error))
        return _FAILED
    finally:
        server.close()


def _check_usage(parser: Parser, options: argparse.Namespace) -> None:
    if (options.config is None) == (options.stream is None):
        parser.error("give either --stream or --config")
    if options.config is not None and (options.url or options.max_length is not None):
        parser.error("with --config, addresses and lengths are in the file")
    if options.stream is not None and not options.status and options.url is None:
        parser.error("the address of the event stream is missing")


def _config(options: argparse.Namespace) -> RelayConfig:
    if options.config is not None:
        config = load_config(options.config)
        for number, each in enumerate(config.streams, 1):
            try:
                values.url(each.url)
            except argparse.ArgumentTypeError as error:
                raise ValueError(f"stream {number}: url {error}") from None
        return config
    try:
        stream = RelayedStream(options.url or "", options.stream)
    except ValueError as error:
        raise ValueError(f"--{error}") from None  # it begins with the name: stream
    return RelayConfig((stream,))


def _address(options: argparse.Namespace, config: RelayConfig) -> str:
    address = options.redis or config.redis or os.environ.get(_ENVIRONMENT)
    if not address:
        raise ValueError(f"the address of Redis is missing: --redis, or {_ENVIRONMENT}")
    return str(address)


def _relay(options: argparse.Namespace, config: RelayConfig, server: RedisServer) -> int:
    """Relay until the stream ends or a signal comes, and give the leases back."""
    lease_time = options.lease_time or config.lease_time or LEASE_TIME
    address = _address(options, config)
    with contextlib.ExitStack() as stack:
        terminated = stack.enter_context(_termination())
        # Each of hundreds of streams has its own connection.
        client = stack.enter_context(HttpClient().install(SSE))
        names = [each.stream for each in config.streams]
        if options.metrics_port is not None:
            stack.enter_context(
                serve_metrics(server, names, port=options.metrics_port, host=options.metrics_host)
            )
        relay: RedisRelay | RelayWorker
        if options.config is not None:
            relay = RelayWorker(
                client, config.streams, redis=address, pool=config.pool, lease_time=lease_time
            )
        else:
            relay = RedisRelay(
                client,
                options.url,
                redis=address,
                stream=options.stream,
                max_length=options.max_length,
                lease_time=lease_time,
            )
        stack.enter_context(relay)
        while not terminated.is_set():
            if relay.wait(_LOOK):
                break
    return _ENDED


@contextlib.contextmanager
def _termination() -> Iterator[StopFlag]:
    """Set a flag when the process is asked to end, instead of ending it at once."""
    terminated = StopFlag()  # which a second signal may set in the middle of the first
    before = signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_status(server: RedisServer, config: RelayConfig) -> int:
    try:
        statuses = read_status(server, [each.stream for each in config.streams])
    except server.failures as error:
        raise SSEClientError(f"Redis does not tell: {describe(error)}") from error
    rows = [_COLUMNS, *map(_row, statuses)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (word.ljust(width) for word, width in zip(row, widths, strict=True))
        show("  ".join(cells).rstrip() + "\n")
    return _ENDED


def _row(status: StreamStatus) -> tuple[str, ...]:
    return (
        status.stream,
        status.owner or "-",
        status.state,
        "-" if status.lag is None else str(status.lag),
        str(status.waiting),
        f"{status.rate:.1f}",
        str(status.written),
        "-" if status.last_event_id is None else _shown(status.last_event_id, _LONGEST_ID),
        f"{status.errors} {_shown(status.last_error, _LONGEST_ERROR)}".strip(),
    )


def _shown(text: str, longest: int) -> str:
    """Return a text for a terminal: it is the server's, or may hold some of it."""
    return "".join(each if each.isprintable() else "?" for each in text[:longest])
