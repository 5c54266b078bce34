"""Where the sse-client command begins and ends: saved positions, and limits."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from command_line import follow, started
from support import Running

from sse_client import FileCursor, ServerSentEvent
from sse_client.cli import delivery, opening, output

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state.json"


def position(state: Path) -> str:
    return json.loads(state.read_text())["last_event_id"]


def numbered(*numbers: int) -> list[ServerSentEvent]:
    return [ServerSentEvent(f"event {n}", id=str(n), retry=1) for n in numbers]


def asked_for(server) -> list[str | None]:
    return [request.headers.get("Last-Event-ID") for request in server.requests]


# A position.


def test_a_run_goes_on_where_the_last_one_ended(server, state, capsys):
    server.serve(numbered(1, 2, 3), then="stall")
    server.serve(numbered(3, 4), then="stall")
    assert follow(server.url, "--state", str(state), "--max-events", "2") == 0
    assert position(state) == "2"
    assert follow(server.url, "--state", str(state), "--last-event-id", "1", "--max-events=2") == 0
    assert asked_for(server) == [None, "2"]
    assert position(state) == "4"
    assert capsys.readouterr().out == "event 1\nevent 2\nevent 3\nevent 4\n"
    assert [path.name for path in state.parent.iterdir()] == ["state.json"]


def test_events_that_are_not_shown_move_the_position_too(server, state, capsys):
    server.serve(numbered(1, 2))
    server.respond(204)
    assert follow(server.url, "--state", str(state), "--event", "other") == 0
    assert capsys.readouterr().out == ""
    assert position(state) == "2"


def test_the_position_does_not_pass_what_could_not_be_written(server, state, monkeypatch):
    reading, writing = os.pipe()
    server.serve(numbered(1, 2, 3), then="stall")
    written = []

    class Output:
        """A pipe whose reader closes it after one event."""

        def write(self, text: str) -> None:
            written.append(text)
            output.write(text)

        def flush(self) -> None:
            output.flush()
            os.close(reading)

        def fileno(self) -> int:
            return output.fileno()

    with os.fdopen(writing, "w", encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", Output())
        monkeypatch.setattr("sse_client.cli.output.select.poll", Silent)
        assert follow(server.url, "--state", str(state)) == 0
        monkeypatch.undo()
    assert written == ["event 1\n", "event 2\n"]
    assert position(state) == "1"


class Silent:
    """Simulates a poll that has not detected yet that the reader has gone."""

    def register(self, *_: object) -> None:
        """Do nothing."""

    def poll(self) -> list[tuple[int, int]]:
        return []


def test_a_position_in_use_is_a_failure(server, state, capsys):
    with FileCursor(state) as cursor:
        cursor.save("1")
        assert follow(server.url, "--state", str(state)) == 1
    errors = capsys.readouterr().err
    assert errors == f"sse-client: {state} is in use by another cursor of this process\n"
    assert server.requests == []


def test_a_position_that_the_server_does_not_know_is_a_failure(server, state, capsys):
    with FileCursor(state) as cursor:
        cursor.save("1")
    server.respond(410)
    assert follow(server.url, "--state", str(state)) == 4
    assert "responded with 410 Gone: the server cannot continue after" in capsys.readouterr().err
    assert position(state) == "1"


def test_a_killed_run_has_saved_what_it_wrote(server, state):
    server.serve(numbered(*range(1, 50)), then="stall")
    server.serve(numbered(50), then="stall")
    with started(server.url, "--state", str(state)) as process:
        assert "event 49\n" in iter(process.stdout.readline, "")
        process.kill()
    assert position(state) in {"48", "49"}
    assert follow(server.url, "--state", str(state), "--max-events", "1") == 0
    assert asked_for(server)[-1] in {"48", "49"}


# Limits.


def test_the_event_that_marks_the_end_ends_it(server, capsys):
    server.serve(["one", "[DONE]", "two"], then="stall")
    assert follow(server.url, "--end-of-stream", "[DONE]") == 0
    assert capsys.readouterr() == ("one\n", "")


@pytest.fixture
def time_is_up(monkeypatch):
    """Let the time limit be reached as soon as something has been printed."""
    timers = []

    class Timer(threading.Timer):
        """A timer that only a test makes expire."""

        def start(self) -> None:
            assert self.interval == 9.5
            timers.append(self)

        def join(self, timeout: float | None = None) -> None:
            """Return at once: no thread was started."""

    def show(text: str) -> None:
        output.show(text)
        timers[0].function()

    monkeypatch.setattr(opening.threading, "Timer", Timer)
    monkeypatch.setattr(delivery, "show", show)


@pytest.mark.usefixtures("time_is_up")
def test_the_time_limit_ends_a_stream_and_what_was_written_is_saved(server, state, capsys):
    server.serve(numbered(1, 2, 3), then="stall")
    assert follow(server.url, "--max-time", "9.5", "--state", str(state)) == 0
    assert capsys.readouterr() == ("event 1\n", "")
    assert position(state) == "1"


def test_the_time_limit_ends_a_silent_stream(server, capsys):
    exchange = Running(server.accept)
    limited = Running(lambda: follow(server.url, "--max-time", "2"))
    exchange.outcome().open()
    assert limited.outcome() == 0
    assert capsys.readouterr() == ("", "")


def test_a_time_limit_that_is_not_reached_says_nothing(server, capsys):
    server.serve(["one"])
    server.respond(204)
    assert follow(server.url, "--max-time", "3600", "--reconnect", "on_error") == 0
    assert capsys.readouterr() == ("one\n", "")


def test_no_response_within_the_time_limit_is_a_failure(server, capsys):
    assert follow(server.url, "--max-time", "0.01") == 3
    assert capsys.readouterr() == ("", "sse-client: no stream could be opened within --max-time\n")


def test_a_client_that_somebody_else_closes_is_a_failure(server, monkeypatch, capsys):
    class Closed(opening.HttpClient):
        """A client that is closed before it is used."""

        def sse(self, *args, **options):
            self.close()
            return super().sse(*args, **options)

    monkeypatch.setattr(opening, "HttpClient", Closed)
    assert follow(server.url) == 1
    assert capsys.readouterr().err == "sse-client: the client is closed\n"
