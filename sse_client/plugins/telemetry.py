"""The Telemetry plugin: OpenTelemetry spans and metrics of streams (extra ``otel``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.plugins.registry import Plugin

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sse_client.session.observers import StreamInfo, StreamObserver


class Telemetry(Plugin):
    """Reports spans and metrics of a client's streams: ``client.install(Telemetry)``.

    Each stream has a span of the kind CLIENT, from the call to ``sse`` to the end of the session.
    It is a child of the span that was current at that call. Connections and their losses are events
    of the span. The spans of an instrumentation of requests become its children. The metrics cost
    nothing per event. Attributes and metrics have the names of OpenTelemetry's semantic
    conventions. They never contain user info or the query of an address.

    Needs the package ``opentelemetry-api``, and its SDK to export anything. Thread-safe.

    Example:
        >>> client = HttpClient().install(SSE).install(Telemetry)

    Args:
        tracer_provider: Receives the spans. None means the global provider.
        meter_provider: Receives the metrics. None means the global provider.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
        TypeError: An option is not a provider.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        for name, provider, method in (
            ("tracer_provider", tracer_provider, "get_tracer"),
            ("meter_provider", meter_provider, "get_meter"),
        ):
            if provider is not None and not callable(getattr(provider, method, None)):
                kind = type(provider).__name__
                raise TypeError(f"{name} must have a method {method}, or be None, not {kind}")
        try:
            from sse_client.plugins.stream_spans import StreamSpans  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise ImportError(
                "Telemetry needs the package opentelemetry-api: pip install 'sse-client[otel]'"
            ) from error
        self._spans = StreamSpans(tracer_provider, meter_provider)

    def on_stream(self, stream: StreamInfo) -> StreamObserver:
        """Begin the span of a stream."""
        return self._spans.begin(stream)
