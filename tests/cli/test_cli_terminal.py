"""The output on a terminal: no escape sequences from the server, colours, indented JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess

import pytest
from command_line import COMMAND, follow
from systems import needs_posix
from terminals import Terminal

from sse_client import ServerSentEvent
from sse_client.cli import json_text
from sse_client.cli.terminal import escape_controls, has_colours, is_terminal

TITLE = "\x1b]0;owned\x07"
CLEAR = "\x1b[2J\x1b[H"
BAD = f"{TITLE}{CLEAR}\x9b2J\x7f\u202e a\tb"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x1b[H\x9b2J\x7f\u202e a" + "\tb"


class Screen(io.StringIO):
    """Simulates standard output on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    return Screen()


def shown_of(screen, server, *words, data=BAD, **fields) -> str:
    server.serve([ServerSentEvent(data, **fields)], then="stall")
    with contextlib.redirect_stdout(screen):
        assert follow(*words, "--max-events", "1", server.url) == 0
    return screen.getvalue()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], SHOWN + "\n"),
        (["--data-only"], SHOWN + "\n"),
        (["--format", "{data}|{id}|{event}"], rf"{SHOWN}|\x1b[31m|\x08" + "\n"),
        (["--filter-comments", "off"], r": \x1bc" + "\n" + SHOWN + "\n"),
        (["--timestamps", "--select", "x", "--event", "none"], None),
    ],
    ids=str,
)
def test_a_server_cannot_control_the_terminal(screen, server, words, expected):
    if expected is None:
        server.serve([ServerSentEvent(BAD, "x"), "end"], then="stall")
        with contextlib.redirect_stdout(screen):
            assert follow(*words, "--end-of-stream", "end", server.url) == 0
        assert screen.getvalue() == ""
        return
    shown = shown_of(screen, server, *words, id="\x1b[31m", event="\x08", comments="\x1bc")
    assert shown == expected


def test_json_on_a_terminal_is_escaped_and_still_the_same_value(screen, server):
    shown = shown_of(screen, server, "--json")
    assert not any(control in shown for control in "\x1b\x9b\x7f\u202e")
    assert json.loads(shown)["data"] == BAD


def test_the_wire_format_is_shown_as_it_is(screen, server):
    assert shown_of(screen, server, "--raw") == f"data: {BAD}\n\n"


def test_a_file_gets_the_data_as_it_is(server, capsys):
    server.serve([BAD], then="stall")
    assert follow("--max-events", "1", server.url) == 0
    assert capsys.readouterr().out == f"{BAD}\n"


def test_json_data_is_indented_on_a_terminal_alone(screen, server, capsys):
    data = '{"a":[1.10,{}],\n"b":"\x9b"}'
    expected = '{\n  "a": [\n    1.10,\n    {}\n  ],\n  "b": "\\u009b"\n}\n'
    assert shown_of(screen, server, data=data) == expected
    server.serve([data], then="stall")
    assert follow("--max-events", "1", server.url) == 0
    assert capsys.readouterr().out == data.replace("\n", "\\n") + "\n"


def test_colours_can_be_chosen(server, capsys):
    server.serve(["x"], then="stall")
    assert follow("--json", "--color", "always", "--max-events", "1", server.url) == 0
    shown = capsys.readouterr().out
    assert '\x1b[36m"data"\x1b[0m:\x1b[32m"x"\x1b[0m' in shown


@pytest.mark.parametrize(
    ("choice", "environment", "on_terminal", "expected"),
    [
        (None, {}, True, True),
        (None, {}, False, False),
        (None, {"NO_COLOR": "1"}, True, False),
        (None, {"NO_COLOR": ""}, True, True),
        (None, {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {}, True, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(choice, environment, on_terminal, expected):
    stream = Screen() if on_terminal else io.StringIO()
    assert has_colours(stream, choice, environment) is expected


def test_a_closed_file_is_not_a_terminal():
    stream = Screen()
    stream.close()
    assert not is_terminal(io.StringIO())
    closed = open(__file__, encoding="utf-8")  # noqa: SIM115, PTH123  # closed at once
    closed.close()
    assert not is_terminal(closed)
    assert not is_terminal(object())


def test_only_control_characters_are_escaped():
    assert escape_controls("ä € 🎉\n\t ~") == "ä € 🎉\n\t ~"


@pytest.mark.parametrize("text", ["", "12", '"a"', "[1", "{a}", "nothing", "[" * 100_000])
def test_what_is_not_an_object_or_an_array_is_not_indented(text):
    assert json_text.indent(text, has_colours=False) is None


def test_colours_tell_keys_and_values_apart():
    shown = json_text.indent('{"k": ["s", 1, true, null]}', has_colours=True)
    for piece in ('\x1b[36m"k"', '\x1b[32m"s"', "\x1b[33m1", "\x1b[35mtrue", "\x1b[35mnull"):
        assert f"{piece}\x1b[0m" in shown


@needs_posix
def test_a_real_terminal_shows_escape_sequences_instead_of_obeying_them(server):
    server.serve([TITLE], then="stall")
    terminal = Terminal()
    with subprocess.Popen(
        [*COMMAND, "--max-events", "1", server.url], stdout=terminal.descriptor
    ) as process:
        os.close(terminal.descriptor)
        assert process.wait(30) == 0
    assert terminal.read_all() == "\\x1b]0;owned\\x07\n"
