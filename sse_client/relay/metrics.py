"""Figures for Prometheus, read from Redis at each scrape (extra ``metrics``).

All processes of a pool tell the same, since Redis knows all streams: ``max by (stream)`` of them is
right, whichever of them are alive.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sse_client.relay.status import read_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sse_client.relay.connection import RedisServer

#: How long closing waits for the thread that serves, in seconds.
_CLOSE_TIMEOUT = 2.0

_FIGURES = (
    ("counter", "sse_relay_entries", "Entries that were ever written.", "written"),
    ("gauge", "sse_relay_length", "Entries that the Redis Stream holds.", "length"),
    ("gauge", "sse_relay_lag", "Entries that the slowest consumer group has not read.", "lag"),
    ("gauge", "sse_relay_waiting", "Events that arrived and are not written yet.", "waiting"),
    ("gauge", "sse_relay_rate", "Entries a second, of late.", "rate"),
    ("gauge", "sse_relay_errors", "Losses and failures of the last owner.", "errors"),
)


class _Collector:
    """Asks Redis whenever somebody asks for the figures."""

    def __init__(self, library: Any, server: RedisServer, streams: Sequence[str]) -> None:  # noqa: ANN401  # a module
        self._library = library
        self._server = server
        self._streams = streams

    def collect(self) -> Iterator[Any]:
        """Yield each figure of all streams; only that Redis is away if it is."""
        up = self._library.GaugeMetricFamily("sse_relay_redis_up", "Whether Redis replies.")
        try:
            statuses = read_status(self._server, self._streams)
        except self._server.failures:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        kinds = {
            "counter": self._library.CounterMetricFamily,
            "gauge": self._library.GaugeMetricFamily,
        }
        for kind, name, text, attribute in _FIGURES:
            family = kinds[kind](name, text, labels=["stream"])
            for status in statuses:
                value = getattr(status, attribute)
                if value is not None:
                    family.add_metric([status.stream], value)
            yield family
        owners = self._library.GaugeMetricFamily(
            "sse_relay_owner", "Who holds the lease.", labels=["stream", "owner"]
        )
        for status in statuses:
            if status.owner is not None:
                owners.add_metric([status.stream, status.owner], 1)
        yield owners


@contextlib.contextmanager
def serve_metrics(
    server: RedisServer, streams: Sequence[str], *, port: int, host: str = "127.0.0.1"
) -> Iterator[int]:
    """Serve the figures on a port, on threads of their own; gives the port.

    Args:
        server: Where the figures are.
        streams: The Redis Streams.
        port: The port; 0 for any.
        host: The address to listen on. There is no password: others than this machine should not
            get there.

    Raises:
        ImportError: The package ``prometheus-client`` is missing.
        OSError: The port is taken, or the address none of this machine.
    """
    try:
        import prometheus_client  # noqa: PLC0415  # an extra
        from prometheus_client import core  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "--metrics-port needs the package prometheus-client: pip install 'sse-client[metrics]'"
        ) from error
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(core, server, streams))
    try:
        http, thread = prometheus_client.start_http_server(port, host, registry)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OSError(f"the metrics cannot be served on {host}:{port}: {reason}") from error
    try:
        yield http.server_port
    finally:
        http.shutdown()
        http.server_close()
        thread.join(_CLOSE_TIMEOUT)
