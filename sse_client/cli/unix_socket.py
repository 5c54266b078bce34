"""``--unix-socket``: a ``requests`` session that connects to a Unix domain socket."""

from __future__ import annotations

import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError


def session_through(path: str) -> requests.Session:
    """Return a session that sends each request to a socket, for any host in its URL.

    Args:
        path: The path of the socket.
    """

    class ToSocket(HTTPConnection):
        """An HTTP connection to the socket."""

        def _new_conn(self) -> socket.socket:
            return _connect(path, self)

    class ToSocketWithTls(HTTPSConnection):
        """An HTTPS connection to the socket."""

        def _new_conn(self) -> socket.socket:
            return _connect(path, self)

    class Pool(HTTPConnectionPool):
        """Creates HTTP connections."""

        ConnectionCls = ToSocket

    class PoolWithTls(HTTPSConnectionPool):
        """Creates HTTPS connections."""

        ConnectionCls = ToSocketWithTls

    class Adapter(HTTPAdapter):
        """Sends requests through these pools."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as in requests
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": PoolWithTls}

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    return session


def _connect(path: str, connection: HTTPConnection) -> socket.socket:
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise NewConnectionError(connection, "this system has no Unix domain sockets")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(connection.timeout)
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise NewConnectionError(connection, f"connecting failed: {error}") from error
    return sock
