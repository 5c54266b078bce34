"""OpenTelemetry's instrumentation of requests: the parents of its spans."""

from __future__ import annotations

import pytest
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_current_span
from support import sse_client_for_tests

from sse_client import ServerSentEvent


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    """A tracer whose provider also receives the spans of requests."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = RequestsInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield provider.get_tracer("tests")
    instrumentor.uninstrument()
    provider.shutdown()


def test_each_attempt_is_a_child_of_the_span_in_which_sse_was_called(server, tracer, exporter):
    server.serve([ServerSentEvent("one", id="1")], then="drop")
    server.respond(503)
    server.redirect("/elsewhere")
    server.serve(["two"], then="drop")
    server.respond(204)
    in_hooks = []
    with sse_client_for_tests(
        on_disconnect=lambda *_: in_hooks.append(get_current_span()),
        on_open=lambda *_: in_hooks.append(get_current_span()),
    ) as client:
        with tracer.start_as_current_span("the caller") as caller:
            session = client.sse(server.url)
        assert [event.data for event in session.incoming] == ["one", "two"]
    spans = [span for span in exporter.get_finished_spans() if span.name != "the caller"]
    assert [span.attributes["http.status_code"] for span in spans] == [200, 503, 302, 200, 204]
    assert [span.parent for span in spans] == [caller.get_span_context()] * 5
    sent = [request.headers["traceparent"].split("-")[1:3] for request in server.requests]
    assert sent == [
        [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"] for span in spans
    ]
    assert in_hooks == [caller] * 5
