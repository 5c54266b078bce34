"""The published files: built, installed outside the source tree, and used there."""

from __future__ import annotations

import configparser
import email
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from sse_client import ServerSentEvent, __version__

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")

#: The extras, and the modules that each of them installs.
EXTRAS = {
    "pydantic": "pydantic",
    "msgspec": "msgspec",
    "redis": "redis",
    "nats": "nats",
    "metrics": "prometheus_client",
    "otel": "opentelemetry.trace",
    "cli": "rich",
    "socks": "socks",
}

#: How long building and installing may take on a busy machine with a slow network, in seconds.
PATIENCE = 300

FOLLOWER = """
import sys
from sse_client import HttpClient, SSE

with HttpClient().install(SSE) as client, client.sse(sys.argv[1]) as session:
    for event in session.incoming:
        print(event.id, event.event, event.data)
"""


def run(*words: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def sdist(built) -> set[str]:
    """The names of the files of the sdist."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    return {name.partition("/")[2] for name in names}


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of a new environment in which the wheel is installed with all its extras."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "-q", "install", f"{wheel}[{','.join(EXTRAS)}]", cwd=folder)
    return python


# The first test of a kind also builds.
pytestmark = [pytest.mark.timeout(2 * PATIENCE)]


@pytest.mark.ci
@pytest.mark.slow
def test_the_sdist_holds_all_that_a_clone_does(sdist):
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a clone, so there is nothing to compare the sdist with")
    tracked = run("git", "ls-files", cwd=ROOT).split()
    assert tracked
    assert [name for name in tracked if name not in sdist] == []


@pytest.mark.ci
@pytest.mark.slow
def test_the_sdist_holds_nothing_that_was_only_lying_around(sdist):
    assert [
        name for name in sdist if "__pycache__" in name or name.endswith((".pyc", ".log"))
    ] == []


@pytest.mark.ci
@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = ROOT / "sse_client"
    modules = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py")}
    manual = f"sse_client-{__version__}.data/data/share/man/man1/sse-client.1"
    assert names == modules | {"sse_client/py.typed", "pytest_sse_client.py", manual}


@pytest.mark.ci
@pytest.mark.slow
def test_the_wheel_says_what_setup_cfg_says(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if PurePosixPath(name).name == "METADATA")
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Name"] == "sse-client"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("Provides-Extra") == list(SETUP["options.extras_require"])
    needed = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert sorted(needed) == sorted(SETUP["options"]["install_requires"].split())


@pytest.mark.ci
@pytest.mark.slow
def test_the_installed_package_is_not_the_source_tree(installed, tmp_path):
    where = run(installed, "-c", "import sse_client; print(sse_client.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent.parent)


@pytest.mark.ci
@pytest.mark.slow
def test_the_installed_package_follows_a_stream(installed, tmp_path, server):
    server.serve([ServerSentEvent("one", id="1", retry=1)], then="drop")
    server.serve([ServerSentEvent("two", event="news", id="2")], then="end")
    server.respond(204)
    told = run(installed, "-W", "error", "-c", FOLLOWER, server.url, cwd=tmp_path)
    assert told == "1 message one\n2 news two\n"


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("command", [("python", "-m", "sse_client"), ("sse-client",)])
def test_the_installed_commands_tell_the_version(installed, tmp_path, command):
    program, *arguments = command
    told = run(installed.parent / program, *arguments, "--version", cwd=tmp_path)
    assert __version__ in told


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("module", EXTRAS.values())
def test_an_extra_brings_what_it_is_for(installed, tmp_path, module):
    run(installed, "-c", f"import {module}", cwd=tmp_path)


def test_the_project_has_the_address_of_the_specification():
    lines = SETUP["metadata"]["project_urls"].split("\n")
    assert "Specification = https://html.spec.whatwg.org/multipage/server-sent-events.html" in lines


def test_each_extra_is_for_users():
    assert set(SETUP["options.extras_require"]) == set(EXTRAS)


def test_the_makefile_installs_each_list_of_requirements():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lists = {path.name: path.read_text(encoding="utf-8") for path in REQUIREMENTS.glob("*.txt")}
    included = set(re.findall(r"^--requirement (.*)$", "\n".join(lists.values()), re.MULTILINE))
    assert lists.keys() == included | set(re.findall(r"[a-z]+\.txt", makefile))


def test_the_tests_have_each_extra_of_the_relay_the_command_and_telemetry():
    (names,) = re.findall(
        r"^--editable \.\[(.*)\]$", (REQUIREMENTS / "test.txt").read_text("utf-8"), re.MULTILINE
    )
    # Only SOCKS proxies are tested without the package that they need.
    assert set(names.split(",")) == set(EXTRAS) - {"socks"}


def test_the_changelog_has_a_section_for_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.*)\](?: - \d{4}-\d{2}-\d{2})?$", changelog, re.MULTILINE)
    assert sections[:2] == ["Unreleased", __version__]


def test_the_classifiers_name_each_python_that_ci_tests():
    versions = re.search(
        r"^versions=\((.*?)\)", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE
    )
    assert versions
    classifiers = SETUP["metadata"]["classifiers"].splitlines()
    named = [name.rpartition(" ")[2] for name in classifiers if re.search(r":: 3\.\d+$", name)]
    assert named == versions[1].split()
    assert SETUP["options"]["python_requires"] == f">={named[0]}"
    assert SETUP["mypy"]["python_version"] == named[0]


def test_the_workflow_tests_each_of_them_on_each_system():
    workflow = (ROOT / ".github/workflows/tests.yml").read_text("utf-8")
    pythons, systems = (
        re.findall(r"[\w.-]+", re.search(rf"^ +{key}: \[(.*)\]$", workflow, re.MULTILINE)[1])
        for key in ("python", "os")
    )
    ci = re.search(r"^versions=\((.*?)\)", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert pythons == [*ci[1].split(), f"{ci[1].split()[-1]}t"]
    assert [name.partition("-")[0] for name in systems] == ["ubuntu", "macos", "windows"]


def test_the_oldest_versions_that_are_tested_are_the_oldest_allowed():
    lines = (ROOT / "tests/constraints-oldest.txt").read_text("utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    allowed = dict(line.split(">=") for line in SETUP["options"]["install_requires"].split())
    assert tested.keys() == allowed.keys()
    for name, version in allowed.items():
        assert tested[name].removesuffix(".0") == version.removesuffix(".0")
