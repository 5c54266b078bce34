"""The requests adapter of an in-memory server.

With it a client uses requests, urllib3 and ``http.client`` as usual, but with a `MemoryConnection`
instead of a socket.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    import requests

    from sse_client.testing.memory import MemoryConnection


class MemoryAdapter(HTTPAdapter):
    """The adapter of requests, with its own pools and without proxies.

    Args:
        connect: Creates a connection for a scheme, or raises an OSError.
    """

    def __init__(self, connect: Callable[[str], MemoryConnection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()  # guards the pools
        self._pools: dict[tuple[str, str], HTTPConnectionPool] = {}
        super().__init__()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send to this server, and ignore proxies."""
        del proxies
        return super().send(request, stream, timeout, verify, cert)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        """Return the pool of this address, and ignore proxies and certificates."""
        del verify, proxies, cert
        parts = urlsplit(request.url or "")
        key = parts.scheme, parts.netloc
        with self._lock:
            if key not in self._pools:
                is_secure = parts.scheme == "https"
                kind: Any = _SecurePool if is_secure else _Pool
                pool = kind(parts.hostname, parts.port, maxsize=10)
                pool.dial = partial(self._connect, parts.scheme)
                self._pools[key] = pool
            return self._pools[key]

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()
        super().close()


class _Dialling:
    """Gives a pool in-memory connections."""

    dial: Callable[[], MemoryConnection]

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()  # type: ignore[misc]  # of the pool
        connection.dial = self.dial
        return connection


class _InMemory:
    """Gives a connection of urllib3 one of ours as its socket."""

    dial: Callable[[], MemoryConnection]
    sock: Any

    def _new_conn(self) -> socket.socket:
        try:
            return cast("socket.socket", self.dial())
        except OSError as error:
            raise NewConnectionError(cast("Any", self), f"connecting failed: {error}") from error

    @property
    def is_connected(self) -> bool:
        return self.sock is not None and self.sock.is_idle


class _Connection(_InMemory, HTTPConnection):
    pass


class _SecureConnection(_InMemory, HTTPSConnection):
    def connect(self) -> None:
        self.sock = self._new_conn()
        self.is_verified = True  # otherwise urllib3 would warn


class _Pool(_Dialling, HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(_Dialling, HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
