"""The bytes that are kept for errors: each policy, its bounds and its cost."""

from __future__ import annotations

import dataclasses
import random

import pytest
from support import sse_client_for_tests
from tables import each_of

from sse_client import (
    BufferPolicy,
    EventTooLargeError,
    ReconnectionExhaustedError,
    StreamInterruptedError,
    UnexpectedStatusError,
)
from sse_client.event_stream import buffer as diagnostics
from sse_client.event_stream.buffer import DEFAULT_MAX_BYTES, DiagnosticBuffer

ENDS = {"LF": "\n", "CR": "\r", "CRLF": "\r\n"}

#: A stream, a policy, and the bytes that it keeps. Lines end with LF.
KEPT = [
    ("", BufferPolicy.off(), ""),
    ("a\nb\n\nc", BufferPolicy.off(), ""),
    ("", BufferPolicy.all(), ""),
    ("a\nb\n\nc", BufferPolicy.all(), "a\nb\n\nc"),
    ("", BufferPolicy.last_lines(1), ""),
    ("a\nb\n\nc", BufferPolicy.last_lines(1), "c"),
    ("a\nb\n\nc\n", BufferPolicy.last_lines(1), "c\n"),
    ("a\nb\n\nc", BufferPolicy.last_lines(2), "\nc"),
    ("a\nb\n\nc", BufferPolicy.last_lines(3), "b\n\nc"),
    ("a\nb\n\nc", BufferPolicy.last_lines(4), "a\nb\n\nc"),
    ("a\nb\n\nc", BufferPolicy.last_lines(100), "a\nb\n\nc"),
    ("", BufferPolicy.last_event(), ""),
    ("a\nb", BufferPolicy.last_event(), "a\nb"),
    ("a\n\nb\n\n", BufferPolicy.last_event(), "b\n\n"),
    ("a\n\nb\n\nc\nd", BufferPolicy.last_event(), "b\n\nc\nd"),
    ("a\n\nb\n\nc\nd\n", BufferPolicy.last_event(), "b\n\nc\nd\n"),
    ("a\n\nb\n\n\n\n", BufferPolicy.last_event(), "b\n\n\n\n"),
    ("a\n\n\n\nb\n\nc", BufferPolicy.last_event(), "\n\nb\n\nc"),
    ("\n\na\n\n", BufferPolicy.last_event(), "\n\na\n\n"),
    ("\n", BufferPolicy.last_event(), "\n"),
    ("a\n\nb\n\nc\n\nd", BufferPolicy.last_events(1), "c\n\nd"),
    ("a\n\nb\n\nc\n\nd", BufferPolicy.last_events(2), "b\n\nc\n\nd"),
    ("a\n\nb\n\nc\n\nd", BufferPolicy.last_events(3), "a\n\nb\n\nc\n\nd"),
    ("a\n\nb\n\nc\n\nd", BufferPolicy.last_events(100), "a\n\nb\n\nc\n\nd"),
]

POLICIES = [
    BufferPolicy.off(),
    BufferPolicy.last_lines(3),
    BufferPolicy.last_event(),
    BufferPolicy.last_events(3),
    BufferPolicy.all(),
]


def kept(policy, chunks):
    buffer = DiagnosticBuffer(policy)
    for chunk in chunks:
        buffer.add(chunk)
    return buffer.snapshot()


def cut(data, source):
    """Cut bytes into random chunks, including empty ones."""
    places = sorted(source.randrange(len(data) + 1) for _ in range(source.randrange(10)))
    return [data[i:j] for i, j in zip([0, *places], [*places, len(data)], strict=True)]


