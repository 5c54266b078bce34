"""The Telemetry plugin, with the SDK of OpenTelemetry: spans, metrics, and no secret in either."""

from __future__ import annotations

import contextvars
import gc
import logging
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest
from canaries import CANARY
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import PATIENCE, Signal, sse_client_for_tests

from sse_client import (
    BearerAuth,
    ConnectionFailedError,
    DefaultRequest,
    HttpClient,
    ReconnectionExhaustedError,
    ServerSentEvent,
    Statistics,
    StreamInfo,
    StreamInterruptedError,
    Telemetry,
    UnexpectedStatusError,
)
from sse_client.plugins import stream_metrics
from sse_client.plugins.stream_metrics import MeasuredStream, StreamMetrics, metrics_of
from sse_client.plugins.stream_spans import StreamSpans
from sse_client.testing import SSEServer


class Recorded:
    """OpenTelemetry providers, and the data that they received."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def providers(self):
        return {"tracer_provider": self.tracers, "meter_provider": self.meters}

    @property
    def spans(self):
        """The spans of streams that have ended."""
        return [span for span in self.all_spans if span.name.startswith("SSE ")]

    @property
    def all_spans(self):
        return self._exporter.get_finished_spans()

    def points(self, name):
        """The current state of a metric: pairs of attributes and a data point."""
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        return [
            (dict(point.attributes), point)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == "sse_client"
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def values(self, name):
        """The values of a metric, by any attributes that distinguish them besides the server."""
        return {
            attributes.get("sse.client.state"): point.value
            for attributes, point in self.points(name)
        }

    def text(self):
        """All reported data, as text."""
        data = self._reader.get_metrics_data()
        spans = "".join(span.to_json() for span in self.all_spans)
        return spans + ("" if data is None else data.to_json())

    def shutdown(self):
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def recorded():
    recorded = Recorded()
    yield recorded
    recorded.shutdown()


@pytest.fixture
def client(recorded):
    with sse_client_for_tests() as client:
        yield client.install(Telemetry, **recorded.providers)


def events_of(span):
    return [(event.name, dict(event.attributes)) for event in span.events]


def names_of(span):
    return [event.name for event in span.events]


def server_attributes(server):
    return {"server.address": server.host, "server.port": server.port}


class TestASpan:
    def test_shows_the_course_of_a_stream(self, client, server, recorded):
        server.serve([ServerSentEvent("one", id="1")], then="drop")
        server.respond(503)
        server.serve([ServerSentEvent("two", id="2"), "three"], then="end")
        server.respond(204)
        with client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one", "two", "three"]
            size = session.statistics.bytes
        (span,) = recorded.spans
        assert events_of(span) == [
            ("sse.open", {}),
            ("sse.first_event", {}),
            ("sse.loss", {"error.type": "StreamInterruptedError", "sse.client.delay": 0.0}),
            ("sse.reconnection", {"sse.client.attempts": 2}),
            ("sse.first_event", {}),
            ("sse.loss", {"sse.client.delay": 0.0}),
            ("sse.end", {}),
        ]
        assert dict(span.attributes) == {
            "http.request.method": "GET",
            "http.response.status_code": 204,
            **server_attributes(server),
            "url.full": server.url,
            "sse.client.events": 3,
            "sse.client.bytes": size,
            "sse.client.reconnections": 1,
            "sse.client.dropped": 0,
        }
        assert (span.name, span.kind) == ("SSE GET", trace.SpanKind.CLIENT)
        assert span.status.status_code is trace.StatusCode.UNSET
        assert span.parent is None

    def test_is_a_child_of_the_caller_s_and_the_parent_of_the_requests(
        self, client, server, recorded
    ):
        server.serve(["one"], then="drop")
        server.respond(503)
        server.serve(["two"], then="stall")
        in_hooks = []
        instrumentor = RequestsInstrumentor()
        instrumentor.instrument(tracer_provider=recorded.tracers)
        try:
            with recorded.tracers.get_tracer("tests").start_as_current_span("caller") as caller:
                session = client.sse(
                    server.url, on_disconnect=lambda *_: in_hooks.append(trace.get_current_span())
                )
                assert trace.get_current_span() is caller
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
            session.close()
        finally:
            instrumentor.uninstrument()
        (span,) = recorded.spans
        assert span.parent == caller.get_span_context()
        requests = [each for each in recorded.all_spans if each.name == "GET"]
        assert [each.parent for each in requests] == [span.context] * 3
        assert [each.get_span_context() for each in in_hooks] == [span.context] * 2

    def test_has_the_error_of_a_stream_that_cannot_be_opened(self, client, server, recorded):
        server.respond(404)
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        (span,) = recorded.spans
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.status.description == str(caught.value)
        assert span.attributes["error.type"] == "404"
        assert span.attributes["http.response.status_code"] == 404
        assert names_of(span) == ["exception", "sse.end"]
        assert span.events[0].attributes["exception.message"] == str(caught.value)

    def test_has_the_error_of_a_stream_that_fails_later(self, client, server, recorded):
        server.serve(["one"], then="drop")
        server.respond(503)
        with (
            client.sse(server.url, max_reconnection_attempts=1) as session,
            pytest.raises(ReconnectionExhaustedError),
        ):
            list(session.incoming)
        (span,) = recorded.spans
        assert span.attributes["error.type"] == "ReconnectionExhaustedError"
        assert names_of(span) == [
            *("sse.open", "sse.first_event", "sse.loss"),
            *("exception", "sse.end"),
        ]
        assert events_of(span)[-1][1] == {"error.type": "ReconnectionExhaustedError"}

    def test_has_the_error_of_a_stream_that_is_not_repeated(self, client, server, recorded):
        server.serve(then="drop")
        with (
            client.sse(server.url, reconnect="never") as session,
            pytest.raises(StreamInterruptedError),
        ):
            list(session.incoming)
        (span,) = recorded.spans
        assert events_of(span)[1] == ("sse.loss", {"error.type": "StreamInterruptedError"})

    def test_of_a_stream_without_a_server_has_the_type_of_the_error(self, client, recorded):
        with SSEServer() as gone:
            url = gone.url
        with pytest.raises(ConnectionFailedError):
            client.sse(url)
        (span,) = recorded.spans
        assert span.attributes["error.type"] == "ConnectionFailedError"
        assert "http.response.status_code" not in span.attributes

    def test_of_a_stream_that_is_closed_has_no_error(self, client, server, recorded):
        server.serve(then="stall")
        client.sse(server.url).close()
        (span,) = recorded.spans
        assert span.status.status_code is trace.StatusCode.UNSET
        assert names_of(span) == ["sse.open", "sse.end"]

    def test_shows_a_reconnection_that_was_asked_for(self, client, server, recorded):
        server.serve(["one"], then="stall")
        server.serve(["two"], then="stall")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            session.reconnect()
            assert session.incoming.get().data == "two"
        (span,) = recorded.spans
        assert events_of(span)[2:4] == [
            ("sse.loss", {"sse.client.delay": 0.0}),
            ("sse.reconnection", {"sse.client.attempts": 1}),
        ]

    def test_has_the_address_that_a_plugin_completes(self, client, server, recorded):
        client.install(DefaultRequest, base_url=f"{server.url}v1")
        server.serve(then="stall")
        client.sse(path="/events").close()
        (span,) = recorded.spans
        assert span.attributes["url.full"] == f"{server.url}v1/events"
        assert span.attributes["server.port"] == server.port

    def test_of_an_address_that_is_refused_has_none(self, client, server, recorded):
        def on_request(_, request):
            request.url = "nothing"

        with pytest.raises(ValueError, match="nothing"):
            client.sse(path="/events", on_request=on_request)
        (span,) = recorded.spans
        assert not {"url.full", "server.address", "server.port"} & set(span.attributes)
        assert span.attributes["error.type"] == "ValueError"
        assert recorded.points("http.client.request.duration") == []

    @pytest.mark.parametrize(
        ("method", "known", "expected"),
        [
            ("query", None, ("SSE QUERY", "QUERY", None)),
            ("SUBSCRIBE", None, ("SSE HTTP", "_OTHER", "SUBSCRIBE")),
            ("SUBSCRIBE", "GET,SUBSCRIBE", ("SSE SUBSCRIBE", "SUBSCRIBE", None)),
        ],
    )
    def test_names_no_method_that_is_not_known(  # noqa: PLR0917
        self, server, recorded, monkeypatch, method, known, expected
    ):
        if known is not None:
            monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", known)
        server.serve(then="stall")
        with sse_client_for_tests() as client:
            client.install(Telemetry, **recorded.providers)
            client.sse(server.url, method=method).close()
        (span,) = recorded.spans
        found = [
            span.attributes.get(f"http.request.{name}") for name in ("method", "method_original")
        ]
        assert (span.name, *found) == expected

    @pytest.mark.filterwarnings("ignore:unclosed SSE session:ResourceWarning")
    def test_of_a_stream_that_is_abandoned_ends(self, client, server, recorded):
        ended = Signal()
        recorded.tracers.add_span_processor(
            SimpleSpanProcessor(SimpleNamespace(export=ended, shutdown=lambda: None))
        )
        server.serve(then="stall")
        client.sse(server.url)
        gc.collect()
        ended.await_()
        assert names_of(recorded.spans[0]) == ["sse.open", "sse.end"]


class TestTheMetrics:
    def test_are_summed_up_while_streams_go_on_and_after(self, client, server, recorded):
        server.serve(["one", "two"], then="drop")
        server.serve(["three"], then="stall")
        server.serve(["four"], then="stall")
        first = client.sse(server.url)
        assert [first.incoming.get().data for _ in range(3)] == ["one", "two", "three"]
        second = client.sse(server.url)
        assert second.incoming.get().data == "four"
        size = first.statistics.bytes + second.statistics.bytes

        def check(*, are_open):
            assert recorded.values("sse.client.events") == {None: 4}
            assert recorded.values("sse.client.bytes") == {None: size}
            assert recorded.values("sse.client.reconnections") == {None: 1}
            assert recorded.values("sse.client.dropped") == {None: 0}
            assert recorded.values("http.client.active_requests") == {None: are_open}
            assert recorded.values("sse.client.streams") == {"connecting": 0, "open": are_open}

        check(are_open=2)
        second.close()
        check(are_open=1)
        first.close()
        check(are_open=0)
        ((attributes, _),) = recorded.points("sse.client.events")
        assert attributes == server_attributes(server)

    def test_show_the_streams_that_connect(self, client, server, recorded):
        lost = Signal()
        server.serve(then="drop")
        with client.sse(server.url, on_disconnect=lost, reconnection_time=60.0):
            lost.await_()
            assert recorded.values("sse.client.streams") == {"connecting": 1, "open": 0}
            assert recorded.values("http.client.active_requests") == {None: 0}

    def test_show_the_duration_of_each_attempt(self, client, server, recorded):
        server.serve(["one"], then="drop")
        server.respond(503)
        server.respond(204)
        with client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one"]
        found = {
            (each["http.response.status_code"], each.get("error.type")): (each, point.count)
            for each, point in recorded.points("http.client.request.duration")
        }
        assert set(found) == {(200, None), (503, "503"), (204, None)}
        assert {count for _, count in found.values()} == {1}
        assert found[200, None][0] == {
            "http.request.method": "GET",
            **server_attributes(server),
            "http.response.status_code": 200,
        }

    def test_show_the_duration_of_an_attempt_that_fails(self, client, recorded):
        with SSEServer() as gone:
            url = gone.url
        with pytest.raises(ConnectionFailedError):
            client.sse(url)
        ((attributes, point),) = recorded.points("http.client.request.duration")
        assert attributes["error.type"] == "ConnectionFailedError"
        assert point.count == 1
        assert point.explicit_bounds[:2] == (0.005, 0.01)

    def test_take_a_request_that_is_repeated_with_a_new_token_for_one_attempt(
        self, client, server, recorded
    ):
        client.install(BearerAuth, load=lambda: "a", refresh=lambda: "b")
        server.respond(401)
        server.serve(["one"], then="stall")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
        ((attributes, point),) = recorded.points("http.client.request.duration")
        assert attributes["http.response.status_code"] == 200
        assert point.count == 1

    def test_are_shared_by_clients_with_the_same_provider(self, client, server, recorded):
        server.serve(["one"], then="stall")
        server.serve(["two"], then="stall")
        with sse_client_for_tests() as second, client.sse(server.url) as session:
            second.install(Telemetry, **recorded.providers)
            assert session.incoming.get().data == "one"
            with second.sse(server.url) as another:
                assert another.incoming.get().data == "two"
                assert recorded.values("sse.client.events") == {None: 2}

    def test_begin_from_zero_in_a_forked_process(self, client, server, recorded):
        server.serve(["one"], then="stall")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            metrics_of(recorded.meters).disown()
            assert recorded.points("sse.client.events") == []
        assert recorded.points("sse.client.events") == []

    def test_of_streams_without_an_end_are_forgotten(self):
        figures = StreamMetrics()
        stream = MeasuredStream(Statistics(events=3))
        figures.count(stream, ("a", 80))
        assert [each.value for each in figures._observe_sums("events", None)] == [3]
        del stream
        assert [each.value for each in figures._observe_sums("events", None)] == [0]

    def test_have_one_sum_for_all_servers_beyond_a_limit(self, monkeypatch):
        monkeypatch.setattr(stream_metrics, "MAX_SERVERS", 2)
        figures = StreamMetrics()
        streams = [MeasuredStream(Statistics(events=1)) for _ in range(5)]
        for stream, host in zip(streams, "abcda", strict=True):
            figures.count(stream, (host, 80))
        for stream in streams[:3]:
            figures.end(stream)
        found = [
            (each.attributes.get("server.address"), each.value)
            for each in figures._observe_sums("events", None)
        ]
        assert found == [("a", 2), ("b", 1), (None, 2)]
        *_, further = figures._observe_sums("events", None)
        assert further.attributes == {"otel.metric.overflow": True}


class TestTheSharingOfMetrics:
    """Which providers share metrics: OpenTelemetry keeps only the functions of the first one."""

    @pytest.fixture
    def current(self, monkeypatch):
        """A replaceable stand-in for the global provider."""
        holder = SimpleNamespace(provider=Meters())
        monkeypatch.setattr(metrics, "get_meter_provider", lambda: holder.provider)
        monkeypatch.setattr(stream_metrics, "_shared", weakref.WeakKeyDictionary())
        return holder

    def test_is_by_the_provider(self, current):
        first, second = Meters(), Meters()
        assert metrics_of(first) is metrics_of(first)
        assert metrics_of(first) is not metrics_of(second)
        assert metrics_of(first) is not metrics_of(None)
        assert [len(each.made) for each in (first, second, current.provider)] == [6, 6, 6]

    def test_goes_on_once_the_global_provider_was_set(self, current):
        shared = metrics_of(None)
        current.provider = Meters()  # which also gets the instruments of the previous one
        assert metrics_of(None) is shared
        assert metrics_of(current.provider) is shared
        assert current.provider.made == []

    def test_is_also_with_a_provider_that_becomes_the_global_one(self, current):
        own = Meters()
        shared = metrics_of(own)
        current.provider = own
        assert metrics_of(None) is shared
        assert len(own.made) == 6


class Meters:
    """A provider that records which instruments are created."""

    def __init__(self):
        self.made = []

    def get_meter(self, *_):
        def create(name, *_):
            self.made.append(name)

        return SimpleNamespace(
            create_observable_counter=create, create_observable_up_down_counter=create
        )


class TestSecrets:
    def test_of_an_address_and_a_request_are_in_no_span_and_no_metric(
        self, client, server, recorded
    ):
        server.serve([ServerSentEvent("one", id=CANARY)], then="drop")
        server.redirect(f"/?{CANARY}")
        server.respond(404, body=CANARY)
        url = f"http://user:{CANARY}@{server.host}:{server.port}/events?token={CANARY}#{CANARY}"
        with (
            client.sse(
                url, headers={"X-Key": CANARY}, cookies={"a": CANARY}, params={"b": CANARY}
            ) as session,
            pytest.raises(UnexpectedStatusError),
        ):
            list(session.incoming)
        assert recorded.spans[0].attributes["url.full"] == f"{server.url}events"
        assert CANARY not in recorded.text()

    def test_of_an_address_that_cannot_be_reached_are_in_no_span(self, client, recorded):
        with SSEServer() as gone:
            url = f"http://user:{CANARY}@{gone.host}:{gone.port}/?{CANARY}"
        with pytest.raises(ConnectionFailedError):
            client.sse(url)
        assert len(recorded.spans) == 1
        assert CANARY not in recorded.text()

    @pytest.mark.parametrize("url", [f"user:{CANARY}@host/?{CANARY}", f"http://a:{CANARY}@[::1"])
    def test_of_an_address_that_cannot_be_parsed_are_in_no_span(self, recorded, url):
        spans = StreamSpans(recorded.tracers, recorded.meters)
        stream = StreamInfo("GET", url, "a name", Statistics())
        # In its own context, in which the span stays current.
        contextvars.copy_context().run(spans.begin, stream).on_end(None)
        assert dict(recorded.spans[0].attributes)["http.request.method"] == "GET"
        assert CANARY not in recorded.text()


class TestThePlugin:
    def test_serves_a_program_that_has_no_sdk(self, server):
        server.serve(["one"], then="stall")
        with sse_client_for_tests() as client:
            client.install(Telemetry)
            with client.sse(server.url) as session:
                assert session.incoming.get().data == "one"

    @pytest.mark.parametrize("option", ["tracer_provider", "meter_provider"])
    def test_refuses_what_is_no_provider_by_name(self, option):
        with pytest.raises(TypeError, match=f"{option} must have a method get_"):
            HttpClient().install(Telemetry, **{option: "x"})

    def test_names_the_extra_if_its_package_is_missing(self, monkeypatch):
        for name in ("stream_spans", "stream_metrics"):
            monkeypatch.delitem(sys.modules, f"sse_client.plugins.{name}")
            monkeypatch.delattr(f"sse_client.plugins.{name}")
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        with pytest.raises(ImportError, match=r"pip install 'sse-client\[otel\]'"):
            HttpClient().install(Telemetry)

    def test_is_imported_without_the_package(self):
        code = "import sys, sse_client; print(sse_client.Telemetry, 'opentelemetry' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.stdout.split()[-1] == "False"

    def test_logs_nothing(self, client, server, caplog):
        server.serve(["one"], then="drop")
        server.serve(["two"], then="stall")
        with caplog.at_level(logging.WARNING), client.sse(server.url) as session:
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
        assert caplog.records == []

    def test_does_nothing_for_each_event(self, server, recorded, monkeypatch):
        calls = []
        server.serve([str(number) for number in range(500)], then="end")
        server.respond(204)
        with sse_client_for_tests() as client:
            client.install(Telemetry, **recorded.providers)
            spans = client.plugin(Telemetry)._spans
            begin = spans.begin

            def counted(stream):
                observer = begin(stream)

                class Counting:
                    def __getattr__(self, name):
                        calls.append(name)
                        return getattr(observer, name)

                return Counting()

            monkeypatch.setattr(spans, "begin", counted)
            with client.sse(server.url) as session:
                assert len(list(session.incoming)) == 500
        assert len(calls) == 7
