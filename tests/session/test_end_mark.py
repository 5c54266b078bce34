"""A stream with an end mark is complete only if the mark has arrived."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import PATIENCE, sse_client_for_tests

from sse_client import (
    BufferPolicy,
    ReconnectionExhaustedError,
    StreamInterruptedError,
    UnexpectedStatusError,
)

MARK = "[DONE]"


def texts(session):
    """Return the data up to the end, and the error that ends the loop."""
    received = []
    try:
        received.extend(event.data for event in session.incoming)
    except StreamInterruptedError as error:
        return received, error
    return received, None


def test_what_comes_with_the_mark_and_after_it_is_asked_about_by_nobody(server):
    server.serve([b"data: one\n\ndata: [DONE]\n\ndata: more\n\n"], then="stall")
    seen = []
    options = {"event_timeout": 3600, "counts_as_event": lambda event: seen.append(event.data)}
    with (
        sse_client_for_tests(end_of_stream=MARK, **options) as client,
        client.sse(server.url) as session,
    ):
        assert texts(session) == (["one"], None)
    assert seen == []


class TestAnEndWithoutTheMark:
    @pytest.mark.parametrize("framing", ["chunked", "close", "length"])
    @pytest.mark.parametrize(
        ("method", "reconnect"), [("POST", None), ("POST", "never"), ("GET", "never")]
    )
    def test_is_a_break_however_clean_it_looks(self, server, framing, method, reconnect):
        size = len("data: half an ans\n\n") if framing == "length" else None
        server.serve(["half an ans"], framing=framing, content_length=size)
        with (
            sse_client_for_tests(end_of_stream=MARK, reconnect=reconnect) as client,
            client.sse(server.url, method=method) as session,
        ):
            received, error = texts(session)
            assert received == ["half an ans"]
            assert type(error) is StreamInterruptedError
            assert session.error is error
            assert error.response is session.response
        assert len(server.requests) == 1

    def test_is_named_in_the_message(self, server):
        server.serve(["half an ans"])
        with (
            sse_client_for_tests(end_of_stream=MARK) as client,
            client.sse(server.url_for("/chat?key=CANARY-end-mark"), method="POST") as session,
        ):
            _, error = texts(session)
        assert "ended without its mark '[DONE]'" in str(error)
        assert "CANARY" not in str(error)

    def test_is_named_without_the_mark_if_a_function_finds_it(self, server):
        server.serve(["half an ans"])
        with (
            sse_client_for_tests(end_of_stream=lambda event: event.event == "stop") as client,
            client.sse(server.url, method="POST") as session,
        ):
            _, error = texts(session)
        assert "ended without its mark" in str(error)

    @pytest.mark.parametrize("reconnect", ["always", "on_error"])
    def test_is_a_reason_to_reconnect_if_the_session_does(self, server, reconnect):
        server.serve(["one"])
        server.serve(["two", MARK])
        losses = []
        with (
            sse_client_for_tests(
                end_of_stream=MARK,
                reconnect=reconnect,
                on_disconnect=lambda _, error, __: losses.append(error),
            ) as client,
            client.sse(server.url) as session,
        ):
            assert texts(session) == (["one", "two"], None)
        assert [type(loss) for loss in losses] == [StreamInterruptedError]
        assert len(server.requests) == 2

    def test_is_the_cause_of_giving_up(self, server):
        for _ in range(3):
            server.serve([], then="end")
        with (
            sse_client_for_tests(end_of_stream=MARK, max_reconnection_attempts=2) as client,
            client.sse(server.url) as session,
        ):
            with pytest.raises(ReconnectionExhaustedError) as caught:
                list(session.incoming)
            assert type(caught.value.last_cause) is StreamInterruptedError

    def test_shows_what_was_read_last(self, server):
        server.serve(["half an ans"])
        with (
            sse_client_for_tests(end_of_stream=MARK, buffer_policy=BufferPolicy.all()) as client,
            client.sse(server.url, method="POST") as session,
        ):
            _, error = texts(session)
        assert error.buffer == b"data: half an ans\n\n"

    def test_is_exit_status_5_of_the_command(self, server):
        server.serve(["half an ans"])
        command = [sys.executable, "-m", "sse_client", "-d", "{}", "--end-of-stream", MARK]
        done = subprocess.run(
            [*command, server.url], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 5
        assert done.stdout == "half an ans\n"
        assert "ended without its mark" in done.stderr


class TestACleanEnd:
    def test_is_the_mark(self, server):
        server.serve(["one", MARK])
        with (
            sse_client_for_tests(end_of_stream=MARK) as client,
            client.sse(server.url, method="POST") as session,
        ):
            assert texts(session) == (["one"], None)
            assert session.error is None

    def test_is_204(self, server):
        server.serve(["one"])
        server.respond(204)
        with sse_client_for_tests(end_of_stream=MARK) as client, client.sse(server.url) as session:
            assert texts(session) == (["one"], None)
            assert session.error is None

    def test_is_close(self, server):
        server.serve(["one"], then="stall")
        with sse_client_for_tests(end_of_stream=MARK) as client:
            session = client.sse(server.url, method="POST")
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            session.close()
            assert session.error is None
            assert list(session.incoming) == []

    def test_without_the_option_is_any_end(self, server):
        server.serve(["one"])
        with sse_client_for_tests() as client, client.sse(server.url, method="POST") as session:
            assert texts(session) == (["one"], None)

    def test_is_not_a_status_that_refuses_a_reconnection(self, server):
        server.serve(["one"])
        server.respond(404)
        with sse_client_for_tests(end_of_stream=MARK) as client, client.sse(server.url) as session:
            assert session.incoming.get(timeout=PATIENCE).data == "one"
            with pytest.raises(UnexpectedStatusError):
                session.incoming.get(timeout=PATIENCE)
