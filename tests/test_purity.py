"""Who imports whom: the inner modules do no I/O and start no threads, and imports point upwards."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sse_client

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(sse_client.__file__).parent

#: The modules that are pure, or know files, but no network and no threads.
INNER = [
    *("events", "errors", "interpreter", "lines", "runs", "parser", "diagnostics"),
    *("reconnection", "progress", "cursor", "sqlite_cursor", "expiry"),
    *("plain_json", "deserialization"),
]

#: What none of them may bring along.
OUTER = {"socket", "threading", "requests", "urllib3", "queue", "logging", "ssl"}

#: What stands for the package itself, that is for the public names.
PUBLIC = ""

#: What the modules that need little of ours may import. One of ``testing`` counts as ``testing``.
ALLOWED: dict[str, set[str]] = {
    "version": set(),
    "clock": set(),
    "events": set(),
    "errors": set(),
    "interpreter": {"events"},
    "lines": set(),
    "runs": {"events", "lines"},
    "parser": {"events", "errors", "interpreter", "lines", "runs"},
    "diagnostics": {"events"},
    "reconnection": {"errors"},
    "expiry": {"errors"},
    "process": set(),
    "filelock": {"errors"},
    "cursor": {"errors", "filelock"},
    "sqlite_cursor": {"cursor"},
    "progress": {"events"},
    "positions": {"progress", "errors"},
    "bounds": {"events", "errors"},
    "plain_json": set(),
    "deserialization": {"events", "errors", "plain_json"},
    "checks": {"cursor", "deserialization"},
    "typed_channel": {"channel"},
    "waiting": set(),
    "channel": {"events", "errors", "bounds", "clock", "waiting"},
    "delivery": set(),
    "foreign": set(),
    "wire": {"clock"},
    "http_session": set(),
    "headers": {"foreign"},
    "connections": {"errors", "clock", "foreign", "wire"},
    "body": {"foreign", "wire"},
    "redirects": set(),
    "causes": {"errors"},
    "answers": {"errors", "body", "causes", "clock", "foreign", "headers", "wire"},
    "aborting": set(),
    "transport": {
        *("errors", "aborting", "connections", "answers", "body", "causes", "clock", "foreign"),
        *("headers", "redirects", "wire"),
    },
    "plugins": {"errors"},
    "auth": {"plugins", "errors", "causes"},
    "defaults": {"plugins"},
    "request": {"errors", "plugins"},
    "sending": {"errors", "redirects", "transport"},
    "relay": {PUBLIC, "relay", "channel", "errors", "events", "sse", "cli"},
    "cli": {PUBLIC, "cli", "filelock", "testing"},
    "__main__": {PUBLIC, "cli"},
    "testing": {PUBLIC, "events", "testing", "clock"},
}

#: The others in their order: each may import those above it and those of the first table.
ORDER = ["stream", "reader", "session", "merging", "sse", "client"]

# The package's own __init__ imports everything, so a bare package stands in for it.
CHILD = """
import importlib, sys, types

package = types.ModuleType("sse_client")
package.__path__ = [sys.argv[1]]
sys.modules["sse_client"] = package
importlib.import_module("sse_client." + sys.argv[2])
print(*sys.modules)
"""


def modules_imported_by(module: str) -> set[str]:
    """Return all modules of a fresh interpreter that has imported one of ours."""
    # Without site (-S), since what is installed may import things of its own at the start.
    child = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CHILD, str(PACKAGE), module],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return set(child.stdout.split())


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_at_runtime(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports, in functions too, but those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.orelse:
                yield from imports_at_runtime(ast.Module([statement], []))
        else:
            yield from imports_at_runtime(node)


def ours_imported_by(source: str) -> set[str]:
    """Return the modules of ours that a source imports, PUBLIC for the package itself."""
    found = set()
    for node in imports_at_runtime(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.level:
            names = ["sse_client.(relative)"]
        elif node.module == "sse_client":
            files = {path.stem for path in PACKAGE.iterdir()}
            names = [
                f"sse_client.{alias.name}" if alias.name in files else "sse_client"
                for alias in node.names
            ]
        else:
            names = [node.module or ""]
        found |= {f"{name}.".split(".")[1] for name in names if name.split(".")[0] == "sse_client"}
    return found


def allowed_for(module: str) -> set[str]:
    """Return what a module may import of ours."""
    if module in ALLOWED:
        return ALLOWED[module]
    assert module in ORDER, "a new module needs a place in the tables"
    above = ORDER[: ORDER.index(module)]
    return {*above, *ALLOWED} - {"auth", "defaults", "cli", "relay", "__main__", "testing"}


class TestInnerModules:
    @pytest.mark.parametrize("module", INNER)
    def test_bring_no_socket_thread_or_request_along(self, module: str) -> None:
        if not (PACKAGE / f"{module}.py").exists():
            pytest.skip("not there")
        imported = modules_imported_by(module)
        assert f"sse_client.{module}" in imported
        assert imported & OUTER == set()

    def test_would_be_found_out(self) -> None:
        assert {"queue", "threading"} <= modules_imported_by("channel")


class TestImports:
    @pytest.mark.parametrize(
        "path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix()
    )
    def test_point_upwards_only(self, path: Path) -> None:
        assert ours_imported_by(path.read_text("utf-8")) <= allowed_for(module_of(path))

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("import os, sse_client", {PUBLIC}),
            ("import sse_client.parser", {"parser"}),
            ("from sse_client import SSE", {PUBLIC}),
            ("from sse_client import __version__", {PUBLIC}),
            ("from sse_client import parser, SSE", {"parser", PUBLIC}),
            ("from sse_client.testing.server import SSEServer", {"testing"}),
            ("from . import parser", {"(relative)"}),
            ("def f():\n    import sse_client.parser", {"parser"}),
            ("if TYPE_CHECKING:\n    import sse_client.parser\nelse:\n    import os", set()),
            ("if TYPE_CHECKING:\n    import os\nelse:\n    import sse_client.parser", {"parser"}),
            ("if typing.TYPE_CHECKING:\n    import sse_client.parser", set()),
            ("if True:\n    import sse_client.parser", {"parser"}),
            ("from sse_client_other import x", set()),
            ("import requests", set()),
        ],
    )
    def test_are_found(self, source: str, expected: set[str]) -> None:
        assert ours_imported_by(source) == expected
