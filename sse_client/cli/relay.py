"""``sse-client relay``: relays event streams into Redis Streams or NATS, and shows their status."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sse_client.cli import values
from sse_client.cli.output import complain
from sse_client.cli.parser import Parser
from sse_client.cli.relay_check import check_relay
from sse_client.cli.relay_config import read_config
from sse_client.cli.relay_letters import requeue_letters, show_letters
from sse_client.cli.relay_log import set_up_log
from sse_client.cli.relay_nats import run_nats
from sse_client.cli.relay_running import run_relay
from sse_client.cli.relay_status import show_status
from sse_client.cli.request_options import token
from sse_client.relay.connection import RedisServer
from sse_client.relay.held_lease import LEASE_TIME
from sse_client.relay.status import read_status

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sse_client.relay import RelayConfig

_ENDED = 0
_FAILED = 1

#: The variables for the addresses of Redis and NATS, which others can see on the command line.
_ENVIRONMENT = "REDIS_URL"
_NATS_ENVIRONMENT = "NATS_URL"

#: The options that only concern Redis.
_ONLY_REDIS = ("redis", "config", "max_length", "wait_replicas", "dead_letters", "requeue")


def _parser() -> Parser:
    parser = Parser(
        prog="sse-client relay",
        usage="sse-client relay [option ...] (--stream NAME URL | --config FILE)\n"
        "       sse-client relay --nats ADDRESS [option ...] --stream NAME URL\n"
        "       sse-client relay (--status | --check | --dead-letters | --requeue ID) ...",
        description="Relay event streams into Redis Streams, or one into NATS JetStream, each "
        "event exactly once. You can run several relays. For a single stream, one relays it and "
        "the others stand by. With --config, they share the streams of the file.",
        epilog="Exit status: 0 the stream has ended, or SIGTERM, 1 failed, 2 wrong usage, "
        "3 --status found a stream that is not relayed, 130 Ctrl-C.",
    )
    parser.add_argument("url", metavar="URL", nargs="?", type=values.url)
    what = parser.add_argument_group("streams")
    what.add_argument(
        "--stream",
        metavar="NAME",
        help="the key of the Redis Stream, or the name of the stream in JetStream",
    )
    what.add_argument(
        "--config", metavar="FILE", type=values.existing_path, help="many streams, in TOML"
    )
    how = parser.add_argument_group("relaying")
    how.add_argument(
        "--redis", metavar="ADDRESS", help=f"the address of Redis; by default ${_ENVIRONMENT}"
    )
    how.add_argument(
        "--nats",
        metavar="ADDRESS|@FILE",
        type=values.text_or_file,
        help=f"relay into NATS; by default ${_NATS_ENVIRONMENT}, unless ${_ENVIRONMENT} is set. "
        "Excludes --config, --max-length, --wait-replicas, --dead-letters and --requeue",
    )
    how.add_argument(
        "--lease-time",
        metavar="SECONDS",
        type=values.above_zero,
        help=f"take over within this time; {LEASE_TIME:g} by default",
    )
    how.add_argument(
        "--max-length", metavar="N", type=values.whole_number(1), help="trim to about this length"
    )
    how.add_argument(
        "--wait-replicas",
        metavar="N",
        type=values.whole_number(0),
        default=0,
        help="wait until N replicas have each batch",
    )
    how.add_argument(
        *("-H", "--header"),
        metavar="'NAME: VALUE'|@FILE",
        action="extend",
        default=[],
        type=values.fields,
        help="a header of the request",
    )
    how.add_argument(
        "--bearer-env", metavar="VAR", type=token, help="send the bearer token in this variable"
    )
    how.add_argument(
        "--bearer-file",
        metavar="FILE",
        type=values.existing_path,
        help="send the bearer token in this file",
    )
    view = parser.add_argument_group("status and log")
    view.add_argument("--status", action="store_true", help="show a table of the streams")
    view.add_argument("--check", action="store_true", help="check everything, write nothing")
    view.add_argument("--json", action="store_true", help="print --status as JSON")
    view.add_argument("--verbose", action="store_true", help="log what happens")
    view.add_argument("--log-json", action="store_true", help="log as JSON")
    view.add_argument(
        "--metrics-port",
        metavar="N",
        type=values.whole_number(0, 65535),
        help="serve metrics for Prometheus",
    )
    view.add_argument(
        "--metrics-host",
        metavar="HOST",
        default="127.0.0.1",
        help="serve them on this address; 127.0.0.1 by default",
    )
    view.add_argument("--dead-letters", action="store_true", help="list the dead letters as JSON")
    view.add_argument(
        "--requeue",
        metavar="ID",
        action="append",
        help="put a dead letter, or all, back into its group",
    )
    parser.add_help_option()
    return parser


def run(words: Sequence[str]) -> int:
    """Run ``sse-client relay``. Blocks until it is done; for the main thread.

    Args:
        words: The words after the name of the command.

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
    nats = _nats_address(options)
    if nats:
        try:
            return run_nats(options, nats)
        except ImportError as error:
            complain(str(error))
            return _FAILED
    try:
        config = read_config(options)
        server = RedisServer(_address(options, config))
    except ImportError as error:
        complain(str(error))
        return _FAILED
    try:
        return _carry_out(options, config, server)
    except ImportError as error:
        complain(str(error))
        return _FAILED
    finally:
        server.close()


def _carry_out(options: argparse.Namespace, config: RelayConfig, server: RedisServer) -> int:
    if options.status:
        names = [each.stream for each in config.streams]
        return show_status(server, lambda: read_status(server, names), as_json=options.json)
    if options.check:
        return check_relay(server, config, is_pool=options.config is not None)
    if options.requeue:
        return requeue_letters(server, options.stream, options.requeue)
    if options.dead_letters:
        return show_letters(server, options.stream)
    set_up_log(verbose=options.verbose, as_json=options.log_json)
    return run_relay(options, config, _address(options, config), server)


def _check_usage(parser: Parser, options: argparse.Namespace) -> None:
    for name in _ONLY_REDIS if _nats_address(options) else ():
        if getattr(options, name):
            parser.error(f"--{name.replace('_', '-')} is not available with NATS")
    if (options.config is None) == (options.stream is None):
        parser.error("give either --stream or --config")
    own = (
        options.url,
        options.max_length,
        options.wait_replicas,
        options.bearer_env,
        options.bearer_file,
    )
    if options.config is not None and (any(own) or options.header):
        parser.error("with --config, addresses, lengths and headers are in the file")
    if options.json and not options.status:
        parser.error("--json needs --status")
    if (options.dead_letters or options.requeue) and options.stream is None:
        parser.error("--dead-letters and --requeue need --stream")
    only_looks = options.status or options.dead_letters or options.requeue
    if options.stream is not None and not only_looks and options.url is None:
        parser.error("the address of the event stream is missing")


def _nats_address(options: argparse.Namespace) -> str:
    """Return the address of NATS, ``""`` if the target is Redis."""
    if options.nats:
        return str(options.nats)
    if options.redis or options.config or os.environ.get(_ENVIRONMENT):
        return ""
    return os.environ.get(_NATS_ENVIRONMENT, "")


def _address(options: argparse.Namespace, config: RelayConfig) -> str:
    address = options.redis or config.redis or os.environ.get(_ENVIRONMENT)
    if not address:
        raise ValueError(
            "the address of Redis or NATS is missing: give --redis or --nats, or set "
            f"{_ENVIRONMENT} or {_NATS_ENVIRONMENT}"
        )
    return str(address)
