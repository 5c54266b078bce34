"""The README's code runs unchanged, with a live server in place of 127.0.0.1:8080."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import requests
from command_line import COMMAND, follow, started
from pages import ADDRESS, ROOT, read_blocks
from processes import Process

from sse_client import ServerSentEvent

PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")
BLOCKS = read_blocks(PAGE)
PYTHON = {block.heading: block for block in BLOCKS if block.language == "python"}
COMMANDS = [line for block in BLOCKS if block.language == "sh" for line in block.code.splitlines()]


def test_every_python_block_has_a_test_of_its_own():
    assert [block.heading for block in BLOCKS if block.language == "python"] == [
        "Quickstart",
        "Language models",
    ]


def test_the_quickstart_resumes_after_the_break(server, capsys):
    server.serve([ServerSentEvent("one", id="1", retry=10)], then="drop")
    server.serve([ServerSentEvent("two", event="news", id="2")], then="end")
    server.respond(204)
    PYTHON["Quickstart"].run(server.url)
    assert capsys.readouterr().out == "1 message one\n2 news two\n"
    asked_for = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert asked_for == [None, "1", "2"]


def test_the_post_ends_at_its_mark(server, capsys):
    server.serve(['{"text": "Hel"}', '{"text": "lo"}', "[DONE]"], then="stall")
    PYTHON["Language models"].run(server.url)
    assert capsys.readouterr().out == "Hello"
    (request,) = server.requests
    assert request.method == "POST"


def served(arguments, folder):
    """Serve in a process until a client has received everything. Return its other output."""
    with Process(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        try:
            with requests.get(process.stdout.readline().strip(), timeout=50) as answer:
                assert answer.text == "id: 0\ndata: zero\n\n"
            output, errors = process.communicate(timeout=50)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    return output


@pytest.mark.parametrize(
    "command",
    [
        command
        for command in COMMANDS
        if command.startswith("sse-client ") and "--serve" not in command
    ],
)
def test_a_command_line_does_what_it_says(command, server, tmp_path, monkeypatch, capsys):
    events = [ServerSentEvent("one", id="1", retry=10), ServerSentEvent("two"), "[DONE]"]
    server.serve(events[: 3 if "[DONE]" in command else 2], then="end")
    server.handler = lambda exchange: exchange.respond(204)
    (tmp_path / "recording.txt").write_text("id: 0\ndata: zero\n\n")
    arguments = shlex.split(command.replace(ADDRESS, server.url.rstrip("/")))[1:]
    if arguments[0] == "serve":
        output = served(arguments, tmp_path)
    else:
        monkeypatch.chdir(tmp_path)
        assert follow(*arguments) == 0
        output = capsys.readouterr().out
    if "--json" in arguments:
        assert [line[0] for line in output.splitlines()] == ["{", "{"]
    elif arguments[0] in {"check", "demo"}:
        assert output
    elif arguments[0] == "record":
        assert (
            (tmp_path / "recording.txt").read_text().endswith("data: one\n\nid: 1\ndata: two\n\n")
        )
    else:
        assert output == ("" if arguments[0] == "serve" else "one\ntwo\n")
    if "--json-body" in arguments:
        assert server.requests[0].headers["Content-Type"] == "application/json"


def test_the_server_of_the_examples_can_be_started():
    (command,) = [command for command in COMMANDS if "--serve" in command]
    with started(*shlex.split(command)[1:], "--port", "0") as process:
        url = re.search(r"http://127.0.0.1:[0-9]+/events", process.stdout.readline())[0]
        assert f"{ADDRESS}/events".startswith(url.rpartition(":")[0])
        assert follow("--max-events", "1", "--select", "number", url) == 0


def test_no_command_line_has_a_comment():
    # An interactive zsh passes a comment to the command as arguments.
    assert [command for command in COMMANDS if "#" in command] == []


def test_every_make_command_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [command.split()[1] for command in COMMANDS if command.startswith("make ")]
    assert named == ["demo", "test"]
    assert set(named) <= set(targets)


def test_it_reads_well_where_its_links_lead_nowhere():
    # A package index shows the README without the other files.
    assert re.findall(r"\]\((?!https?:)", README) == []


def test_every_page_that_it_names_is_there():
    named = re.findall(r"`([A-Za-z]+\.md|docs(?:/[a-z.-]+)?)`", README)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
