"""The code blocks of the documentation that need servers of others."""

from __future__ import annotations

import sys

import pytest
from pages import ROOT, read_blocks
from servers import Server

pytestmark = pytest.mark.interop

HOWTO = ROOT / "docs/howto"

SERVERS = {
    "FastAPI": "import uvicorn; uvicorn.run({module}.app, port={port}, log_level='error')",
    "Flask": "{module}.app.run(port={port})",
    "Django": "import werkzeug; werkzeug.run_simple('127.0.0.1', {port}, {module}.app, threaded=1)",
}


class Documented(Server):
    """What a page shows, under the server that its framework brings."""

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
    assert headings == ["Servers to talk to", *SERVERS]


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
