"""The metrics of streams. Imported by the plugin Telemetry, because it needs opentelemetry-api.

Most instruments are observable: OpenTelemetry reads them when it exports, and the values are then
summed up from the statistics that each stream keeps anyway. So an event or a batch costs nothing.

An observable instrument keeps the functions that it was created with. If a second client creates
the same instrument, its functions are ignored. So all clients with the same provider share one
``StreamMetrics``.

``StreamMetrics._lock`` guards the set of streams and the sums of those that have ended.
OpenTelemetry holds a lock while it reads a metric, so it is never called while ours is held.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import metrics

from sse_client.process import disown_in_child
from sse_client.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

    from sse_client.session.statistics import Statistics

#: The maximum number of servers with their own sums. The streams of further servers are summed up
#: under one attribute, as in OpenTelemetry's SDK beyond its limit of 2000 sets of attributes.
MAX_SERVERS = 1000


class _Figure(NamedTuple):
    """A metric, and the field of ``Statistics`` that it sums up."""

    metric: str
    unit: str
    description: str
    field: str


_FIGURES = (
    _Figure("sse.client.events", "{event}", "Number of events received.", "events"),
    _Figure("sse.client.bytes", "By", "Size of the streams received.", "bytes"),
    _Figure(
        "sse.client.reconnections",
        "{reconnection}",
        "Number of connections opened after the first one of their stream.",
        "reconnections",
    ),
    _Figure(
        "sse.client.dropped",
        "{event}",
        "Number of events dropped because the channel was full.",
        "dropped",
    ),
)

#: The host and the port of a server. None stands for all servers beyond the limit.
Server = tuple[str, int] | None


def attributes_of(server: Server) -> dict[str, str | int]:
    """Return the attributes that identify a server."""
    if server is None:
        return {"otel.metric.overflow": True}
    return {"server.address": server[0], "server.port": server[1]}


class MeasuredStream:
    """The state of a stream for the metrics. Its thread writes it, and any thread reads it.

    Attributes:
        statistics: The figures of the stream.
        is_counted: Whether ``StreamMetrics.count`` was called with it.
        server: The server that its figures are counted for.
        is_active: Whether a request was sent whose response has not ended.
        is_open: Whether that response was accepted.
    """

    __slots__ = ("__weakref__", "is_active", "is_counted", "is_open", "server", "statistics")

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self.server: Server = None
        self.is_counted = False
        self.is_active = False
        self.is_open = False


class StreamMetrics:
    """The metrics of the streams that report to one provider. Thread-safe."""

    def __init__(self) -> None:
        disown_in_child(self)
        self.disown()

    def disown(self) -> None:
        """Start from zero in a forked child, because the streams are the parent's."""
        # Reentrant, because a signal handler may open a stream on a thread that holds it.
        self._lock = threading.RLock()
        #: Weak, so that an abandoned stream, which never reports its end, is not kept.
        self._streams: weakref.WeakSet[MeasuredStream] = weakref.WeakSet()
        #: For each server, the sums of the streams that have ended.
        self._ended: dict[Server, dict[str, int]] = {}

    def register(self, meter: Meter) -> None:
        """Create the observable instruments."""
        for figure in _FIGURES:
            observe = partial(self._observe_sums, figure.field)
            meter.create_observable_counter(
                figure.metric, [observe], figure.unit, figure.description
            )
        meter.create_observable_up_down_counter(
            "http.client.active_requests",
            [self._observe_requests],
            "{request}",
            "Number of active HTTP requests.",
        )
        meter.create_observable_up_down_counter(
            "sse.client.streams",
            [self._observe_streams],
            "{stream}",
            "Number of streams being followed.",
        )

    def count(self, stream: MeasuredStream, server: tuple[str, int]) -> None:
        """Count a stream for a server from now on."""
        with self._lock:
            is_known = server in self._ended or len(self._ended) < MAX_SERVERS
            stream.server = server if is_known else None
            self._ended.setdefault(stream.server, dict.fromkeys((f.field for f in _FIGURES), 0))
            stream.is_counted = True
            self._streams.add(stream)

    def end(self, stream: MeasuredStream) -> None:
        """Keep the figures of a stream that has ended, if it was counted."""
        with self._lock:
            if stream in self._streams:
                self._streams.discard(stream)
                sums = self._ended[stream.server]
                for field in sums:
                    sums[field] += getattr(stream.statistics, field)

    def _observe_sums(self, field: str, _: CallbackOptions) -> Iterator[Observation]:
        with self._lock:
            sums = {server: ended[field] for server, ended in self._ended.items()}
            for stream in self._streams:
                sums[stream.server] += getattr(stream.statistics, field)
        for server, value in sums.items():
            yield metrics.Observation(value, attributes_of(server))

    def _observe_requests(self, _: CallbackOptions) -> Iterator[Observation]:
        with self._lock:
            sums = dict.fromkeys(self._ended, 0)
            for stream in self._streams:
                sums[stream.server] += stream.is_active
        for server, value in sums.items():
            yield metrics.Observation(value, attributes_of(server))

    def _observe_streams(self, _: CallbackOptions) -> Iterator[Observation]:
        with self._lock:
            states = ("connecting", "open")
            sums = dict.fromkeys(((server, each) for server in self._ended for each in states), 0)
            for stream in self._streams:
                sums[stream.server, states[stream.is_open]] += 1
        for (server, state), value in sums.items():
            attributes = {**attributes_of(server), "sse.client.state": state}
            yield metrics.Observation(value, attributes)


class _Global:
    """Stands for the global provider, because its instruments survive its one replacement."""


_GLOBAL = _Global()

_shared: weakref.WeakKeyDictionary[object, StreamMetrics] = weakref.WeakKeyDictionary()


def metrics_of(provider: MeterProvider | None) -> StreamMetrics:
    """Return the metrics of all streams that report to a provider, by default the global one."""
    current = metrics.get_meter_provider()
    chosen = current if provider is None else provider
    found = _shared.get(chosen)
    if found is not None:
        return found
    # Without a lock, which may be held at a fork. ``setdefault`` is atomic.
    created = StreamMetrics()
    shared = _shared.setdefault(_GLOBAL if chosen is current else chosen, created)
    if shared is created:
        created.register(chosen.get_meter("sse_client", __version__))
    return shared
