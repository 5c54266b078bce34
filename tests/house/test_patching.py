"""Names that gevent and eventlet replace are looked up at each use, even after a late patch."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tables import each_of

import sse_client

PACKAGE = Path(sse_client.__file__).parent

#: The modules in which these libraries replace functions and classes.
REPLACED = {"_thread", "queue", "select", "selectors", "socket", "ssl", "threading", "time"}

#: Names that are nevertheless bound at import, and why that does not block a greenlet.
KEPT = {
    "channel/incoming.py": {
        "queue": "ShutDown, an exception, is the same class after patching",
        "queue.Queue": "a name to users: nothing of what is inside it is used",
    },
    "cli/stats.py": {"time.monotonic": "it does not wait, and is not replaced"},
    "clock.py": {
        "threading.main_thread": "a number that identifies it: greenlets have others",
        "time.monotonic": "it does not wait, and is not replaced",
        "time.time": "the same",
    },
    "cursors/claims.py": {
        "threading.RLock": "it is held for a look into a dictionary, in which no greenlet yields",
    },
    "http/arrived_body.py": {
        "ssl.SSLWantReadError": "an exception: it is the same class after patching",
        "ssl.SSLWantWriteError": "the same",
    },
    "relay/metrics.py": {"socket.AF_INET6": "a number"},
    "session/merging.py": {"queue.Empty": "an exception: it is the same class after patching"},
    "testing/listener.py": {"socket.SO_REUSEADDR": "a number", "socket": "to look for that number"},
}

#: Where ``queue.SimpleQueue`` is used. Its C version blocks all greenlets unless it is replaced.
SIMPLE_QUEUES = {"cli/stats.py": "the command is a process of its own, which patches nothing"}


class AtImport(ast.NodeVisitor):
    """Finds the names that a module takes from these modules while it is imported."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module in REPLACED:
            self.found |= {f"{node.module}.{alias.name}" for alias in node.names}

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            assert alias.name not in REPLACED or alias.asname is None, "it hides its name"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and node.value.id in REPLACED:
            self.found.add(f"{node.value.id}.{node.attr}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        for argument in node.args:
            if isinstance(argument, ast.Name) and argument.id in REPLACED:
                self.found.add(argument.id)  # as in getattr
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)  # the annotation is a string

    def visit_If(self, node: ast.If) -> None:
        is_for_checkers = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for each in node.orelse if is_for_checkers else [*node.body, *node.orelse]:
            self.visit(each)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for each in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
            if each is not None:
                self.visit(each)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        for each in node.decorator_list:
            self.visit(each)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Ignore the body, which is not run at import."""


def kept_by(source: str) -> set[str]:
    visitor = AtImport()
    visitor.visit(ast.parse(source))
    return visitor.found


def sources() -> dict[str, str]:
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def test_nothing_that_is_replaced_is_kept_from_the_time_of_the_import():
    found = {name: kept for name, source in sources().items() if (kept := kept_by(source))}
    assert found == {name: set(reasons) for name, reasons in KEPT.items()}


def test_a_simple_queue_is_made_only_where_nothing_is_patched():
    made = {name for name, text in sources().items() if "SimpleQueue()" in text}
    assert made == {*SIMPLE_QUEUES}


def test_methods_of_sockets_are_those_of_the_socket():
    # eventlet's class has few methods, because each of its sockets has them instead.
    called = {name for name, text in sources().items() if re.search(r"socket\.socket\.[a-z]", text)}
    assert not called


@each_of(
    ("source", "kept"),
    [
        ("import threading\nlock = threading.Lock()", {"threading.Lock"}),
        ("class A(threading.local):\n    pass", {"threading.local"}),
        ("class A:\n    lock = threading.Lock()", {"threading.Lock"}),
        ("from queue import SimpleQueue", {"queue.SimpleQueue"}),
        ("try:\n    pass\nfinally:\n    x: object = select.poll", {"select.poll"}),
        ("x = getattr(selectors, 'PollSelector')", {"selectors"}),
        ("def f(lock=threading.Lock()):\n    pass", {"threading.Lock"}),
        ("def f(*, lock=threading.Lock()):\n    pass", {"threading.Lock"}),
        ("@threading.excepthook\nasync def f():\n    pass", {"threading.excepthook"}),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    x = threading.Lock", {"threading.Lock"}),
        ("if TYPE_CHECKING:\n    from threading import Lock", set()),
        ("if sys.platform:\n    from threading import Lock", {"threading.Lock"}),
        ("lock: threading.Lock", set()),
        ("def f(lock: threading.Lock):\n    return threading.Lock()", set()),
        ("make = lambda: threading.Lock()", set()),
        ("import threading", set()),
    ],
)
def test_what_is_kept_is_found(source, kept):
    assert kept_by(source) == kept
