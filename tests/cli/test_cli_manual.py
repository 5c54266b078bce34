"""The man page and the scripts for shell completion, which are generated from the help."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from command_line import PATIENCE, follow
from commands import needs
from pages import ROOT
from systems import needs_posix

from sse_client.cli import man
from sse_client.cli.all_parsers import command_parsers, default_parser, groups_of
from sse_client.cli.commands import COMMANDS


def options() -> set[str]:
    parsers = [default_parser(), *(parser for _, parser in command_parsers())]
    return {
        name
        for parser in parsers
        for _, actions in groups_of(parser)
        for action in actions
        for name in action.option_strings
    }


def test_the_man_page_has_each_command_and_each_option(capsys):
    assert follow("man") == 0
    page = capsys.readouterr().out
    assert page.startswith('.TH SSE\\-CLIENT 1 "" "sse\\-client ')
    for command in COMMANDS:
        assert f".SS sse\\-client {command}\n" in page
    for option in options():
        assert "\\fB" + option.replace("-", "\\-") + "\\fR" in page, option
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS"):
        assert f".SH {heading}\n" in page


def test_the_man_page_that_is_installed_is_that_of_the_command():
    installed = (ROOT / "man/sse-client.1").read_text(encoding="utf-8")
    # To update it: sse-client man > man/sse-client.1
    assert installed == man.man_page()


@needs("groff")
def test_the_man_page_is_well_formed():
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww"],
        input=man.man_page().encode(),
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == b""
    assert b"--max-event-size" in re.sub(b".\x08|\x1b\\[[0-9;]*m", b"", done.stdout)


@pytest.mark.parametrize(
    ("text", "escaped"), [(".x", r"\&.x"), ("'x", r"\&'x"), (r"a\n-b", r"a\en\-b")]
)
def test_text_has_no_meaning_in_roff(text, escaped):
    assert man._escaped(text) == escaped


# Completion.


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_script_completes_each_command(capsys, shell):
    pytest.importorskip("shtab")
    assert follow("completion", shell) == 0
    script = capsys.readouterr().out
    for word in (*COMMANDS, "max-event-size", "duration", "on_error"):
        assert word in script, word


COMPLETE = """
COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
$(complete -p sse-client | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
echo "${COMPREPLY[@]}"
"""


@needs_posix
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("sse-client --retry", "--retry-first"),
        ("sse-client ser", "serve"),
        ("sse-client serve --lo", "--loop"),
        ("sse-client --reconnect ne", "never"),
        ("sse-client completion z", "zsh"),
    ],
)
def test_bash_completes_what_is_typed(capsys, typed, completed):
    pytest.importorskip("shtab")
    assert follow("completion", "bash") == 0
    script = capsys.readouterr().out + COMPLETE
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", typed],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.split() == [completed]


def test_completion_needs_an_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert follow("completion", "bash") == 1
    assert "pip install 'sse-client[cli]'" in capsys.readouterr().err


def test_an_unknown_shell_is_wrong_usage(capsys):
    assert follow("completion", "cmd") == 2
    assert "must be one of bash, zsh, tcsh" in capsys.readouterr().err
