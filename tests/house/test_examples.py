"""The examples run unchanged, with and without an address."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import Process

from sse_client import ServerSentEvent

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# How long a process may take to end, in seconds. Anything longer is a hang.
PATIENCE = 30


class Done(NamedTuple):
    """The output of an example, and its status."""

    stdout: str
    stderr: str
    returncode: int


def run(name: str) -> Done:
    """Run an example without an address, in its own process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    return Done(done.stdout, done.stderr, done.returncode)


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run an example with an address, in this process."""

    def run_here(name: str, *words: str) -> Done:
        monkeypatch.setattr(sys, "argv", [name, *words])
        status = 0
        try:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        except SystemExit as exit_:
            # The examples exit with a text, which the interpreter prints.
            status = 1
            print(exit_.code, file=sys.stderr)
        return Done(*capsys.readouterr(), status)

    return run_here


def test_every_example_is_tested_here():
    tested = Path(__file__).read_text(encoding="utf-8")
    names = [path.name for path in EXAMPLES.glob("*.py")]
    assert names
    assert [name for name in names if f'"{name}"' not in tested] == []


def test_the_quickstart_runs_by_itself():
    done = run("quickstart.py")
    assert done.stderr == ""
    assert done.stdout == "1 message one\n2 message two\n3 news three\n"
    assert done.returncode == 0


def test_the_quickstart_follows_an_address(server, follow):
    server.serve([ServerSentEvent("one", id="1", retry=1)], then="reset")
    server.respond(204)
    done = follow("quickstart.py", server.url)
    assert done.stderr == ""
    assert (done.stdout, done.returncode) == ("1 message one\n", 0)


def test_the_chat_runs_by_itself():
    done = run("llm_chat.py")
    assert done.stderr == ""
    assert (done.stdout, done.returncode) == ("You said: Hello, stream! \n", 0)


def test_the_chat_prints_the_response_to_its_question(server, follow, monkeypatch):
    monkeypatch.setenv("API_KEY", "key")

    def token(delta: dict[str, str | None]) -> str:
        return json.dumps({"choices": [{"delta": delta}]})

    deltas = [{"role": "assistant", "content": None}, {"content": "Hel"}, {"content": "lo"}, {}]
    server.serve([*map(token, deltas), '{"choices": []}', "[DONE]"], then="stall")
    done = follow("llm_chat.py", server.url)
    assert done.stderr == ""
    assert (done.stdout, done.returncode) == ("Hello\n", 0)
    (request,) = server.requests
    assert request.method == "POST"
    assert request.headers["Authorization"] == "Bearer key"
    assert json.loads(request.body)["stream"] is True


@pytest.mark.parametrize("broken", [True, False], ids=["broken off", "refused"])
def test_the_chat_tells_that_the_response_is_not_whole(server, follow, broken):
    if broken:
        server.serve(['{"choices": [{"delta": {"content": "Hel"}}]}'], then="drop")
    else:
        server.respond(401)
    done = follow("llm_chat.py", server.url)
    assert done.returncode == 1
    assert done.stdout == ("Hel" if broken else "")
    assert done.stderr.startswith("\nthe response is incomplete: ")
    assert len(server.requests) == 1


def test_the_restart_runs_by_itself():
    done = run("resume.py")
    assert done.stderr == ""
    assert done.stdout == (
        "processed 1\nprocessed 2\ncrashed at event 3\n"
        "after a restart:\nprocessed 3\nprocessed 4\nprocessed 5\n"
    )
    assert done.returncode == 0


def test_the_restart_goes_on_behind_its_position(server, follow, tmp_path):
    path = str(tmp_path / "position.json")
    for number in ("1", "2"):
        server.serve([ServerSentEvent("x", id=number, retry=1)], then="end")
        server.respond(204)
        done = follow("resume.py", server.url, path)
        assert (done.stdout, done.stderr) == (f"processed {number}\n", "")
    asked_for = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert asked_for == [None, "1", "1", "2"]


def test_the_restart_tells_of_a_position_that_cannot_be_read(server, follow, tmp_path):
    path = tmp_path / "position.json"
    path.write_text("damaged")
    done = follow("resume.py", server.url, str(path))
    assert done.returncode == 1
    assert done.stderr == f"{path}: is damaged: it is not JSON in UTF-8\n"
    assert server.requests == []


def test_the_own_loop_runs_by_itself():
    done = run("own_loop.py")
    assert done.stderr == ""
    events = [line for line in done.stdout.splitlines() if not line.startswith("no event")]
    assert events == ["event: one", "event: two", "event: three", "the stream has ended"]
    assert done.returncode == 0


def test_the_own_loop_works_while_no_event_comes(server):
    with Process(
        [sys.executable, str(EXAMPLES / "own_loop.py"), server.url],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        exchange = server.accept(PATIENCE)
        exchange.send("one")
        lines = iter(process.stdout.readline, "")
        assert [next(lines), next(lines)] == ["event: one\n", "no event: OPEN\n"]
        exchange.send("two")
        exchange.end()
        rest = [line for line in lines if line != "no event: OPEN\n"]
        assert rest == ["event: two\n", "the stream has ended\n"]
    assert process.returncode == 0


def test_the_own_loop_tells_why_the_stream_was_lost(server, follow):
    server.serve([ServerSentEvent("one", retry=1)], then="drop")
    server.respond(404)
    done = follow("own_loop.py", server.url)
    assert done.returncode == 1
    assert "event: one\n" in done.stdout
    assert done.stderr == f"the stream is lost: {server.url} responded with 404 Not Found\n"


def test_the_typed_one_runs_by_itself():
    done = run("typed.py")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:2] == ["customer: Jet Brains", "product: 100 200"]
    assert lines[2].startswith("skipped: the data of an event 'product' cannot be decoded: ")
    assert lines[3:] == ["message: plain text"]
    assert done.returncode == 0


def test_the_typed_one_follows_an_address(server, follow):
    data = '{"id": 2, "prices": [7]}'
    server.serve([ServerSentEvent(data, event="product", retry=1)])
    server.respond(204)
    done = follow("typed.py", server.url)
    assert done.stderr == ""
    assert (done.stdout, done.returncode) == ("product: 7\n", 0)


def test_the_comments_run_by_themselves():
    done = run("comments.py")
    assert done.stderr == ""
    assert done.stdout == "comment: hello\nretry: 100 ms\ndata: one\ncomment: and goodbye\n"
    assert done.returncode == 0


def test_the_comments_follow_an_address(server, follow):
    server.serve([b"retry: 1\n\n", b":\n\n", b"data: x\n\n"])
    server.respond(204)
    done = follow("comments.py", server.url)
    assert done.stderr == ""
    assert (done.stdout, done.returncode) == ("retry: 1 ms\ncomment: \ndata: x\n", 0)


def test_the_merged_ones_run_by_themselves():
    done = run("merged.py")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert sorted(lines) == [
        "failed: StreamInterruptedError",
        *("one: 1", "one: 2", "three: 5", "three: 6", "two: 3", "two: 4"),
    ]
    assert lines.index("two: 4") < lines.index("failed: StreamInterruptedError")
    assert done.returncode == 0


def test_the_merged_ones_follow_addresses(server, follow):
    server.serve(["a"])
    server.serve(["b"])
    done = follow("merged.py", server.url_for("/x"), server.url_for("/y"))
    assert done.stderr == ""
    assert (sorted(done.stdout.splitlines()), done.returncode) == (["x: a", "y: b"], 0)


def test_the_tests_of_my_code_pass():
    path = EXAMPLES / "test_my_code.py"
    options = ["-q", "-c", os.devnull, "-p", "sse_client", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        # Importing third-party plugins takes longer than all the rest.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
