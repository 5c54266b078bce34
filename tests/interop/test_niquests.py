"""niquests in its own environment, because its urllib3 replaces the usual one."""

from __future__ import annotations

import os
import socket
import subprocess
import venv
from typing import TYPE_CHECKING

import pytest
from servers import HERE

if TYPE_CHECKING:
    from pathlib import Path

ROOT = HERE.parent.parent

#: How long installing, and running the cases, may take on a busy machine, in seconds.
PATIENCE = 300

pytestmark = [
    pytest.mark.ci,
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.timeout(2 * PATIENCE),
]

#: How urllib3-future is installed: in place of urllib3, as by default, or beside it.
WAYS = {
    "in place of urllib3": ([], {}),
    "beside urllib3": (["--no-binary", "urllib3-future"], {"URLLIB3_NO_OVERRIDE": "1"}),
}

#: Variables that name other certificates than a test does, or that change pytest.
OVERRIDING = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYTEST_ADDOPTS", "PYTEST_PLUGINS"}


@pytest.fixture(params=WAYS)
def python(request, tmp_path) -> Path:
    options, environment = WAYS[request.param]
    venv.create(tmp_path / "venv", with_pip=True)
    found = tmp_path / "venv" / "bin" / "python"
    packages = ["requests", "urllib3>=2.6", "niquests", "pytest"]
    run([found, "-m", "pip", "-q", "install", *options, *packages], **environment)
    return found


def run(words, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in OVERRIDING}
    done = subprocess.run(
        list(map(str, words)),
        cwd=HERE,
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_all_cases_pass_over_both_versions_of_http(python, nginx_and_uvicorn, certificate):
    warnings = ["ResourceWarning", "pytest.PytestUnraisableExceptionWarning"]
    strict = [word for kind in warnings for word in ("-W", f"error::{kind}")]
    options = ["-q", "--noconftest", "-c", os.devnull, "--rootdir", HERE, "-p", "no:cacheprovider"]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        told = run(
            [python, "-m", "pytest", *strict, *options, "niquests_cases.py"],
            PYTHONPATH=str(ROOT),
            CASES_BUNDLE=str(certificate.ca_bundle),
            CASES_HTTP_1=nginx_and_uvicorn.url,
            CASES_HTTP_2=nginx_and_uvicorn.tls_url,
            CASES_CLOSED_PORT=str(closed.getsockname()[1]),
        )
    assert " passed" in told
    assert "skipped" not in told
