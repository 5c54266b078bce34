"""The figures that --stats shows on standard error: a live line, or a short log."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, PATIENCE, follow
from systems import needs_posix
from terminals import Terminal

from sse_client import ServerSentEvent
from sse_client.cli import stats

if TYPE_CHECKING:
    from collections.abc import Iterator

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


# The figures.


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def session_with(events=0, connections=1, comments=0, last_event_id=""):
    counted = SimpleNamespace(events=events, connections=connections, comments=comments)
    return SimpleNamespace(statistics=counted, last_event_id=last_event_id)


def line(shown: stats.Figures, *, is_final: bool = False) -> str:
    return " | ".join(part.text for part in shown.parts(is_final=is_final))


def test_the_figures_are_those_of_the_session():
    clock = Clock()
    shown = stats.Figures(clock)
    assert line(shown) == "connecting"
    session = session_with()
    shown.opened(session)
    assert line(shown) == "0 events | 0/s | open | 0 reconnections"
    clock.now = 2.0
    session.statistics.events = 1
    session.last_event_id = "a\x1b[31m\nb"
    assert line(shown) == "1 event | 0.5/s | open | 0 reconnections | last ID a [31m b"
    session.statistics = SimpleNamespace(events=12_345, connections=2, comments=3)
    session.last_event_id = "x" * 100
    shown.lost(session, ValueError("it\nbroke"), 2.5)
    cut = "x" * 59 + "…"
    assert line(shown) == (
        "12,345 events | 6172/s | reconnecting in 2.5 s | 1 reconnection | 3 comments | "
        f"last ID {cut} | (it broke)"
    )
    clock.now += 1.2
    assert "| reconnecting in 1.3 s |" in line(shown)
    clock.now += 9
    assert "| reconnecting in 0.0 s |" in line(shown)
    shown.lost(session, None, None)
    assert "| giving up | 1 reconnection |" in line(shown)
    assert line(shown).endswith("| (it ended)")
    assert "(it ended)" not in line(shown, is_final=True)


def test_a_narrow_terminal_shows_all_numbers():
    clock = Clock()
    shown = stats.Figures(clock)
    session = session_with(events=123_456, connections=13, comments=42, last_event_id="x" * 50)
    shown.lost(session, ValueError("it broke"), 2.5)
    clock.now = 1.0
    pieces = [text for _, text in stats.texts_of(shown.parts(), 60)]
    assert "  ".join(pieces)[:59].startswith(
        "123,456 events  123456/s  retry 1.5 s  12 reconn.  42 comm"
    )
    assert "12 reconnections" in [text for _, text in stats.texts_of(shown.parts(), 80)]


def test_the_rate_is_that_of_the_last_seconds_and_in_the_end_of_all():
    clock = Clock()
    shown = stats.Figures(clock)
    session = session_with(events=0)
    shown.opened(session)
    for second in range(1, 21):
        clock.now = float(second)
        session.statistics.events = 10 * min(second, 10)
        shown.parts()
    assert "| 0/s |" in line(shown)
    assert line(shown, is_final=True) == "100 events | 5/s | done | 0 reconnections"


# Not a terminal.


def test_a_log_has_a_line_for_each_connection_and_one_for_the_end(server, capsys):
    server.serve([ServerSentEvent("one", id="1", retry=1)], then="drop")
    server.respond(204)
    assert follow("--stats", server.url) == 0
    output, errors = capsys.readouterr()
    assert output == "one\n"
    opened, lost, done = errors.splitlines()
    assert re.fullmatch(r"sse-client: 0 events  0/s  open  0 reconnections", opened)
    assert re.fullmatch(
        r"sse-client: 1 event  \S+/s  reconnecting in 0\.0 s  0 reconnections  last ID 1  "
        r"\(the stream of http://127\.0\.0\.1:\d+/ broke off.*\)",
        lost,
    )
    assert re.fullmatch(r"sse-client: 1 event  \S+/s  done  0 reconnections  last ID 1", done)


def test_a_log_tells_no_secret(server, capsys):
    server.serve([ServerSentEvent("one", retry=1)], then="drop")
    server.respond(403)
    address = server.url.replace("://", "://user:s3cr3t@") + "?token=s3cr3t#s3cr3t"
    assert follow("--stats", address) == 4
    assert "s3cr3t" not in capsys.readouterr().err


def test_a_standard_error_that_has_gone_does_not_matter(server, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    server.serve(["one"], then="stall")
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        assert follow("--stats", "--max-events", "1", server.url) == 0
    assert capsys.readouterr().out == "one\n"


def test_a_stream_that_does_not_open_has_no_figures(server, capsys):
    server.respond(404)
    assert follow("--stats", server.url) == 4
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "sse-client: not connected"
    assert "404" in errors[1]


# A terminal.


@contextlib.contextmanager
def on_a_terminal(
    *words: str, output: bool = False, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    terminal = Terminal()
    env = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}}
    with subprocess.Popen(
        [*COMMAND, "--stats", *words],
        stdout=terminal.descriptor if output else subprocess.PIPE,
        stderr=terminal.descriptor,
        env={**env, "TERM": "xterm", **environment},
    ) as process:
        os.close(terminal.descriptor)
        try:
            yield process, terminal
        finally:
            process.kill()


@pytest.fixture(params=[True, False], ids=["rich", "plain"])
def environment(request, tmp_path):
    """With rich, and as if it were not installed."""
    if request.param:
        return {}
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ImportError('not installed')\n")
    return {"PYTHONPATH": str(tmp_path)}


@needs_posix
def test_a_terminal_has_one_live_line(server, environment):
    with on_a_terminal(server.url, **environment) as (process, terminal):
        exchange = server.accept(PATIENCE)
        exchange.send("one", id="n1", retry=1)
        terminal.read_until("last ID n1")
        exchange.drop()
        server.accept(PATIENCE).respond(204)
        assert process.stdout.read() == b"one\n"
        seen = terminal.read_all()
    assert process.returncode == 0
    is_coloured = bool(ESCAPES.search(seen.replace("\x1b[K", "")))
    assert is_coloured is not bool(environment)
    *live, last = ESCAPES.sub("", seen).removesuffix("\n").split("\r")
    assert "connecting" in live[1] or "open" in live[1]
    assert max(map(len, live)) < 60
    assert "".join(live).count("\n") == 0
    assert re.fullmatch(r"sse-client: 1 event  \S+/s  done  0 reconnections  last ID n1", last)


@needs_posix
def test_events_and_the_live_line_share_a_terminal(server, environment):
    with on_a_terminal("--reconnect", "on_error", server.url, output=True, **environment) as (
        process,
        terminal,
    ):
        exchange = server.accept(PATIENCE)
        for number in range(3):
            exchange.send(f"event number {number}")
            terminal.read_until(f"event number {number}\n")
        terminal.read_until("3 events")
        exchange.end()
        seen = terminal.read_all()
        assert process.wait(PATIENCE) == 0
    lines = ESCAPES.sub("", seen).replace("\r", "\n").split("\n")
    for number in range(3):
        assert lines.count(f"event number {number}") == 1


@needs_posix
def test_a_dumb_terminal_gets_a_log(server):
    with on_a_terminal(server.url, TERM="dumb") as (process, terminal):
        server.accept(PATIENCE).respond(204)
        assert process.wait(PATIENCE) == 0
        assert terminal.read_all() == "sse-client: not connected\n"


def test_a_line_is_painted_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert stats._rich_painter(sys.stderr) is None
