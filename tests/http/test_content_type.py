"""Which responses are event streams, and how much of the body of other responses is kept."""

from __future__ import annotations

import gzip

import pytest
import requests
from support import PATIENCE, Running, sse_client_for_tests
from tables import each_of

from sse_client import (
    SSEClientError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
    iter_events,
)
from sse_client.http.content_type import extract_mime_type

ONE = b"data: one\n\n"


@each_of(
    ("header", "expected"),
    [
        ("text/event-stream", "text/event-stream"),
        ("Text/Event-Stream", "text/event-stream"),
        (" text/event-stream ;charset=utf-8", "text/event-stream"),
        ("application/json, text/event-stream; charset=utf-8", "text/event-stream"),
        ("text/event-stream, text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json", "application/json"),
        ("text/event-stream, */*", "text/event-stream"),
        ("text/event-stream, nonsense", "text/event-stream"),
        ("text/event-stream,", "text/event-stream"),
        ('text/html;x=",text/event-stream;"', "text/html"),
        ('text/html;x="\\",text/event-stream', "text/html"),
        ("", None),
        ("text", None),
        ("text/", None),
        ("/event-stream", None),
        ("text/event-stream x", None),
        ("text event-stream", None),
    ],
)
def test_the_last_valid_type_of_a_header_counts(header, expected):
    assert extract_mime_type(header) == expected


class TestContentTypes:
    def open(self, server, content_type, **options):
        headers = {} if content_type is None else {"Content-Type": content_type}
        server.respond(200, headers, ONE)
        return sse_client_for_tests(reconnect="never", **options)

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json, text/event-stream; charset=utf-8",
            "text/event-stream, text/event-stream",
        ],
    )
    def test_of_a_combined_header_are_event_streams(self, server, content_type):
        with self.open(server, content_type) as client, client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one"]

    @pytest.mark.parametrize(
        ("content_types", "content_type"),
        [
            (["text/plain"], "text/plain; charset=utf-8"),
            (("TEXT/Plain", "x/y"), "text/plain"),
            (["text/plain; charset=ascii"], "text/plain"),
            ({"text/event-stream", None}, None),
            ([None], None),
            (lambda name: name == "application/x-ndjson", "Application/X-NDJSON;a=b"),
            (lambda name: name is None, None),
        ],
    )
    def test_may_be_others(self, server, content_types, content_type):
        with (
            self.open(server, content_type, content_types=content_types) as client,
            client.sse(server.url) as session,
        ):
            assert [event.data for event in session.incoming] == ["one"]

    @pytest.mark.parametrize(
        ("content_types", "content_type"),
        [
            (["text/plain"], "text/event-stream"),
            (["text/plain"], None),
            ((), "text/event-stream"),
            (lambda _: False, "text/event-stream"),
            (lambda _: None, None),
        ],
    )
    def test_replace_the_usual_one(self, server, content_types, content_type):
        with (
            self.open(server, content_type, content_types=content_types) as client,
            pytest.raises(UnexpectedContentTypeError, match="content_types") as caught,
        ):
            client.sse(server.url)
        assert caught.value.content_type == (content_type or "")

    def test_are_named_by_the_error(self, server):
        with (
            self.open(server, "text/html") as client,
            pytest.raises(UnexpectedContentTypeError, match="content_types") as caught,
        ):
            client.sse(server.url)
        assert "text/html" in str(caught.value)
        assert "text/event-stream" in str(caught.value)

    def test_may_be_given_to_iter_events(self, server):
        for _ in range(2):
            server.respond(200, {"Content-Type": "text/plain"}, ONE)
        with (
            requests.get(server.url, stream=True, timeout=PATIENCE) as response,
            pytest.raises(UnexpectedContentTypeError, match="content_types"),
        ):
            next(iter_events(response))
        with requests.get(server.url, stream=True, timeout=PATIENCE) as response:
            events = iter_events(response, content_types=["text/plain"])
            assert [event.data for event in events] == ["one"]


