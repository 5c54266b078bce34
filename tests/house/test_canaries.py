"""The watch over secrets would hear one, wherever it was told, and fails the run for it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from canaries import CANARY, tells

CONFTEST = """
from canaries import CanaryWatch

def pytest_configure(config):
    config.pluginmanager.register(CanaryWatch())
"""

PREAMBLE = """
import base64, logging, subprocess, sys, warnings
from canaries import CANARY

BASIC = base64.b64encode(f"user:{CANARY}".encode()).decode()
"""

#: How long a pytest of its own may take on a busy machine, in seconds.
PATIENCE = 50

OPTIONS = [
    *("-q", "--tb=no", "--show-capture=no", "--disable-warnings", "-rN"),
    *("-p", "no:cacheprovider"),
]

LEAKS = {
    "a log line": "logging.getLogger('urllib3.x').debug('to %s', CANARY)",
    "a log line with a traceback": """
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger("sse_client").exception("it failed")
    """,
    "Basic authentication in a log": "logging.getLogger('x').info(BASIC)",
    "a warning": "warnings.warn(f'about {CANARY}', UserWarning)",
    "its output": "print(CANARY)",
    "its errors": "print(CANARY, file=sys.stderr)",
    "output that it reads": "print(CANARY); capsys.readouterr()",
    "output of a process": """
        source = f"print({CANARY!r})"
        subprocess.run([sys.executable, "-c", source], capture_output=True)
    """,
    "output of a process that it does not read": """
        subprocess.run([sys.executable, "-c", f"print({CANARY!r})"])
    """,
    "its failure": "assert CANARY == 'another'",
}


def run_pytest(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a test with this body, after one that is silent."""
    (folder / "conftest.py").write_text(CONFTEST)
    source = textwrap.indent(textwrap.dedent(body), "    ")
    silent = "def test_before():\n    logging.getLogger().debug('nothing')\n\n\n"
    leaking = f"def test_that_tells(capsys):\n{source}\n"
    if "capsys" not in source:  # else it would be the one that sees what is written
        leaking = leaking.replace("capsys", "")
    (folder / "test_it.py").write_text(PREAMBLE + silent + leaking)
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        # Importing the plug-ins of others takes longer than all the rest.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *options, str(folder)],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("leak", "options"),
    [
        *((leak, ()) for leak in LEAKS),
        # A worker alone hears a log; the main process gets the output of its tests, too.
        ("a log line", ("-p", "xdist", "-n", "1")),
        ("its output", ("-p", "xdist", "-n", "1")),
    ],
)
def test_a_test_that_tells_a_secret_fails_the_run_and_is_named(tmp_path, leak, options):
    done = run_pytest(tmp_path, LEAKS[leak], *options)
    assert done.returncode == 1
    assert "secrets that were told" in done.stdout
    assert "test_it.py::test_that_tells: " in done.stdout
    assert "test_before:" not in done.stdout
    assert ("1 failed" in done.stdout) == (leak == "its failure")


def test_a_run_that_is_silent_passes(tmp_path):
    done = run_pytest(tmp_path, "logging.getLogger().debug('nothing')")
    assert done.returncode == 0
    assert "secrets" not in done.stdout


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:", "user:pw"])
@pytest.mark.parametrize("behind", ["", "1", "12", "123"])
def test_base64_hides_nothing(before, behind):
    text = base64.b64encode(f"{before}{CANARY}{behind}".encode()).decode()
    assert tells(f"Basic {text}")
    assert not tells(base64.b64encode(f"{before}CaNaRy{behind}".encode()).decode())
