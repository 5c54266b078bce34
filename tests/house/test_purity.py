"""The folders, the imports that each may have, and the modules that must stay pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tables import each_of

import sse_client

PACKAGE = Path(sse_client.__file__).parent

#: Represents the package itself, that is its public names.
PUBLIC = ""

GROUND = {"errors", "clock", "process", "version"}
BELOW_CHANNEL = {"event_stream", "cursors", *GROUND}
BELOW_SESSION = {"typed", "channel", "http", *BELOW_CHANNEL}
BELOW_PLUGINS = {"session", *BELOW_SESSION}
BELOW_CLIENT = {"plugins", *BELOW_PLUGINS}

#: One row per folder, or per module at the top of the package: what it may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "__main__": {"cli"},
    "cli": {PUBLIC, "testing"},
    "relay": {PUBLIC, "testing"},
    "testing": {PUBLIC},
    "client": {"sending", *BELOW_CLIENT},
    "sending": BELOW_CLIENT,
    "plugins": BELOW_PLUGINS,
    "session": BELOW_SESSION,
    "typed": {"channel", "event_stream", "errors"},
    "channel": {"cursors", "event_stream", "errors", "clock"},
    "cursors": {"event_stream", "errors", "process"},
    "http": {"errors", "clock"},
    "event_stream": {"errors"},
    "errors": {"event_stream"},
    "process": {"clock"},
    "clock": set(),
    "version": set(),
}

#: Individual imports that their row does not allow, each with its reason.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "channel": {
        "process": "before a wait it has to notice a fork that Python did not see, or the child "
        "waits forever",
    },
    "testing": {
        "clock": "its clock and its connection in memory take part in the waits of a session, and "
        "what those are made of, the doorbell and the system's clock, has no public name",
    },
    "cli": {
        "cursors": "a recording is locked against a second writer as a position is, and the lock "
        "has no public name",
        "relay": "the relay's command is loaded once it is called, and shows the status and the "
        "metrics of a pool, which have no public names",
        "event_stream": "which events have only comments is decided in one place",
    },
    "relay": {
        "plugins": "RedisRelay's signature has the arguments of a stream, for type checkers alone: "
        "at run time there is no such class",
        "event_stream": "an entry becomes an event unchecked: one that somebody else has written "
        "may hold a carriage return, which the public class refuses",
    },
}

#: The modules that need no socket, thread or request: from bytes to events, and the policy.
PURE = ["event_stream.parser", "event_stream.buffer", "errors", "session.reconnection"]

#: The modules that none of these may load.
IMPURE = {"socket", "threading", "requests", "urllib3", "queue", "logging", "ssl"}

# The package's __init__ imports everything, so an empty package replaces it.
CHILD = """
import importlib, sys, types