class TestPolicy:
    def test_is_off_unless_chosen(self):
        assert BufferPolicy() == BufferPolicy.off()
        assert BufferPolicy.off().kind == "off"

    def test_is_a_value(self):
        assert (
            BufferPolicy.last_lines(3) == BufferPolicy.last_lines(3) != BufferPolicy.last_lines(4)
        )
        assert BufferPolicy.last_event() == BufferPolicy.last_events(1)
        assert len({BufferPolicy.all(), BufferPolicy.all()}) == 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            BufferPolicy.all().max_bytes = 7

    def test_keeps_a_megabyte_and_all_of_it_sixteen(self):
        assert BufferPolicy.last_lines(1).max_bytes == DEFAULT_MAX_BYTES == 1024 * 1024
        assert BufferPolicy.last_event().max_bytes == DEFAULT_MAX_BYTES
        assert BufferPolicy.last_events(1).max_bytes == DEFAULT_MAX_BYTES
        assert BufferPolicy.all().max_bytes == 16 * DEFAULT_MAX_BYTES

    @pytest.mark.parametrize("make", [BufferPolicy.last_lines, BufferPolicy.last_events])
    def test_counts_from_one(self, make):
        for wrong in (0, -1):
            with pytest.raises(ValueError, match=r"^count must be at least 1"):
                make(wrong)
        for wrong in ("1", 1.0, True, None):
            with pytest.raises(TypeError, match=r"^count must be an int"):
                make(wrong)

    def test_keeps_a_byte_at_least(self):
        for wrong in (0, -1):
            with pytest.raises(ValueError, match=r"^max_bytes must be at least 1"):
                BufferPolicy.all(max_bytes=wrong)
        for wrong in ("1", 1.5, True, None):
            with pytest.raises(TypeError, match=r"^max_bytes must be an int"):
                BufferPolicy.last_event(max_bytes=wrong)


class TestBuffer:
    @each_of(("stream", "policy", "expected"), KEPT)
    def test_keeps_what_the_policy_wants(self, stream, policy, expected):
        for end in ENDS.values():
            data = stream.replace("\n", end).encode()
            wanted = expected.replace("\n", end).encode()
            assert kept(policy, [data]) == wanted
            assert kept(policy, [data[i : i + 1] for i in range(len(data))]) == wanted
            for place in range(len(data) + 1):
                assert kept(policy, [data[:place], data[place:]]) == wanted

    @pytest.mark.parametrize("policy", POLICIES)
    def test_keeps_the_same_however_it_came(self, policy, monkeypatch):
        # With so little slack, it is trimmed all the time.
        monkeypatch.setattr(diagnostics, "_SLACK", 8)
        source = random.Random(7)
        for _ in range(200):
            lines = source.choices(["data: a", "", "id: 1", ": x"], k=source.randrange(40))
            data = "".join(line + source.choice(list(ENDS.values())) for line in lines).encode()
            assert kept(policy, cut(data, source)) == kept(policy, [data])

    @pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\v", "\f", "\x1c"])
    def test_knows_the_line_ends_of_the_format_alone(self, separator):
        data = f"a{separator}b\nc{separator}d".encode()
        assert kept(BufferPolicy.last_lines(1), [data]) == f"c{separator}d".encode()

    @pytest.mark.parametrize(
        "policy",
        [
            BufferPolicy.all(max_bytes=10),
            BufferPolicy.last_lines(3, max_bytes=10),
            BufferPolicy.last_event(max_bytes=10),
            BufferPolicy.last_events(3, max_bytes=10),
        ],
    )
    def test_never_exceeds_its_bytes(self, policy):
        data = b"data: " + b"0123456789" * 10_000
        for chunks in ([data], [data[i : i + 7] for i in range(0, len(data), 7)]):
            buffer = DiagnosticBuffer(policy)
            for chunk in chunks:
                buffer.add(chunk)
                assert len(buffer._kept) <= 2 * (10 + diagnostics._SLACK)
            assert buffer.snapshot() == b"0123456789"

    def test_is_empty_again_once_another_connection_begins(self):
        buffer = DiagnosticBuffer(BufferPolicy.all())
        buffer.add(b"one")
        buffer.clear()
        assert buffer.snapshot() == b""
        buffer.add(b"two")
        assert buffer.snapshot() == b"two"

    @pytest.mark.parametrize(
        "policy", [BufferPolicy.last_lines(2), BufferPolicy.last_event(), BufferPolicy.all()]
    )
    def test_costs_a_bounded_number_of_looks_at_each_byte(self, policy):
        looked_at = []

        class Counting(DiagnosticBuffer):
            def snapshot(self):
                looked_at.append(len(self._kept))
                return super().snapshot()

        for data in (b"data: abc\n\n" * 50_000, b"x" * 500_000):
            looked_at.clear()
            buffer = Counting(policy)
            for i in range(0, len(data), 5):
                buffer.add(data[i : i + 5])
            assert looked_at
            assert sum(looked_at) <= 3 * len(data)


