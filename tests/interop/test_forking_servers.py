"""Sessions in the workers of uWSGI, gunicorn and Celery, each in its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from children import needs_fork
from environments import INSTALLING
from pages import ROOT, read_blocks
from processes import Process
from servers import HERE, Server
from support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sse_client.testing import Exchange, SSEServer

pytestmark = [
    needs_fork,
    pytest.mark.ci,
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.timeout(INSTALLING + 120),
]

WORKERS = 2

PAGE = ROOT / "docs" / "howto" / "forks.md"
APP, GUNICORN, UWSGI, TASKS, STARTED_TASKS, MULTIPROCESSING = [
    block for block in read_blocks(PAGE) if block.language == "python"
]
COMMANDS = [
    block.code.replace("\\\n", " ").split()  # a line may continue on the next one
    for block in read_blocks(PAGE)
    if block.language == "sh"
]

#: What a worker sees of a session that its parent opened.
INHERITED = {
    "is the importer": False,
    "state": "CLOSED",
    "error": "SessionClosedError",
    "get": "SessionClosedError",
    "iteration": "SessionClosedError",
    "reconnect": "SessionClosedError",
    "acknowledge": "SessionClosedError",
    "close": None,
    "own": "one",
}


class Upstream:
    """Sends one event to each stream, and counts the open streams."""

    def __init__(self, server: SSEServer) -> None:
        self.url = server.url
        self.streams: list[Exchange] = []
        self.opened = threading.Semaphore(0)
        server.handler = self._handle

    def _handle(self, exchange: Exchange) -> None:
        self.streams.append(exchange)
        exchange.send("one")
        self.opened.release()
        exchange.stall()


@pytest.fixture
def upstream(server: SSEServer) -> Upstream:
    return Upstream(server)


class Forking(Server):
    """A server that forks workers, and runs the application in its folder."""

    def __init__(self, folder: Path, words: list[str], variables: dict[str, str]) -> None:
        super().__init__(folder)
        self._words = words
        self._variables = variables

    def command(self) -> list[str]:
        paths = f"PYTHONPATH={ROOT}{os.pathsep}{self.folder}"
        variables = [f"{name}={value}" for name, value in self._variables.items()]
        words = [word.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}") for word in self._words]
        inside = ["sh", "-c", 'cd "$0" && exec env "$@"', str(self.folder)]
        return [*inside, paths, *variables, *words]

    def output(self) -> str:
        return (self.folder / "output.log").read_text("utf-8")

    def ask(self) -> str:
        return requests.get(self.url, timeout=PATIENCE).text


def uwsgi(*options: str) -> tuple[str, list[str]]:
    _, page, _ = COMMANDS
    # A worker that is just starting may miss the signal to stop. It is killed two seconds later.
    tested = ["--die-on-term", "--need-app", "--worker-reload-mercy", "2", "--reload-mercy", "2"]
    return "uWSGI", [*page, *tested, *options]


def gunicorn(*options: str) -> tuple[str, list[str]]:
    page, _, _ = COMMANDS
    return "gunicorn and Celery", [*page, "--bind", "127.0.0.1:8000", *options]


def without(option: str, words: tuple[str, list[str]]) -> tuple[str, list[str]]:
    assert option in words[1]
    return words[0], [word for word in words[1] if word != option]


@pytest.fixture
def run(
    python_of: Callable[[str], Path], tmp_path: Path, upstream: Upstream
) -> Iterator[Callable[..., Forking]]:
    """Start a server once the files are in its folder, and stop it at the end of the block."""
    running: list[Forking] = []

    def start(server: tuple[str, list[str]], **files: str) -> Forking:
        environment, (program, *words) = server
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        program = str(python_of(environment).parent / program)
        variables = {"STREAM": upstream.url, "HELPERS": str(HERE.parent)}
        forking = Forking(tmp_path, [program, *words], variables)
        running.append(forking)
        forking.start()
        return forking

    yield start
    for each in running:
        each.__exit__(None, None, None)


FORK_HOOKS = "--py-call-uwsgi-fork-hooks"

#: Servers that import the application before they fork.
PARENTS = {
    "uWSGI": without(FORK_HOOKS, without("--enable-threads", uwsgi())),
    "uWSGI --enable-threads": without(FORK_HOOKS, uwsgi()),
    "uWSGI with fork hooks": uwsgi(),
    "gunicorn --preload": gunicorn("--preload"),
    "gunicorn --preload -k gthread": gunicorn("--preload", "-k", "gthread", "--threads", "2"),
}


@pytest.mark.parametrize("started", PARENTS.values(), ids=PARENTS)
def test_a_worker_leaves_the_stream_of_its_parent_alone(started, run, upstream):
    running = run(started, app=(HERE / "inherited_app.py").read_text("utf-8"))
    assert json.loads(running.ask()) == INHERITED
    (inherited, _) = upstream.streams
    assert not inherited.wait_closed(0)
    inherited.send("two")
    running.stop()
    assert inherited.wait_closed(PATIENCE)  # with the parent
    assert "Traceback" not in running.output()


#: With the code of the page, including the code that starts a stream before the first request.
EAGER = {
    "uWSGI": (uwsgi(), {"app": APP.code + UWSGI.code}),
    "uWSGI --lazy-apps": (uwsgi("--lazy-apps"), {"app": APP.code + "\nlatest_data()\n"}),
    "gunicorn": (gunicorn(), {"app": APP.code, "gunicorn.conf": GUNICORN.code}),
    "gunicorn --preload": (
        gunicorn("--preload"),
        {"app": APP.code, "gunicorn.conf": GUNICORN.code},
    ),
}


@pytest.mark.parametrize(("started", "files"), EAGER.values(), ids=EAGER)
def test_each_worker_follows_a_stream_before_the_first_request(started, files, run, upstream):
    url = upstream.url.rstrip("/")
    running = run(started, **{name: at(url, text) for name, text in files.items()})
    for _ in range(WORKERS):
        assert upstream.opened.acquire(timeout=PATIENCE)
    await_latest(running)
    assert len(upstream.streams) == WORKERS


#: With the code of the page, and nothing else.
LAZY = {
    "uWSGI without options": without(FORK_HOOKS, without("--enable-threads", uwsgi())),
    "uWSGI --lazy-apps": without(FORK_HOOKS, uwsgi("--lazy-apps")),
    "gunicorn": gunicorn(),
    "gunicorn --preload -k gthread": gunicorn("--preload", "-k", "gthread", "--threads", "2"),
}


@pytest.mark.parametrize("started", LAZY.values(), ids=LAZY)
def test_a_worker_follows_a_stream_from_its_first_request_on(started, run, upstream):
    running = run(started, app=at(upstream.url, APP.code))
    assert not upstream.streams
    running.ask()
    assert upstream.opened.acquire(timeout=PATIENCE)
    await_latest(running)


def at(url: str, code: str) -> str:
    return code.replace("http://127.0.0.1:8080", url.rstrip("/"))


def await_latest(server: Forking) -> None:
    """Request it until a worker has an event, because a request may be faster than the stream."""
    deadline = time.monotonic() + PATIENCE
    while server.ask() != "one":
        assert time.monotonic() < deadline, server.output()


#: The options of a Celery worker that does not look for other workers.
ALONE = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]

#: Makes a Celery application keep its tasks and their results in files.
CONFIGURED = """
from {module} import celery

