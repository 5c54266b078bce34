"""The experiment with NATS JetStream: the relay passes, and the judge detects a weaker relay.

``docs/relay-nats.md`` describes it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from commands import needs
from pages import ROOT, read_blocks

JUDGE = ROOT / "benchmarks" / "nats_judge.py"

#: How long a run may take, in seconds.
PATIENCE = 120


@pytest.fixture
def judge():
    """Runs the judge, and returns its exit status and its verdict."""
    pytest.importorskip("nats", reason="nats-py is not installed (requirements/interop.txt)")

    def run(*words):
        command = [sys.executable, str(JUDGE), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE, cwd=ROOT
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        assert lines, done.stderr
        return done.returncode, json.loads(lines[0])

    return run


def test_the_page_names_options_that_the_judge_has():
    (block,) = read_blocks(ROOT / "docs" / "relay-nats.md")
    lines = block.code.splitlines()
    assert all(line.startswith("python benchmarks/nats_judge.py ") for line in lines)
    known = set(re.findall(r'"(--[a-z-]+)"', JUDGE.read_text(encoding="utf-8")))
    assert set(re.findall(r"--[a-z-]+", block.code)) <= known


@pytest.mark.ci
@needs("nats-server")
@pytest.mark.parametrize("lease", [(), ("--no-lease",)])
def test_each_event_is_in_jetstream_once_whatever_fails(judge, lease):
    status, verdict = judge("--faults", "8", *lease)
    assert status == 0, verdict
    assert (verdict["lost"], verdict["doubled"], verdict["misplaced"]) == (0, 0, 0)


@pytest.mark.ci
@needs("nats-server")
def test_the_judge_finds_the_duplicates_of_a_relay_without_conditions(judge):
    status, verdict = judge("--faults", "1", "--no-lease", "--guard", "none")
    assert status == 1
    assert verdict["doubled"] > 0
