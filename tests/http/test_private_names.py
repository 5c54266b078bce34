"""The private names of requests, urllib3 and http.client: all exist, and no others are used."""

from __future__ import annotations

import ast
import http.client
import http.cookiejar
import socket
from pathlib import Path

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from support import sse_client_for_tests
from tables import each_of

import sse_client.http.private_names
from sse_client.http.private_names import (
    PRIVATE_NAMES,
    PRIVATE_NAMES_OF_URLLIB3_FUTURE,
    cookie_lock_of,
    cookies_of,
    dns_host,
    pool_of,
    renew_cookie_lock,
    socket_below,
)

with socket.socket() as closed_socket:
    file_of_socket = socket.SocketIO(closed_socket, "r")

#: An object of each class with such names.
OWNERS = {
    "urllib3.connection.HTTPConnection": urllib3.connection.HTTPConnection("host"),
    "urllib3.response.HTTPResponse": urllib3.HTTPResponse(),
    "requests.models.Response": requests.Response(),
    "requests.models.PreparedRequest": requests.PreparedRequest(),
    "socket.SocketIO": file_of_socket,
    "http.cookiejar.CookieJar": http.cookiejar.CookieJar(),
}

FOLDER = Path(sse_client.http.private_names.__file__).parent


@pytest.mark.parametrize("private", PRIVATE_NAMES, ids=lambda each: f"{each.owner}.{each.name}")
def test_a_private_name_is_still_there(private):
    assert hasattr(OWNERS[private.owner], private.name), (
        f"{private.owner}.{private.name} is gone. Without it {private.without_it}."
    )


def names_used_by(source: str) -> set[str]:
    """Return the private names that a source uses of objects other than its own."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            names = [] if is_own else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value.isidentifier() else []
        else:
            continue
        found |= {name for name in names if name.startswith("_") and not name.startswith("__")}
    return found


def own_names(tree: ast.AST) -> set[str]:
    """Return the names that a module defines itself."""
    nodes = list(ast.walk(tree))
    defined = {node.name for node in nodes if isinstance(node, DEFINITIONS)}
    slots = [node.value for node in nodes if isinstance(node, ast.Assign) and is_slots(node)]
    for each in slots:
        defined |= {node.value for node in ast.walk(each) if isinstance(node, ast.Constant)}
    return defined | {node.id for node in nodes if isinstance(node, ast.Name)}


def is_slots(node: ast.Assign) -> bool:
    return [target.id for target in node.targets if isinstance(target, ast.Name)] == ["__slots__"]


DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@each_of("path", sorted(FOLDER.glob("*.py")))
def test_no_other_module_uses_one(path):
    source = path.read_text("utf-8")
    # An overridden name must be written where it is overridden.
    overridden = {"_new_conn"}
    listed = {each.name for each in PRIVATE_NAMES} | {*PRIVATE_NAMES_OF_URLLIB3_FUTURE}
    used = names_used_by(source)
    if path.stem == "private_names":
        assert used - listed == set()
    else:
        assert used - own_names(ast.parse(source)) - overridden == set()
        assert used & (listed - overridden) == set()


def test_a_name_that_is_used_elsewhere_would_be_seen():
    source = """
from urllib3._collections import RecentlyUsedContainer
class Mine:
    def f(self, raw):
        return self._own, raw._fp, getattr(raw, "_pool"), __name__
"""
    assert names_used_by(source) == {"_collections", "_fp", "_pool"}


class TestWithoutTheNames:
    """With a version that lacks one of the names, all limits still apply, and no import fails."""

    def test_a_host_is_resolved_without_its_final_dot(self):
        class Connection:
            host = "host"

        assert dns_host(Connection()) == "host"

    def test_a_response_has_no_pool_and_no_socket(self):
        assert pool_of(object()) is None
        assert socket_below(object()) is None

    def test_a_redirect_to_another_origin_fails_rather_than_take_cookies_along(self):
        with pytest.raises(AttributeError, match="_cookies"):
            cookies_of(object())

    def test_a_jar_is_not_locked(self):
        jar = object()
        with cookie_lock_of(jar):
            renew_cookie_lock(jar)

    def test_a_header_has_its_limit(self, server, monkeypatch):
        # A connection class with another method in place of _new_conn.
        class Connection(urllib3.connection.HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection(("127.0.0.1", server.port), self.timeout)

        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args, **options):
                super().init_poolmanager(*args, **options)
                pool = type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": Connection})
                self.poolmanager.pool_classes_by_scheme = {"http": pool}

        server.handler = lambda exchange: exchange.write_raw(
            b"HTTP/1.1 200 OK\r\n" + b"X" * 300_000
        )
        with requests.Session() as session, sse_client_for_tests(session) as client:
            session.mount("http://", Adapter())
            with pytest.raises(
                sse_client.ConnectionFailedError, match="has more than 262144 bytes"
            ):
                client.sse(server.url)