class TestSession:
    def error_of(self, server, policy, **options):
        with sse_client_for_tests(buffer_policy=policy, **options) as client:
            with client.sse(server.url) as session, pytest.raises(Exception) as caught:
                for _ in session.incoming:
                    pass
            assert caught.value is session.error
            return caught.value

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (BufferPolicy.off(), b""),
            (BufferPolicy.last_lines(2), b"\ndata: cut"),
            (BufferPolicy.last_event(), b"data: two\n\ndata: cut"),
            (BufferPolicy.last_events(2), b"data: one\n\ndata: two\n\ndata: cut"),
            (BufferPolicy.all(), b": hi\n\ndata: one\n\ndata: two\n\ndata: cut"),
        ],
    )
    def test_shows_what_came_before_the_stream_broke_off(self, server, policy, expected):
        server.serve([b": hi\n\n", "one", "two", b"data: cut"], then="drop")
        error = self.error_of(server, policy, reconnect="never")
        assert type(error) is StreamInterruptedError
        assert error.buffer == expected

    def test_shows_it_uncompressed(self, server):
        server.serve(["one", b"data: cut"], then="drop", content_encoding="gzip")
        error = self.error_of(server, BufferPolicy.all(), reconnect="never")
        assert error.buffer == b"data: one\n\ndata: cut"

    def test_shows_an_event_that_was_too_large(self, server):
        server.serve(["one", "x" * 200], then="stall")
        error = self.error_of(server, BufferPolicy.last_lines(2), max_event_size=100)
        assert isinstance(error, EventTooLargeError)
        assert error.buffer.endswith(b"x" * 200 + b"\n\n")

    def test_shows_the_last_connection_that_brought_something(self, server):
        server.serve([b"data: one\n\ndata: cut"], then="drop")
        server.serve([b"data: two\n\n"])
        server.respond(410)
        error = self.error_of(server, BufferPolicy.all())
        assert isinstance(error, UnexpectedStatusError)
        assert error.buffer == b"data: two\n\n"

    def test_shows_it_when_it_gives_up(self, server):
        server.serve([b"data: one\n\ndata: cut"], then="drop")
        server.handler = lambda exchange: exchange.respond(503)
        error = self.error_of(server, BufferPolicy.all(), max_reconnection_attempts=1)
        assert isinstance(error, ReconnectionExhaustedError)
        assert error.buffer == error.last_cause.buffer == b"data: one\n\ndata: cut"

    def test_shows_the_hook_what_was_lost(self, server):
        seen = []
        server.serve([b"data: one\n\ndata: cut"], then="drop")
        server.serve(["two"])
        server.respond(204)
        with (
            sse_client_for_tests(buffer_policy=BufferPolicy.all()) as client,
            client.sse(server.url, on_disconnect=lambda _s, e, _d: seen.append(e)) as session,
        ):
            assert [event.data for event in session.incoming] == ["one", "two"]
        assert isinstance(seen[0], StreamInterruptedError)
        assert seen[0].buffer == b"data: one\n\ndata: cut"
        assert seen[1] is None

    def test_does_not_read_the_network_again(self, server):
        server.serve(["one"], then="drop")
        error = self.error_of(server, BufferPolicy.all(), reconnect="never")
        assert [error.buffer, error.buffer] == [b"data: one\n\n"] * 2
        assert len(server.requests) == 1
