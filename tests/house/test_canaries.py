"""The watch detects a secret wherever it appears, and fails the run."""

from __future__ import annotations

import base64
import os
import re
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

#: How long a separate pytest may take on a busy machine, in seconds.
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
        subprocess.run([sys.executable, "-S", "-c", source], capture_output=True)
    """,
    "output of a process that it does not read": """
        subprocess.run([sys.executable, "-S", "-c", f"print({CANARY!r})"])
    """,
}


def source_of(name: str, body: str) -> str:
    """Return the source of a test with this body."""
    # In a test with capsys, only that test would see the output.
    parameter = "capsys" if "capsys" in body else ""
    return f"def {name}({parameter}):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n\n"


def run_pytest(folder: Path, *tests: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run pytest on tests with these bodies, after one without output. Return the result."""
    (folder / "conftest.py").write_text(CONFTEST)
    sources = [source_of("test_before", "logging.getLogger().debug('nothing')")]
    sources += [source_of(f"test_{number}", body) for number, body in enumerate(tests)]
    (folder / "test_it.py").write_text(PREAMBLE + "".join(sources))
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        # Importing third-party plugins takes longer than all the rest.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *options, str(folder)],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout


def named(output: str) -> set[str]:
    """Return the names of the tests that revealed a secret, as the run reports them."""
    _, _, section = output.partition("leaked secrets")
    return set(re.findall(r"test_it\.py::(\w+): ", section))


def test_tests_that_tell_a_secret_fail_the_run_and_are_named(tmp_path):
    status, output = run_pytest(tmp_path, *LEAKS.values())
    # All of them pass, so only the secrets can fail the run.
    assert f"{len(LEAKS) + 1} passed" in output
    assert status == 1
    assert named(output) == {f"test_{number}" for number in range(len(LEAKS))}, list(LEAKS)


def test_a_secret_in_a_failure_is_found(tmp_path):
    status, output = run_pytest(tmp_path, "assert CANARY == 'another'")
    assert (status, named(output)) == (1, {"test_0"})
    assert "1 failed, 1 passed" in output


def test_a_worker_hands_over_what_it_has_heard(tmp_path):
    # Only a worker sees its log records. The main process also gets the output of its tests.
    bodies = [LEAKS["a log line"], LEAKS["its output"]]
    status, output = run_pytest(tmp_path, *bodies, options=("-p", "xdist", "-n", "1"))
    assert "3 passed" in output
    assert (status, named(output)) == (1, {"test_0", "test_1"})


def test_a_run_that_is_silent_passes(tmp_path):
    status, output = run_pytest(tmp_path, "logging.getLogger().debug('nothing')")
    assert status == 0
    assert "secrets" not in output


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:", "user:pw"])
def test_base64_hides_nothing(before):
    for behind in ("", "1", "12", "123"):
        text = base64.b64encode(f"{before}{CANARY}{behind}".encode()).decode()
        assert tells(f"Basic {text}"), behind
        assert not tells(base64.b64encode(f"{before}CaNaRy{behind}".encode()).decode()), behind
