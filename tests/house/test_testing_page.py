"""The tests in docs/testing.md pass unchanged."""

from __future__ import annotations

import re

from pages import ROOT, read_blocks

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "testing.md"
BLOCKS = [block.code for block in read_blocks(PAGE)]


def test_every_block_on_the_page_is_a_test():
    assert BLOCKS
    assert [block for block in BLOCKS if block.count("def test_") != 1] == []


def test_every_block_passes(pytester, monkeypatch):
    # Importing third-party plugins takes longer than all the rest.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for number, block in enumerate(BLOCKS):
        pytester.makepyfile(**{f"test_block_{number}": block})
    done = pytester.runpytest_subprocess("-p", "sse_client", "-W", "error")
    done.assert_outcomes(passed=len(BLOCKS))


def test_the_script_in_the_table_can_be_written(sse_memory):
    from sse_client import ServerSentEvent

    calls = re.findall(r"\| `((?:serve|respond|redirect|stop)\(.*?)`", PAGE.read_text("utf-8"))
    assert len(calls) == 11
    for call in calls:
        eval(f"sse_memory.{call}", {"sse_memory": sse_memory, "ServerSentEvent": ServerSentEvent})
