"""A server in memory, with the script of the real one.

All of the client is real, down to urllib3 and the standard library's ``http.client``: only in place
of the socket there is a `MemoryConnection`. So what is framed, compressed, cut or reset is read as
it is read off a network.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import requests

from sse_client import SSE, HttpClient
from sse_client.clock import SYSTEM_CLOCK
from sse_client.testing.adapter import MemoryAdapter
from sse_client.testing.exchange import Exchange
from sse_client.testing.memory import MemoryConnection
from sse_client.testing.script import Handler, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests.adapters import BaseAdapter

    from sse_client.testing.clock import ManualClock
    from sse_client.testing.request import RecordedRequest


class InMemoryServer(ScriptedServer):
    """A server for event streams without a socket: the script of `SSEServer`, in microseconds.

    It answers whatever is asked for through its `adapter`, at any address, https without a
    certificate included::

        with InMemoryServer() as server, server.client(reconnection_time=0.1) as client:
            server.serve(["one", "two"], then="reset")
            server.serve(["three"], then="stall")
            with client.sse("https://api.example.com/events") as session:
                for expected in ("one", "two", "three"):
                    assert session.incoming.get(timeout=5).data == expected

    Everything of `SSEServer` is here: `serve`, `respond`, `redirect`, `accept`, the handler and
    `requests`; a handler serves either. Unlike with TCP, all that was sent before a reset arrives.
    Before `start` and after `stop` connections are refused.

    Any thread may call any method.

    Args:
        handler: Called with each `Exchange` for which nothing is queued, in a thread of its own: as
            of `SSEServer`.
        clock: What read timeouts run on, and the waits of what `client` makes; None is the time of
            the system.
    """

    def __init__(self, handler: Handler | None = None, *, clock: ManualClock | None = None) -> None:
        super().__init__(handler)
        self._clock = clock
        self._numbers = itertools.count(1)
        self._connections: list[MemoryConnection] = []
        self._adapter = MemoryAdapter(self._connect)
        self._session = requests.Session()
        # Neither proxies nor a .netrc of this machine.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

    @property
    def url(self) -> str:
        """An address, ``http://sse.test/``, though any other is as good."""
        return self.url_for("/")

    def url_for(self, target: str) -> str:
        """Make the address of a path, which may carry a query."""
        return f"http://sse.test/{target.removeprefix('/')}"

    @property
    def adapter(self) -> BaseAdapter:
        """The adapter that leads here, as in ``session.mount(prefix, server.adapter)``.

        Proxies and certificates are not looked at.
        """
        return self._adapter

    @property
    def session(self) -> requests.Session:
        """A session of requests that sends whatever it is given to this server.

        Always the same one. It takes nothing from the environment.
        """
        return self._session

    def client(self, **options: object) -> HttpClient:
        """Make a client that has the `SSE` plugin, sends to here, and runs on the server's clock.

        It is yours to close, as a context manager or with ``close``.

        Args:
            **options: As for ``client.install(SSE, ...)``.

        Raises:
            TypeError, ValueError: As there.
        """
        return HttpClient(self._session, clock=self._clock).install(SSE, **options)

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
                raise ConnectionRefusedError("the server does not run")
            connection = MemoryConnection(
                self._clock or SYSTEM_CLOCK, self._receive, next(self._numbers), scheme
            )
            self._connections = [c for c in self._connections if not c.is_over]
            self._connections.append(connection)
            return connection

    def _receive(self, request: RecordedRequest, connection: MemoryConnection) -> None:
        self._dispatch(Exchange(request, connection))
