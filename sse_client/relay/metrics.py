"""Metrics for Prometheus, and the health of a process (extra ``metrics``).

The figures are read from the target for each scrape, so all processes of a pool show all streams:
``max by (stream)`` is correct, whichever of them are alive. A process that holds a lease shows its
own figures of that stream instead, even while the target is unavailable.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any
from wsgiref import simple_server

from sse_client.relay.failures import RelayError
from sse_client.relay.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sse_client.relay.patience import Target
    from sse_client.relay.status import OwnFigures, StreamStatus

#: How long closing waits for the thread that serves, in seconds.
_CLOSE_TIMEOUT = 2.0

_FIGURES = (
    ("counter", "sse_relay_entries", "Entries that were ever written.", "written"),
    ("gauge", "sse_relay_length", "Entries that the stream holds.", "length"),
    ("gauge", "sse_relay_lag", "Entries that the slowest consumer group has not read.", "lag"),
    (
        *("counter", "sse_relay_trimmed"),
        *("Entries that were trimmed before a consumer group had read them.", "trimmed"),
    ),
    ("gauge", "sse_relay_dead_letters", "Entries in the dead letters.", "dead_letters"),
    ("gauge", "sse_relay_stale", "Whether its owner no longer reports.", "stale"),
    ("gauge", "sse_relay_unheld", "Whether nobody has relayed it for two lease times.", "unheld"),
)

#: Figures of which the owner has newer values than the target.
_OWN = (
    ("sse_relay_waiting", "Events that arrived and are not written yet.", "waiting"),
    ("sse_relay_rate", "Entries per second, between two reports.", "rate"),
    ("sse_relay_errors", "Lost connections and failures of the last owner.", "errors"),
)


def states_of(target: str) -> list[str]:
    """Return all states of a stream, for the target with this name."""
    states = ("nobody", "starting", "standby", "connecting", "relaying")
    return [*states, Progress.waiting_for(target), "failed", "closed"]


_UNAVAILABLE = "503 Service Unavailable"


class Sources:
    """The sources of the figures of a process.

    Args:
        target: The target.
        statuses: Reads the status of the streams from the target.
        figures: Returns the figures of the streams that this process relays, without the target.
        trouble: Returns why this process can't work at the moment, ``""`` if it can.
        is_alive: Returns whether it runs.
    """

    def __init__(
        self,
        target: Target,
        statuses: Callable[[], list[StreamStatus]],
        *,
        figures: Callable[[], dict[str, OwnFigures]] = dict,
        trouble: Callable[[], str] = str,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.target = target
        self.statuses = statuses
        self.figures = figures
        self.trouble = trouble
        self.is_alive = is_alive


class _Collector:
    """Reads the figures from the target for each scrape."""

    def __init__(self, library: Any, sources: Sources) -> None:  # noqa: ANN401  # a module
        self._library = library
        self._sources = sources

    def collect(self) -> Iterator[Any]:
        """Yield the figures of all streams; if the target is unavailable, those of this process."""
        target = self._sources.target
        up = self._library.GaugeMetricFamily(
            f"sse_relay_{target.name.lower()}_up", f"Whether {target.name} replies."
        )
        # RelayError: a stream that can't be used counts as a failure.
        failures: tuple[type[Exception], ...] = (RelayError, *target.failures)
        try:
            statuses = self._sources.statuses()
        except failures:
            up.add_metric([], 0)
            yield up
            yield from self._current([])
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
        yield from self._current(statuses)
        owners = self._library.GaugeMetricFamily(
            "sse_relay_owner", "The holder of the lease.", labels=["stream", "owner"]
        )
        for status in statuses:
            if status.owner is not None:
                owners.add_metric([status.stream, status.owner], 1)
        yield owners

    def _current(self, statuses: Iterable[StreamStatus]) -> Iterator[Any]:
        """Yield the figures of which the owner has newer values than the target."""
        known: dict[str, StreamStatus | OwnFigures] = {each.stream: each for each in statuses}
        known.update(self._sources.figures())
        gauge = self._library.GaugeMetricFamily
        for name, text, attribute in _OWN:
            family = gauge(name, text, labels=["stream"])
            for stream, figures in known.items():
                family.add_metric([stream], getattr(figures, attribute))
            yield family
        states = gauge("sse_relay_state", "The state of its owner.", labels=["stream", "state"])
        for stream, figures in known.items():
            for state in states_of(self._sources.target.name):
                states.add_metric([stream, state], figures.state == state)
        yield states


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    """A thread for each request, so that one that waits for the target does not delay others."""

    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        """Log nothing: there would be a line for each scrape."""


def _application(metrics: Any, sources: Sources) -> Any:  # noqa: ANN401  # of WSGI
    """Return the WSGI application: metrics, health and readiness."""

    def respond(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        if path == "/healthz":
            status, text = ("200 OK", "ok") if sources.is_alive() else (_UNAVAILABLE, "not running")
        elif path == "/readyz":
            trouble = sources.trouble()
            status, text = (_UNAVAILABLE, trouble) if trouble else ("200 OK", "ok")
        else:
            status, text = "404 Not Found", "there are /metrics, /healthz and /readyz"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return respond


@contextlib.contextmanager
def serve_metrics(sources: Sources, *, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve ``/metrics``, ``/healthz`` and ``/readyz`` on a port; gives the port.

    Args:
        sources: Where the figures come from.
        port: The port; 0 for any.
        host: The address to listen on. There is no password, so other machines should not be able
            to reach it.

    Raises:
        ImportError: The package ``prometheus-client`` is missing.
        OSError: The port is in use, or the address is not one of this machine.
    """
    try:
        import prometheus_client  # noqa: PLC0415  # an extra
        from prometheus_client import core  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "--metrics-port needs the package prometheus-client: pip install 'sse-client[metrics]'"
        ) from error
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(core, sources))
    application = _application(prometheus_client.make_wsgi_app(registry), sources)
    kind = _ServerV6 if ":" in host else _Server
    try:
        http = simple_server.make_server(host, port, application, kind, _Handler)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OSError(f"the metrics cannot be served on {host}:{port}: {reason}") from error
    thread = threading.Thread(target=http.serve_forever, name="sse-client:metrics", daemon=True)
    thread.start()
    try:
        yield http.server_port
    finally:
        http.shutdown()
        http.server_close()
        thread.join(_CLOSE_TIMEOUT)
