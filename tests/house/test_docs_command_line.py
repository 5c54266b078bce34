"""The page about the command line names every option, and its recipes work."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, PATIENCE, follow
from commands import needs
from pages import ROOT, read_blocks
from systems import needs_posix

from sse_client import ServerSentEvent

if TYPE_CHECKING:
    from sse_client.testing import Exchange

PAGE = ROOT / "docs/command-line.md"
TEXT = PAGE.read_text(encoding="utf-8")
RECIPES = [block.code for block in read_blocks(PAGE) if block.language == "sh"]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")

DATA = '{"type": "edit", "title": "T", "choices": [{"delta": {"content": "Hel"}}]}'


def test_the_page_has_each_option_and_no_other(capsys):
    options = set()
    for words in ([], ["check"], ["record"]):
        assert follow(*words, "--help", "all") == 0
        options |= set(OPTION.findall(capsys.readouterr().out))
    for command in ("serve", "demo", "completion", "man"):
        assert follow(command, "--help") == 0
        options |= set(OPTION.findall(capsys.readouterr().out))
    # The help does not list the options that exist only because curl has them.
    of_curl = {"--compressed", "--data-raw", "--fail-with-body"}
    assert set(OPTION.findall(TEXT)) | {"--version"} == options | of_curl


def test_options_are_not_broken_at_their_hyphens_in_the_tables():
    section = TEXT.splitlines()[0].removeprefix("# ").lower().replace(" ", "-")
    style = (ROOT / "docs/_static/sse_client.css").read_text(encoding="utf-8")
    assert f"#{section} td:first-child code {{\n  white-space: nowrap;\n" in style


def answer(exchange: Exchange) -> None:
    """Respond with the same events to each client, once."""
    if "Last-Event-ID" in exchange.request.headers:
        exchange.respond(204)
        return
    exchange.send_event(ServerSentEvent(DATA, "price", id="1", retry=1, comments="c"))
    if exchange.request.method == "POST":
        exchange.send_event(ServerSentEvent("[DONE]"))


EXPECTED = [
    ("recentchange |", "T\n"),
    ("chat/completions", "Hel"),
    ("-m 60", ""),
    ("--event price", '{\n  "type": "edit"'),
    ("--raw --filter-comments off", ": c\n"),
]


@needs_posix
@needs("jq")
@pytest.mark.parametrize(("sign", "expected"), EXPECTED, ids=[sign for sign, _ in EXPECTED])
def test_a_recipe_does_what_it_says(server, tmp_path, sign, expected):
    (recipe,) = [code for code in RECIPES if sign in code]
    server.handler = answer
    if "-m 60" in recipe:
        recipe = recipe.splitlines()[0]  # the other lines are for two terminals
    script = re.sub(r"https?://[^/\s]+/", server.url, recipe)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script.replace("sse-client ", " ".join(COMMAND) + " ")],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "API_KEY": "T1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert server.requests


def test_every_recipe_is_tried():
    assert len(RECIPES) == len(EXPECTED)
