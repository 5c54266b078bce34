"""A process of the tests ends with the run that started it, in whatever way that run ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from processes import Process
from support import PATIENCE

TESTS = Path(__file__).parents[1]

#: Starts a process that holds standard output, and a child of it that also holds it.
RUN = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
from processes import Process

SLEEP = "import threading; print('sleeps', flush=True); threading.Event().wait()"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
process = Process([sys.executable, "-c", CHILD])
sys.stdin.readline()
if "frozen" in sys.argv:
    process.send_signal(signal.SIGSTOP)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("state", ["running", "frozen"])
def test_a_process_and_its_children_end_with_a_killed_run(state):
    with subprocess.Popen(
        [sys.executable, "-c", RUN, TESTS, state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout.readline() == "sleeps\n"
        run.stdin.write("\n")
        run.stdin.flush()
        assert run.stdout.readline() == "ready\n"
        run.kill()
        # The output ends with the last process that holds it.
        rest, _ = run.communicate(timeout=PATIENCE)
    assert rest == ""


def test_a_process_that_has_ended_is_no_longer_watched(monkeypatch):
    told = []
    monkeypatch.setattr("processes._notify", lambda sign, pid: told.append((sign, pid)))
    with Process([sys.executable, "-I", "-S", "-c", ""]) as process:
        process.wait(PATIENCE)
        assert process.poll() == 0
    assert told == [("+", process.pid), ("-", process.pid)]