celery.conf.update(
    broker_url="filesystem://",
    broker_transport_options={{
        "data_folder_in": "broker",
        "data_folder_out": "broker",
        "control_folder": "control",
        "polling_interval": 0.01,
    }},
    result_backend="file://{folder}/results",
)
"""


@pytest.fixture
def celery(
    python_of: Callable[[str], Path], tmp_path: Path, upstream: Upstream
) -> Iterator[Callable[..., Callable[[str], str]]]:
    """Start a Celery worker. Yield a function that gives it a task and returns the result."""
    workers: list[Process] = []
    python = python_of("gunicorn and Celery")
    paths = f"{ROOT}{os.pathsep}{tmp_path}"
    variables = {"STREAM": upstream.url, "HELPERS": str(HERE.parent), "PYTHONPATH": paths}
    options: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, **variables}}

    def start(module: str, code: str) -> Callable[[str], str]:
        for name in ("broker", "control", "results"):
            (tmp_path / name).mkdir()
        (tmp_path / f"{module}.py").write_text(code)
        (tmp_path / "configured.py").write_text(CONFIGURED.format(module=module, folder=tmp_path))
        _, _, page = COMMANDS
        words = [python.parent / page[0], *page[1:], *ALONE]
        words[words.index("tasks")] = "configured"
        with (tmp_path / "output.log").open("w") as output:
            workers.append(Process(words, stdout=output, stderr=output, **options))
        return result_of

    def result_of(task: str) -> str:
        code = f"print(configured.celery.send_task({task!r}).get({PATIENCE}))"
        words = [python, "-c", f"import configured; {code}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stderr + (tmp_path / "output.log").read_text("utf-8")
        return done.stdout.strip()

    yield start
    for worker in workers:
        worker.terminate()
        worker.wait(PATIENCE)
    assert "Traceback" not in (tmp_path / "output.log").read_text("utf-8")


def test_a_task_leaves_the_stream_of_the_parent_alone(celery, upstream):
    result_of = celery("inherited_app", (HERE / "inherited_app.py").read_text("utf-8"))
    assert json.loads(result_of("look")) == INHERITED
    # A command that gives a task also imports the application, and has ended.
    assert [each.wait_closed(0) for each in upstream.streams].count(False) == 1


def test_a_task_opens_a_stream_for_itself(celery, upstream):
    result_of = celery("tasks", at(upstream.url, TASKS.code))
    assert result_of("tasks.first_event") == "one"


def test_each_worker_process_of_celery_follows_a_stream(celery, upstream, tmp_path):
    (tmp_path / "app.py").write_text(at(upstream.url, APP.code))
    celery("tasks", TASKS.code + STARTED_TASKS.code)
    for _ in range(WORKERS):
        assert upstream.opened.acquire(timeout=PATIENCE)


def test_the_child_of_multiprocessing_hands_over_an_event(upstream, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(at(upstream.url, MULTIPROCESSING.code))
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n", "")