package = types.ModuleType("sse_client")
package.__path__ = [sys.argv[1]]
sys.modules["sse_client"] = package
importlib.import_module("sse_client." + sys.argv[2])
print(*sys.modules)
"""


def modules_imported_by(module: str) -> set[str]:
    """Return all modules of a new interpreter that has imported one module of the package."""
    # Without site (-S), because installed packages may import modules at the start.
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


def folder_of(path: Path) -> str:
    """Return the folder of a source file, or its name if it is not in a folder."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def folders_imported_by(source: str) -> set[str]:
    """Return the folders of the package from which a source imports; PUBLIC is the package itself.

    Imports for type checkers and imports in functions also count.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = ["sse_client.(relative)"]
        elif isinstance(node, ast.ImportFrom) and node.module == "sse_client":
            files = {path.stem for path in PACKAGE.iterdir()}
            names = [
                f"sse_client.{alias.name}" if alias.name in files else "sse_client"
                for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        found |= {f"{name}.".split(".")[1] for name in names if name.split(".")[0] == "sse_client"}
    return found


def modules_imported_within(folder: Path) -> dict[str, set[str]]:
    """Return, for each module of a folder, the other modules of the folder that it imports."""
    prefix = f"sse_client.{folder.name}."
    graph = {}
    for path in sorted(folder.glob("*.py")):
        names = [
            f"{node.module}.{alias.name}"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        ]
        graph[path.stem] = {
            name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)
        }
    return graph


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a cycle, or an empty list."""
    left = dict(graph)
    while free := [module for module, imported in left.items() if not imported & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


class TestTheTable:
    def test_has_a_row_for_each_folder_and_each_module_outside_of_one(self) -> None:
        assert {folder_of(path) for path in sources()} == MAY_IMPORT.keys()

    def test_has_its_folders_in_an_order_in_which_imports_point_down(self) -> None:
        order = list(MAY_IMPORT)
        for folder, allowed in MAY_IMPORT.items():
            above = set(order[: order.index(folder)])
            # The type of an event is the only name that errors.py imports from a higher level.
            assert folder == "errors" or not allowed & above, folder

    @pytest.mark.parametrize("folder", MAY_IMPORT)
    def test_holds(self, folder: str) -> None:
        allowed = {folder, *MAY_IMPORT[folder], *EXCEPTIONS.get(folder, ())}
        for path in sources():
            if folder_of(path) == folder:
                found = folders_imported_by(path.read_text("utf-8"))
                assert found <= allowed, f"{path.relative_to(PACKAGE)} imports {found - allowed}"

    @pytest.mark.parametrize("folder", EXCEPTIONS)
    def test_makes_no_exception_without_need(self, folder: str) -> None:
        used: set[str] = set()
        for path in (PACKAGE / folder).glob("*.py"):
            used |= folders_imported_by(path.read_text("utf-8"))
        assert EXCEPTIONS[folder].keys() <= used

    @pytest.mark.parametrize(
        "folder",
        sorted({folder_of(path) for path in sources() if path.parent != PACKAGE}),
    )
    def test_allows_no_cycle_within_a_folder(self, folder: str) -> None:
        assert find_cycle(modules_imported_within(PACKAGE / folder)) == []

    def test_sees_a_module_in_either_form_of_an_import(self, tmp_path: Path) -> None:
        folder = tmp_path / "http"
        folder.mkdir()
        (folder / "a.py").write_text("from sse_client.http import b\n")
        (folder / "b.py").write_text("def f():\n    from sse_client.http.a import x\n")
        (folder / "json.py").write_text("from json import loads\n")
        assert modules_imported_within(folder) == {"a": {"b"}, "b": {"a"}, "json": set()}

    def test_would_show_a_cycle(self) -> None:
        assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]

    @each_of(
        ("source", "expected"),
        [
            ("import os, sse_client", {PUBLIC}),
            ("import sse_client.event_stream.parser", {"event_stream"}),
            ("from sse_client import SSE", {PUBLIC}),
            ("from sse_client import __version__", {PUBLIC}),
            ("from sse_client import errors, SSE", {"errors", PUBLIC}),
            ("from sse_client.testing.server import SSEServer", {"testing"}),
            ("from . import parser", {"(relative)"}),
            ("def f():\n    import sse_client.errors", {"errors"}),
            ("if TYPE_CHECKING:\n    import sse_client.errors\nelse:\n    import os", {"errors"}),
            ("if TYPE_CHECKING:\n    import os\nelse:\n    import sse_client.errors", {"errors"}),
            ("if True:\n    import sse_client.errors", {"errors"}),
            ("from sse_client_other import x", set()),
            ("import requests", set()),
        ],
    )
    def test_is_compared_with_all_imports(self, source: str, expected: set[str]) -> None:
        assert folders_imported_by(source) == expected


class TestPureModules:
    @pytest.mark.parametrize("module", PURE)
    def test_load_no_socket_thread_or_request(self, module: str) -> None:
        imported = modules_imported_by(module)
        assert f"sse_client.{module}" in imported
        assert imported & IMPURE == set()

    def test_cover_all_of_the_event_stream(self) -> None:
        loaded = modules_imported_by("event_stream.parser")
        loaded |= modules_imported_by("event_stream.buffer")
        for path in (PACKAGE / "event_stream").glob("*.py"):
            name = path.stem.removeprefix("__init__")
            assert f"sse_client.event_stream.{name}".rstrip(".") in loaded

    def test_would_show_an_impure_import(self) -> None:
        assert {"queue", "threading"} <= modules_imported_by("channel.incoming")
