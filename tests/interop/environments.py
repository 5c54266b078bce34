"""Separate environments, for libraries and servers that cannot be in the main one."""

from __future__ import annotations

import subprocess
import venv
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: How long creating one may take on a busy machine, in seconds.
INSTALLING = 300

#: Packages besides requests and urllib3. From 25.4 on gevent replaces ``queue.Queue``.
ENVIRONMENTS = {
    "gevent": ["gevent", "gunicorn[gevent]"],
    "gevent of 2024": ["gevent>=24,<25"],
    "eventlet": ["eventlet"],
    "gunicorn and Celery": ["gunicorn", "celery"],
    "uWSGI": ["pyuwsgi"],
    "pandas": ["pandas"],
    "sseclient": ["sseclient"],
}

#: Packages that are compiled for minutes if there is no wheel for this Python.
COMPILED = "gevent,greenlet,numpy,pandas,pyuwsgi"


class Environments:
    """The environments. Each is created when it is first needed."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._made: dict[str, Path | str] = {}

    def python_of(self, environment: str) -> Path:
        """Return the Python of an environment. Skip the test if it cannot be created."""
        if environment not in self._made:
            self._made[environment] = self._make(environment)
        found = self._made[environment]
        if isinstance(found, str):
            pytest.skip(f"cannot install {environment}: {found}")
        return found

    def _make(self, environment: str) -> Path | str:
        folder = self._folders.mktemp(environment.replace(" ", "-"))
        venv.create(folder, with_pip=True)
        python = folder / "bin" / "python"
        words = [str(python), "-m", "pip", "-q", "install", "requests", "urllib3>=2.6"]
        words += ["--only-binary", COMPILED, *ENVIRONMENTS[environment]]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=INSTALLING, check=False
        )
        return python if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
