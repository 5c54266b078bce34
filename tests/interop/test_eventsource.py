"""npm's EventSource and a browser follow a served recording while its server is killed."""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from command_line import started
from commands import MISSING, find_command, needs
from processes import Process
from servers import NODE, NPM, PATIENCE

from sse_client import ServerSentEvent
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sse_client.testing import Exchange

pytestmark = [pytest.mark.interop, pytest.mark.ci]

EVENTSOURCE = NPM / "eventsource"
CHROMIUM = find_command("chromium")

#: The number of events, the number after which the server is killed, and the rate.
TOTAL = 60
FIRST_LIFE = 10
RATE = "100"

SCRIPT = """
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
source.onmessage = (event) => console.log(event.data);
source.onerror = () => {
  if (source.readyState === EventSource.CLOSED) console.log("closed");
};
"""

PAGE = """<!doctype html><script>
let last = Promise.resolve();
const send = (text) => {
  last = last.then(() => fetch("/received", { method: "POST", body: text }));
};
const source = new EventSource("URL");
source.onmessage = (event) => send(event.data);
source.onerror = () => {
  if (source.readyState === EventSource.CLOSED) send("closed");
};
</script>"""


@contextlib.contextmanager
def ended(process: Process) -> Iterator[Process]:
    """Kill a process at the end of the block."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def npm_client(url: str) -> Iterator[queue.Queue[str]]:
    """Follow the URL with npm's eventsource, and yield the received events."""
    received: queue.Queue[str] = queue.Queue()
    command = [NODE, "--input-type=module", "-", url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    def read(lines: Iterator[str]) -> None:
        for line in lines:
            received.put(line.strip())

    with ended(Process(command, cwd=NPM.parent, text=True, **pipes)) as process:
        process.stdin.write(SCRIPT)
        process.stdin.close()
        reading = threading.Thread(target=read, args=[process.stdout])
        reading.start()
        try:
            yield received
        finally:
            process.kill()
            reading.join()


@contextlib.contextmanager
def browser(url: str, profile: Path) -> Iterator[queue.Queue[str]]:
    """Follow the URL from a page of another origin, and yield the received events."""
    received: queue.Queue[str] = queue.Queue()

    def respond(exchange: Exchange) -> None:
        if exchange.request.path == "/received":
            received.put(exchange.request.body.decode())
            exchange.respond(204)
        else:
            page = PAGE.replace("URL", url)
            exchange.respond(200, {"Content-Type": "text/html; charset=utf-8"}, page)

    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with SSEServer(respond) as pages:
        command = [CHROMIUM, *options, f"--user-data-dir={profile}", pages.url]
        with ended(Process(command, **silent)):
            yield received


@contextlib.contextmanager
def served(recording: Path, port: int) -> Iterator[None]:
    """Serve the recording in a process that is killed at the end of the block."""
    words = ["--replay", str(recording), "--rate", RATE, "--port", str(port), "--cors", "*"]
    with started("serve", *words) as process:
        assert process.stdout.readline()
        yield


def received_over_a_kill(
    folder: Path, follow: Callable[[str], AbstractContextManager[queue.Queue[str]]]
) -> list[str]:
    """Serve a recording, kill the server, and serve it again. Return all received events."""
    recording = folder / "recording.txt"
    events = [ServerSentEvent(str(n), id=str(n), retry=100) for n in range(1, TOTAL + 1)]
    recording.write_text("".join(map(str, events)))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    seen: list[str] = []
    with contextlib.ExitStack() as stack:
        with served(recording, port):
            received = stack.enter_context(follow(f"http://127.0.0.1:{port}/"))
            while len(seen) < FIRST_LIFE:
                seen.append(received.get(timeout=PATIENCE))
        with served(recording, port):
            while "closed" not in seen:
                seen.append(received.get(timeout=PATIENCE))
    return seen


EXPECTED = [*map(str, range(1, TOTAL + 1)), "closed"]


@pytest.mark.skipif(NODE is None or not EVENTSOURCE.exists(), reason=MISSING["eventsource"])
def test_npms_eventsource_follows_a_recording_over_a_kill(tmp_path):
    assert received_over_a_kill(tmp_path, npm_client) == EXPECTED


@needs("chromium")
def test_a_browser_follows_a_recording_over_a_kill(tmp_path):
    seen = received_over_a_kill(tmp_path, lambda url: browser(url, tmp_path / "profile"))
    assert seen == EXPECTED
