"""An in-memory server with the same script as the real one.

The client is real, down to urllib3 and the standard library's ``http.client``. Only the socket is
replaced, by a `MemoryConnection`. So framing, compression, breaks and resets are read as from a
network.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import requests

from sse_client import SSE, HttpClient
from sse_client.clock import SYSTEM_CLOCK
from sse_client.testing.adapter import MemoryAdapter
from sse_client.testing.exchange import Exchange
from sse_client.testing.memory import MemoryConnection
from sse_client.testing.script import Handler, ScriptedServer
from sse_client.testing.unscripted import UNSCRIPTED_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests.adapters import BaseAdapter

    from sse_client.testing.clock import ManualClock
    from sse_client.testing.request import RecordedRequest


class InMemoryServer(ScriptedServer):
    """A server for event streams without a socket: the script of `SSEServer`, in microseconds.

    It responds to all requests through its `adapter`, at any address, even https without a
    certificate::

        with InMemoryServer() as server, server.client(reconnection_time=0.1) as client:
            server.serve(["one", "two"], then="reset")
            server.serve(["three"], then="stall")
            with client.sse("https://api.example.com/events") as session:
                for expected in ("one", "two", "three"):
                    assert session.incoming.get(timeout=5).data == expected

    It has the whole interface of `SSEServer`: `serve`, `respond`, `redirect`, `accept`, the handler
    and `requests`. A handler works with both. Unlike with TCP, all data sent before a reset
    arrives. Before `start` and after `stop` connections are refused.

    Any thread may call any method.

    Args:
        handler: Called in its own thread with each `Exchange` for which nothing is queued, as in
            `SSEServer`.
        unscripted_timeout: How long a request may wait for `accept`, in real seconds, as in
            `SSEServer`.
        clock: Measures read timeouts and the waits of the clients from `client`. None means the
            system's clock.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        clock: ManualClock | None = None,
        unscripted_timeout: float | None = UNSCRIPTED_TIMEOUT,
    ) -> None:
        super().__init__(handler, unscripted_timeout)
        self._clock = clock
        self._numbers = itertools.count(1)
        self._connections: list[MemoryConnection] = []
        self._adapter = MemoryAdapter(self._connect)
        self._session = requests.Session()
        # Ignore this machine's proxies and .netrc.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

    @property
    def url(self) -> str:
        """The address ``http://sse.test/``. Any other address also works."""
        return self.url_for("/")

    def url_for(self, target: str) -> str:
        """Return the address of a path, which may include a query."""
        return f"http://sse.test/{target.removeprefix('/')}"

    @property
    def adapter(self) -> BaseAdapter:
        """The adapter of this server, for ``session.mount(prefix, server.adapter)``.

        It ignores proxies and certificates.
        """
        return self._adapter

    @property
    def session(self) -> requests.Session:
        """A ``requests`` session that sends all requests to this server.

        It is always the same session. It ignores the environment.
        """
        return self._session

    def client(self, **options: object) -> HttpClient:
        """Create a client with the `SSE` plugin that sends to this server and uses its clock.

        You have to close it, as a context manager or with ``close``.

        Args:
            **options: As for ``client.install(SSE, ...)``.

        Raises:
            TypeError, ValueError: As for ``client.install``.
        """
        given = cast("dict[str, Any]", options)  # the plugin checks them
        return HttpClient(self._session, clock=self._clock).install(SSE, **given)

    def _listen(self) -> None:
        pass

    def _hang_up(self) -> list[Callable[[], None]]:
        connections, self._connections = self._connections, []
        return [self._adapter.close, *(connection.stop for connection in connections)]

    def _name_of(self, role: str) -> str:
        return f"sse-server-{role}:memory"

    def _connect(self, scheme: str) -> MemoryConnection:
        with self._changed:
            if not self._is_running:
                raise ConnectionRefusedError("the server is not running")
            connection = MemoryConnection(
                self._clock or SYSTEM_CLOCK, self._receive, next(self._numbers), scheme
            )
            self._connections = [c for c in self._connections if not c.is_over]
            self._connections.append(connection)
            return connection

    def _receive(self, request: RecordedRequest, connection: MemoryConnection) -> None:
        self._dispatch(Exchange(request, connection))
