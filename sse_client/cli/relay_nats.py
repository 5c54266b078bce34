"""``sse-client relay --nats``: relays an event stream into NATS JetStream, or shows its status."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sse_client import SSE, HttpClient
from sse_client.cli.relay_check import show_problems
from sse_client.cli.relay_config import read_headers
from sse_client.cli.relay_log import set_up_log
from sse_client.cli.relay_running import Signals, run_until_signal
from sse_client.cli.relay_status import show_status
from sse_client.relay import RelayedStream
from sse_client.relay.check import check_source
from sse_client.relay.held_lease import LEASE_TIME
from sse_client.relay.jetstream.connection import NatsServer
from sse_client.relay.jetstream.relay import JetStreamRelay
from sse_client.relay.jetstream.status import check_target, read_status
from sse_client.relay.jetstream.stream import check_stream_name
from sse_client.relay.source import address_without_secrets

if TYPE_CHECKING:
    import argparse


def run_nats(options: argparse.Namespace, address: str) -> int:
    """Relay, check or show the status, with NATS. Blocks until it is done.

    Args:
        options: The options of the command, which go with NATS.
        address: The address of NATS.

    Returns:
        The exit status.

    Raises:
        SSEClientError, OSError, ValueError: It failed.
        ImportError: A package is missing.
    """
    try:
        check_stream_name(options.stream)
    except ValueError as error:
        raise ValueError(f"--{error}") from None  # it begins with the name: stream
    with contextlib.closing(NatsServer(address)) as server:
        if options.status:
            read = lambda: [read_status(server, options.stream)]  # noqa: E731  # for a single use
            return show_status(server, read, as_json=options.json)
        if options.check:
            return _check(options, server)
        set_up_log(verbose=options.verbose, as_json=options.log_json)
        _relay(options, address, server)
    return 0


def _check(options: argparse.Namespace, server: NatsServer) -> int:
    lease_time = options.lease_time or LEASE_TIME
    stream = RelayedStream(options.url, options.stream, read_headers(options))
    with HttpClient().install(SSE) as client:
        problems = check_target(server, options.stream, lease_time)
        return show_problems(options.stream, problems + check_source(client, stream))


def _relay(options: argparse.Namespace, address: str, server: NatsServer) -> None:
    with HttpClient().install(SSE) as client:
        relay = JetStreamRelay(
            client,
            options.url,
            nats=address,
            stream=options.stream,
            lease_time=options.lease_time or LEASE_TIME,
            headers=read_headers(options),
        )
        shown = address_without_secrets(options.url)
        run_until_signal(
            options,
            relay,
            f"{shown} into the stream {options.stream!r}, {server.shown}, as {relay.owner}",
            signals=Signals(None),
            target=server,
            statuses=lambda: [read_status(server, options.stream)],
        )