class TestContentEncodings:
    @pytest.mark.parametrize(
        ("encoding", "package"), [("br", "brotli"), ("zstd", "zstd"), ("gzip, br", "brotli")]
    )
    def test_without_a_decoder_are_a_permanent_error_that_names_the_package(
        self, server, encoding, package, monkeypatch
    ):
        from urllib3.response import HTTPResponse

        monkeypatch.setattr(HTTPResponse, "CONTENT_DECODERS", ["gzip", "x-gzip", "deflate"])
        server.respond(
            200, {"Content-Type": "text/event-stream", "Content-Encoding": encoding}, b"\x00\x01"
        )
        with (
            sse_client_for_tests(retry_first_connection=True) as client,
            pytest.raises(UnexpectedContentTypeError, match=package) as caught,
        ):
            client.sse(server.url)
        assert repr(encoding.split(", ")[-1]) in str(caught.value)
        assert len(server.requests) == 1

    def test_that_nobody_knows_are_a_permanent_error(self, server):
        server.respond(200, {"Content-Type": "text/event-stream", "Content-Encoding": "x-rot13"})
        with (
            sse_client_for_tests(retry_first_connection=True) as client,
            pytest.raises(SSEClientError, match=r"'x-rot13', which cannot be decoded$"),
        ):
            client.sse(server.url)

    @pytest.mark.parametrize("encoding", ["none", "identity", "Identity", "", "identity, none"])
    def test_that_change_nothing_are_accepted(self, server, encoding):
        server.respond(
            200, {"Content-Type": "text/event-stream", "Content-Encoding": encoding}, ONE
        )
        with (
            sse_client_for_tests(reconnect="never") as client,
            client.sse(server.url) as session,
        ):
            assert [event.data for event in session.incoming] == ["one"]

    @pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity, gzip", "gzip, identity"])
    def test_that_are_known_are_decoded(self, server, encoding):
        server.respond(
            200,
            {"Content-Type": "text/event-stream", "Content-Encoding": encoding},
            gzip.compress(ONE),
        )
        with (
            sse_client_for_tests(reconnect="never") as client,
            client.sse(server.url) as session,
        ):
            assert [event.data for event in session.incoming] == ["one"]


class TestTheBodyOfARefusal:
    @pytest.mark.parametrize(
        ("size", "limit", "kept", "is_truncated"),
        [
            (10, None, 10, False),
            (64 * 1024, None, 64 * 1024, False),
            (64 * 1024 + 1, None, 64 * 1024, True),
            (10, 5, 5, True),
            (10, 10, 10, False),
            (200_000, 300_000, 200_000, False),
            (0, 5, 0, False),
            (3, 0, 0, True),
        ],
    )
    @pytest.mark.parametrize("status", [200, 503])
    def test_is_kept_up_to_max_error_body(  # noqa: PLR0917  # one for each column
        self, server, size, limit, kept, is_truncated, status
    ):
        server.respond(status, {"Content-Type": "application/json"}, b"x" * size)
        options = {} if limit is None else {"max_error_body": limit}
        with (
            sse_client_for_tests(**options) as client,
            pytest.raises((UnexpectedContentTypeError, UnexpectedStatusError)) as caught,
        ):
            client.sse(server.url)
        assert caught.value.body == b"x" * kept
        assert caught.value.body_is_truncated is is_truncated
        assert caught.value.response.content == b"x" * kept

    @pytest.mark.parametrize("status", [200, 503])
    def test_is_truncated_after_error_body_timeout(self, server, status):
        with sse_client_for_tests(error_body_timeout=0.1) as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            exchange.open(status, {"Content-Type": "application/json"}, framing="chunked")
            exchange.write(b'{"half')
            error = opening.outcome()
            assert (error.body, error.body_is_truncated) == (b'{"half', True)
            assert exchange.wait_closed()

    def test_is_truncated_if_the_connection_breaks(self, server):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            exchange.open(404, {"Content-Type": "text/plain"}, framing="chunked")
            exchange.write(b"half")
            exchange.drop()
            error = opening.outcome()
            assert (error.body, error.body_is_truncated) == (b"half", True)

    def test_of_iter_events_is_bounded_as_usual(self, server):
        server.respond(200, {"Content-Type": "text/plain"}, b"x" * 100_000)
        with requests.get(server.url, stream=True, timeout=PATIENCE) as response:
            with pytest.raises(UnexpectedContentTypeError) as caught:
                next(iter_events(response))
            assert len(caught.value.body) == 64 * 1024
            assert caught.value.body_is_truncated is True
