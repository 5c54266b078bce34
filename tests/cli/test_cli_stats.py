"""The figures that --stats shows on standard error: a live line, or a short log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import tty
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, PATIENCE, follow

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
    assert line(shown) == "1 event | 0.5/s | open | last ID a [31m b | 0 reconnections"
    session.statistics = SimpleNamespace(events=12_345, connections=2, comments=3)
    session.last_event_id = "x" * 100
    shown.lost(session, ValueError("it\nbroke"), 2.5)
    cut = "x" * 59 + "…"
    assert line(shown) == (
        "12,345 events | 6.17e+03/s | reconnecting in 2.5 s (it broke) | 3 comments | "
        f"last ID {cut} | 1 reconnection"
    )
    shown.lost(session, None, None)
    assert "giving up (it ended)" in line(shown)


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
        r"sse-client: 1 event  \S+/s  reconnecting in \S+ s \(the stream of http://127\.0\.0\.1:"
        r"\d+/ broke off.*\)  last ID 1  0 reconnections",
        lost,
    )
    assert re.fullmatch(r"sse-client: 1 event  \S+/s  done  last ID 1  0 reconnections", done)


def test_a_log_tells_no_secret(server, capsys):
    server.serve([ServerSentEvent("one", retry=1)], then="drop")
    server.respond(403)
    address = server.url.replace("://", "://user:s3cr3t@") + "?token=s3cr3t#s3cr3t"
    assert follow("--stats", address) == 1
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
    assert follow("--stats", server.url) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "sse-client: not connected"
    assert "404" in errors[1]


# A terminal.


class Terminal:
    """The screen's side of a pseudo-terminal that is 60 columns wide."""

    def __init__(self) -> None:
        self._screen, self.descriptor = pty.openpty()
        tty.setraw(self.descriptor)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        self.seen = ""

    def read_until(self, text: str) -> None:
        """Read what is written until that text was seen."""
        while text not in self.seen:
            self.seen += os.read(self._screen, 65536).decode()

    def read_all(self) -> str:
        """Read the rest, once all others have closed it."""
        with contextlib.suppress(OSError):  # how Linux tells the end
            while data := os.read(self._screen, 65536):
                self.seen += data.decode()
        os.close(self._screen)
        return self.seen


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
    assert re.fullmatch(r"sse-client: 1 event  \S+/s  done  last ID n1  0 reconnections", last)


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


def test_a_dumb_terminal_gets_a_log(server):
    with on_a_terminal(server.url, TERM="dumb") as (process, terminal):
        server.accept(PATIENCE).respond(204)
        assert process.wait(PATIENCE) == 0
        assert terminal.read_all() == "sse-client: not connected\n"


def test_a_line_is_painted_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert stats._rich_painter(sys.stderr) is None
