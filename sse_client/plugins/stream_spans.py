"""The span of each stream. Imported by the plugin Telemetry, because it needs opentelemetry-api."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from opentelemetry import context, metrics, trace

from sse_client.errors import UnexpectedStatusError
from sse_client.http.causes import redact_url, server_of
from sse_client.plugins.stream_metrics import MeasuredStream, attributes_of, metrics_of
from sse_client.session.observers import StreamObserver
from sse_client.version import __version__

if TYPE_CHECKING:
    import requests
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sse_client.http.pending_request import PendingRequest
    from sse_client.session.observers import StreamInfo

    Attributes = dict[str, str | int]

_NO_CONTENT = 204

#: The methods that an attribute may name. Any other is ``_OTHER``, to bound their number.
_KNOWN_METHODS = "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE"

#: The environment variable that replaces these, as the semantic conventions require.
_KNOWN_METHODS_VARIABLE = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"

#: The boundaries that the semantic conventions recommend for this metric, in seconds.
_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class StreamSpans:
    """Creates the spans of streams, and measures the streams. Thread-safe.

    Args:
        tracer_provider: Receives the spans. None means the global provider.
        meter_provider: Receives the metrics. None means the global provider.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        self.tracer = trace.get_tracer("sse_client", __version__, tracer_provider)
        self.metrics = metrics_of(meter_provider)
        self.durations = metrics.get_meter(
            "sse_client", __version__, meter_provider
        ).create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        known = os.environ.get(_KNOWN_METHODS_VARIABLE) or _KNOWN_METHODS
        self._known_methods = frozenset(known.split(","))

    def begin(self, stream: StreamInfo) -> StreamObserver:
        """Begin the span of a stream, and make it current in the stream's context."""
        method = self.method_of(stream.method)
        name = stream.method if method["http.request.method"] == stream.method else "HTTP"
        span = self.tracer.start_span(
            f"SSE {name}",
            kind=trace.SpanKind.CLIENT,
            attributes={**method, **_address_of(stream.url)},
        )
        context.attach(trace.set_span_in_context(span))
        return _FollowedStream(self, span, stream)

    def method_of(self, method: str) -> Attributes:
        """Return the attributes of a method."""
        if method in self._known_methods:
            return {"http.request.method": method}
        return {"http.request.method": "_OTHER", "http.request.method_original": method}


class _FollowedStream(StreamObserver):
    """A stream and its span.

    Args:
        spans: The creator of the span.
        span: The span.
        stream: The stream.
    """

    def __init__(self, spans: StreamSpans, span: trace.Span, stream: StreamInfo) -> None:
        self._spans = spans
        self._span = span
        self._statistics = stream.statistics
        self._measured = MeasuredStream(stream.statistics)
        self._attempt = 0
        #: When the request of this attempt was sent, or None after its duration was recorded.
        self._sent_at: float | None = None
        #: The attributes of that request, for the metric of its duration.
        self._target: Attributes = {}
        self._was_opened = False
        #: The number of attempts when the last connection was lost.
        self._attempts_at_loss = 0

    def on_request(self, request: PendingRequest) -> None:
        """Begin to measure an attempt. A request repeated after a 401 is part of it."""
        if self._attempt == self._statistics.attempts:
            return
        self._attempt = self._statistics.attempts
        method, address = self._spans.method_of(request.method or ""), request.url or ""
        self._span.set_attributes({**method, **_address_of(address)})
        server = server_of(address)
        if server is None:
            return  # the request is about to be refused
        if not self._measured.is_counted:
            self._spans.metrics.count(self._measured, server)
        self._measured.is_active = True
        self._target = {
            "http.request.method": method["http.request.method"],
            **attributes_of(server),
        }
        self._sent_at = time.perf_counter()

    def on_response(self, response: requests.Response) -> None:
        """Record that a connection was opened."""
        status: Attributes = {"http.response.status_code": response.status_code}
        self._record_duration(status)
        self._span.set_attributes(status)
        if response.status_code == _NO_CONTENT:
            return
        self._measured.is_open = True
        if self._was_opened:
            attempts = self._statistics.attempts - self._attempts_at_loss
            self._span.add_event("sse.reconnection", {"sse.client.attempts": attempts})
        else:
            self._was_opened = True
            self._span.add_event("sse.open")

    def on_first_event(self) -> None:
        """Record that the first event has arrived."""
        self._span.add_event("sse.first_event")

    def on_loss(self, error: Exception | None, delay: float | None) -> None:
        """Record that an open connection was lost. A failed attempt is only counted."""
        attributes = _error_of(error)
        self._record_duration(attributes)
        if self._measured.is_open:
            self._attempts_at_loss = self._statistics.attempts
            wait: dict[str, float] = {} if delay is None else {"sse.client.delay": delay}
            self._span.add_event("sse.loss", {**attributes, **wait})
        self._measured.is_open = self._measured.is_active = False

    def on_end(self, error: Exception | None) -> None:
        """End the span, with the error if there is one."""
        attributes = _error_of(error)
        if error is not None:
            self._record_duration(attributes)
            self._span.record_exception(error)
            self._span.set_status(trace.StatusCode.ERROR, str(error))
        figures = {
            f"sse.client.{name}": getattr(self._statistics, name)
            for name in ("events", "bytes", "reconnections", "dropped")
        }
        self._span.set_attributes({**attributes, **figures})
        self._span.add_event("sse.end", attributes)
        self._span.end()
        self._spans.metrics.end(self._measured)

    def _record_duration(self, outcome: Attributes) -> None:
        """Record the time until the outcome of an attempt was known."""
        sent_at, self._sent_at = self._sent_at, None
        if sent_at is not None:
            duration = time.perf_counter() - sent_at
            self._spans.durations.record(duration, {**self._target, **outcome})


def _address_of(url: str) -> Attributes:
    """Return the attributes of an address, without any secret."""
    server = server_of(url)
    return {} if server is None else {**attributes_of(server), "url.full": redact_url(url)}


def _error_of(error: Exception | None) -> Attributes:
    """Return the attributes of an error."""
    if error is None:
        return {}
    if isinstance(error, UnexpectedStatusError):
        status = error.status_code
        return {"error.type": str(status), "http.response.status_code": status}
    return {"error.type": type(error).__qualname__}
