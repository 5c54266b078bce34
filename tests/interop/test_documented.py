"""The code blocks of the documentation that need third-party servers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from environments import INSTALLING
from pages import ROOT, read_blocks
from servers import Server

from sse_client import ServerSentEvent

pytestmark = pytest.mark.interop

HOWTO = ROOT / "docs/howto"

UVICORN = "import uvicorn; uvicorn.run({module}.app, port={port}, log_level='error')"
SERVERS = {
    "FastAPI": UVICORN,
    "Starlette": UVICORN,
    "Flask": "{module}.app.run(port={port})",
    "Django": "import werkzeug; werkzeug.run_simple('127.0.0.1', {port}, {module}.app, threaded=1)",
}


class Documented(Server):
    """The application of a page, under the server of its framework."""

    def __init__(self, folder, module, code):
        super().__init__(folder)
        self._code = f"import sys; sys.path[:0] = [{str(folder)!r}]; import {module}; {code}"
        self._module = module

    def command(self):
        return [sys.executable, "-c", self._code.format(module=self._module, port=self.port)]


def python_blocks(page):
    return [block for block in read_blocks(HOWTO / page) if block.language == "python"]


def test_each_documented_server_has_a_test():
    headings = [block.heading for block in python_blocks("servers.md")]
    assert headings == ["Example servers", *SERVERS]


@pytest.mark.parametrize("framework", SERVERS)
def test_a_documented_server_is_followed_to_its_end(framework, tmp_path, capsys):
    client, *blocks = python_blocks("servers.md")
    (block,) = (block for block in blocks if block.heading == framework)
    module = f"{framework.lower()}_server"
    (tmp_path / f"{module}.py").write_text(block.code)
    code = SERVERS[framework].replace("{module}", module)
    with Documented(tmp_path, module, code) as server:
        client.run(server.url)["client"].close()
    assert capsys.readouterr().out == "1 event 1\n2 event 2\n3 event 3\n"


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.timeout(INSTALLING + 60)
def test_a_batch_becomes_a_table_of_pandas(python_of, server):
    _, block = python_blocks("batches.md")
    event = ServerSentEvent('{"symbol": "ABC", "price": 12.5}', id="7")
    server.serve([event], then="end")
    server.respond(204)
    done = subprocess.run(
        [python_of("pandas"), "-W", "error", "-c", block.code_for(server.url)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "id symbol  price\n 7    ABC   12.5\n", done.stderr


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.timeout(INSTALLING + 60)
def test_the_program_of_sseclient_is_as_its_users_have_it(python_of, server):
    blocks = [
        block for block in read_blocks(ROOT / "docs/migration.md") if block.language == "python"
    ]
    (block,) = (block for block in blocks if "from sseclient import" in block.code)
    server.serve(
        [ServerSentEvent("one", id="1", retry=10), ServerSentEvent("two", id="2")], then="drop"
    )
    server.respond(503)
    done = subprocess.run(
        [python_of("sseclient"), "-c", block.code_for(server.url)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # It prints the loss of the connection, too.
    assert done.stdout.split() == ["message", "1", "one", "message", "2", "two"]
    assert "503" in done.stderr
    assert [request.last_event_id for request in server.requests] == [None, "2"]
