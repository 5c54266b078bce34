"""What the page about the relay shows works, and it names each option of the command."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from commands import find_command, needs
from pages import ROOT, read_blocks

from sse_client import ServerSentEvent
from sse_client.cli import main
from sse_client.cli.relay import _check_usage, _parser
from sse_client.relay import load_config

PAGE = ROOT / "docs/relay.md"
BLOCKS = read_blocks(PAGE)
REDIS = "redis://127.0.0.1:6379/0"


def blocks(language):
    return [block for block in BLOCKS if block.language == language]


def test_the_python_blocks_relay_and_read(redis, server, capsys):
    server.serve(["hello", ServerSentEvent("bye", id="2", retry=1)], then="end")
    server.respond(204)
    for block in blocks("python"):
        block.run(server.url, {REDIS: redis.url})
    assert capsys.readouterr().out == "2 entries\n hello\n2 bye\n"


def test_the_configuration_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_URL", REDIS)
    monkeypatch.setenv("ORDERS_TOKEN", "Bearer token")
    (block,) = blocks("toml")
    path = tmp_path / "relays.toml"
    path.write_text(block.code, encoding="utf-8")
    config = load_config(path)
    assert [each.stream for each in config.streams] == ["orders", "trades"]


def test_the_commands_are_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relays.toml").touch()
    for block in blocks("sh"):
        program, name, *words = shlex.split(block.code)
        assert (program, name) == ("sse-client", "relay")
        parser = _parser()
        _check_usage(parser, parser.parse(words))


def test_the_page_names_no_option_that_is_not_there(capsys):
    with pytest.raises(SystemExit):
        main(["relay", "--help"])
    options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE.read_text(encoding="utf-8"))) <= options


@needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path):
    (block,) = blocks("ini")
    unit = tmp_path / "relay.service"
    unit.write_text(block.code.replace("/usr/bin/sse-client", "/bin/true"), encoding="utf-8")
    command = [find_command("systemd-analyze"), "verify", str(unit)]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(unit) not in found.stderr
    assert "relay.service" not in found.stderr


def test_no_other_language_is_in_the_page():
    assert {block.language for block in BLOCKS} == {"python", "sh", "toml", "ini"}
