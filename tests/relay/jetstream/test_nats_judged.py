"""The judged run: each event is in JetStream once, and the judge would find duplicates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import MISSING, find_nats_server

JUDGE = Path(__file__).parent / "judged_nats.py"

#: How long a run may take, in seconds.
PATIENCE = 120

pytestmark = [
    pytest.mark.ci,
    pytest.mark.timeout(2 * PATIENCE),
    pytest.mark.skipif(find_nats_server() is None, reason=MISSING["nats-server"]),
]


def judge(*words):
    """Run the judge, and return its exit status and its verdict."""
    command = [sys.executable, str(JUDGE), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr
    return done.returncode, json.loads(lines[0])


@pytest.mark.parametrize("words", [(), ("--no-lease",), ("--no-atomic",), ("--servers", "3")])
def test_each_event_is_written_once_whatever_fails(words):
    status, verdict = judge("--faults", "8", *words)
    assert status == 0, verdict
    assert (verdict["lost"], verdict["doubled"], verdict["misplaced"]) == (0, 0, 0)


def test_the_judge_finds_the_duplicates_of_relays_without_conditions():
    status, verdict = judge("--faults", "1", "--no-lease", "--unconditional")
    assert status == 1
    assert verdict["doubled"] > 0
