"""``sse-client relay`` while it runs: its relay or worker, its metrics, and its signals."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING

from sse_client import SSE, HttpClient
from sse_client.cli.output import one_line
from sse_client.cli.relay_config import read_config
from sse_client.relay import RedisRelay, RelayConfig, RelayWorker
from sse_client.relay.descriptors import prepare_descriptors
from sse_client.relay.held_lease import LEASE_TIME
from sse_client.relay.metrics import Sources, serve_metrics
from sse_client.relay.source import address_without_secrets
from sse_client.relay.status import read_status
from sse_client.relay.stop_flag import StopFlag

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from sse_client.relay.connection import RedisServer
    from sse_client.relay.lifecycle import Lifecycle
    from sse_client.relay.patience import Target
    from sse_client.relay.status import StreamStatus

logger = logging.getLogger("sse_client")

#: How often the main thread looks for signals, in seconds. Not every system lets a signal interrupt
#: the wait for a lock.
_LOOK = 0.5


def run_relay(
    options: argparse.Namespace, config: RelayConfig, address: str, server: RedisServer
) -> int:
    """Relay until the stream ends or a signal arrives, and release the leases.

    Args:
        options: The options of the command.
        config: The streams.
        address: The address of Redis.
        server: The same Redis, for the metrics.

    Returns:
        The exit status.

    Raises:
        SSEClientError, OSError: It failed.
        ImportError: A package is missing.
    """
    lease_time = options.lease_time or config.lease_time or LEASE_TIME
    prepare_descriptors(len(config.streams))
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(HttpClient().install(SSE))
        relay: RedisRelay | RelayWorker
        if options.config is not None:
            worker = relay = RelayWorker(
                client, config.streams, redis=address, pool=config.pool, lease_time=lease_time
            )
            signals = Signals(lambda: _reload(worker, options, config))
            streams: Callable[[], list[str]] = lambda: worker.streams  # noqa: E731  # one of two
        else:
            relay = RedisRelay(
                client,
                options.url,
                redis=address,
                stream=options.stream,
                max_length=options.max_length,
                lease_time=lease_time,
                headers=dict(config.streams[0].headers),
                wait_replicas=options.wait_replicas,
            )
            signals = Signals(None)
            streams = lambda: [options.stream]  # noqa: E731  # as above
        run_until_signal(
            options,
            relay,
            _describe(config, relay, server),
            signals=signals,
            target=server,
            statuses=lambda: read_status(server, streams()),
        )
    return 0


def run_until_signal(
    options: argparse.Namespace,
    relay: Lifecycle,
    text: str,
    *,
    signals: Signals,
    target: Target,
    statuses: Callable[[], list[StreamStatus]],
) -> None:
    """Run a relay or worker until it ends or a signal arrives, and serve its metrics.

    Args:
        options: The options of the command.
        relay: What runs.
        text: What it does, without secrets, for standard error.
        signals: The signals.
        target: The target, for the metrics.
        statuses: Reads the status of the streams from it.

    Raises:
        SSEClientError, OSError: It failed.
        ImportError: A package is missing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(signals.handled())
        if options.metrics_port is not None:
            sources = Sources(
                target,
                statuses,
                figures=relay.figures,
                trouble=lambda: relay.trouble,
                is_alive=lambda: relay.is_running,
            )
            stack.enter_context(
                serve_metrics(sources, port=options.metrics_port, host=options.metrics_host)
            )
        if not options.log_json:
            print(one_line(f"relaying {text}; Ctrl-C ends it"), file=sys.stderr)
        stack.enter_context(relay)
        while not signals.is_terminated():
            if relay.wait(_LOOK):
                break


def _describe(config: RelayConfig, relay: RedisRelay | RelayWorker, server: RedisServer) -> str:
    """Return what this process does, without secrets."""
    first = config.streams[0]
    count = len(config.streams)
    what = f"{count} {'stream' if count == 1 else 'streams'} of the pool {config.pool!r}"
    name = relay.name if isinstance(relay, RelayWorker) else relay.owner
    if isinstance(relay, RedisRelay):
        what = f"{address_without_secrets(first.url)} into the Redis Stream {first.stream!r}"
    return f"{what}, {server.shown}, as {name}"


class Signals:
    """The requests of signals. The handlers only note them.

    SIGTERM ends the process. On SIGHUP it reads its configuration again. Without a configuration
    SIGHUP, which a closed terminal sends, ends the process too.

    Args:
        reload: Reads the configuration again; None if there is none.
    """

    def __init__(self, reload: Callable[[], object] | None) -> None:
        self._reload = reload
        self._terminated = StopFlag()  # a second signal may set it during the handler of the first
        self._has_to_reload = False

    def is_terminated(self) -> bool:
        """Reload if a signal asked for it; return whether to end. For the main thread."""
        if self._has_to_reload and self._reload is not None:
            self._has_to_reload = False
            self._reload()
        return self._terminated.is_set()

    def _hang_up(self) -> None:
        if self._reload is None:
            self._terminated.set()
        self._has_to_reload = True

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals within the block."""
        handlers = {"SIGTERM": self._terminated.set, "SIGHUP": self._hang_up}
        before = {}
        for name, handle in handlers.items():
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None:
                before[number] = signal.signal(number, lambda *_, handle=handle: handle())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _reload(worker: RelayWorker, options: argparse.Namespace, before: RelayConfig) -> None:
    """Read the configuration again. A wrong one changes nothing."""
    try:
        config = read_config(options)
        worker.reload(config.streams)
    except (OSError, TypeError, ValueError) as error:
        logger.error("the configuration was not reloaded: %s", error)  # noqa: TRY400  # it is known
        return
    prepare_descriptors(len(config.streams))
    fixed = ("redis", "pool", "lease_time")
    changed = [name for name in fixed if getattr(config, name) != getattr(before, name)]
    if changed:
        logger.warning("changes to these options need a restart: %s", ", ".join(changed))
    logger.warning("the configuration was reloaded; number of streams: %d", len(config.streams))
