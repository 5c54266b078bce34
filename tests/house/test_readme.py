"""The README's code runs as it stands there, against a live server in place of 127.0.0.1:8080."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
import requests
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
        "A stream that answers a POST",
        "Going on after a restart",
        "Testing your code",
    ]


def test_the_quickstart_goes_on_behind_the_break(server, capsys):
    server.serve([ServerSentEvent("one", id="1", retry=10)], then="drop")
    server.serve([ServerSentEvent("two", event="news", id="2")], then="end")
    server.respond(204)
    PYTHON["Quickstart"].run(server.url)
    assert capsys.readouterr().out == "1 message one\n2 news two\n"
    asked_for = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert asked_for == [None, "1", "2"]


def test_the_post_ends_at_its_mark(server, capsys):
    server.serve(['{"text": "Hel"}', '{"text": "lo"}', "[DONE]"], then="stall")
    PYTHON["A stream that answers a POST"].run(server.url)
    assert capsys.readouterr().out == "Hello"
    (request,) = server.requests
    assert request.method == "POST"


def test_a_restart_goes_on_behind_what_was_processed(server, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server.serve([ServerSentEvent("one", id="1", retry=10)], then="end")
    server.respond(204)
    server.respond(410)
    server.serve([ServerSentEvent("two", id="2", retry=10)], then="end")
    server.respond(204)
    for _ in range(2):
        PYTHON["Going on after a restart"].run(server.url)
    assert capsys.readouterr().out == "one\ntwo\n"
    asked_for = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert asked_for == [None, "1", "1", None, "2"]


def test_the_test_in_the_readme_passes(server):
    names = PYTHON["Testing your code"].run(server.url)
    names["test_follows_the_stream"]()


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith("sse-client ")]
)
def test_a_command_line_does_what_it_says(command, server, tmp_path):
    events = [ServerSentEvent("one", id="1", retry=10), ServerSentEvent("two"), "[DONE]"]
    server.serve(events[: 3 if "[DONE]" in command else 2], then="end")
    server.respond(204)
    (tmp_path / "question.json").write_text("{}")
    (tmp_path / "recording.txt").write_text("id: 0\ndata: zero\n\n")
    arguments = shlex.split(command.replace(ADDRESS, server.url.rstrip("/")))[1:]
    with Process(
        [sys.executable, "-m", "sse_client", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        try:
            if arguments[0] == "serve":
                with requests.get(process.stdout.readline().strip(), timeout=50) as answer:
                    assert answer.text == "id: 0\ndata: zero\n\n"
            output, errors = process.communicate(timeout=50)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    if "--json" in arguments:
        assert [line[0] for line in output.splitlines()] == ["{", "{"]
    elif arguments[0] == "demo":
        assert output
    elif arguments[0] == "record":
        assert (
            (tmp_path / "recording.txt").read_text().endswith("data: one\n\nid: 1\ndata: two\n\n")
        )
    else:
        assert output == ("" if arguments[0] == "serve" else "one\ntwo\n")
    if "-d" in arguments:
        assert server.requests[0].headers["Content-Type"] == "application/json"


def test_every_make_command_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [command.split("#")[0].split() for command in COMMANDS]
    named = [words[1] for words in commands if words and words[0] == "make"]
    assert named == ["demo", "test"]
    assert set(named) <= set(targets)


def test_every_link_to_a_file_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
