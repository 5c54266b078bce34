"""A real HTTP/1.1 server on the loopback interface, which a test scripts.

Threads: one accepts connections (`listener.py`). Each connection has one that does the TLS
handshake, reads requests, and notices at once when the client goes. The responses have theirs
(`script.py`). All end when the server stops, and are daemons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.testing.connection import Connection
from sse_client.testing.exchange import Exchange
from sse_client.testing.listener import Listener
from sse_client.testing.request import BadRequestError, RequestReader
from sse_client.testing.script import Handler, ScriptedServer

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable


class SSEServer(ScriptedServer):
    """A server for event streams that breaks, trickles and stalls as a test tells it to.

    A context manager that starts it and stops it::

        with SSEServer() as server:
            server.serve(["one", "two"], then="reset")  # what the next request gets
            server.respond(503, {"Retry-After": "1"})  # and the one after it
            ...  # the client connects to server.url
            exchange = server.accept()  # the third is answered step by step
            exchange.send("three", id="3")
            assert exchange.wait_closed()

    What answers a request is decided when it arrives: the oldest response queued with `serve`,
    `respond` or `redirect`; if there is none, `handler`; if there is none either, it waits for the
    test to `accept` it.

    Any thread may call any method.

    Args:
        handler: Called with each `Exchange` for which nothing is queued, in a thread of its own.
            When it returns, the response is ended cleanly, unless it called `Exchange.stall`. What
            it raises ends the response (status 500, or a body cut off), and is raised again by
            `stop`; a `ConnectionError` is not, as clients may go at any time. May be replaced
            while the server runs.
        ssl_context: Serve https with this server-side context.
        port: The port on 127.0.0.1, or 0 for any that is free.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(handler)
        self._ssl_context = ssl_context
        self._port = port
        self._listener: Listener | None = None
        self._connections: list[Connection] = []

    def start(self) -> None:
        """Listen and accept. Does not block.

        After `stop` it listens on the same port again, as a server that was restarted.

        Raises:
            OSError: The port is taken.
            RuntimeError: It is running already.
        """
        super().start()

    @property
    def port(self) -> int:
        """The port that was asked for or, once started, was found."""
        return self._port

    @property
    def url(self) -> str:
        """The address of the root, such as ``http://127.0.0.1:8080/``."""
        return self.url_for("/")

    def url_for(self, target: str) -> str:
        """Make the address of a path, which may carry a query."""
        scheme = "http" if self._ssl_context is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host  # RFC 3986, section 3.2.2
        return f"{scheme}://{host}:{self._port}/{target.removeprefix('/')}"

    def _listen(self) -> None:
        self._listener = Listener(self.host, self._port, self._adopt)
        self._port = self._listener.port

    def _hang_up(self) -> list[Callable[[], None]]:
        listener, self._listener = self._listener, None
        connections, self._connections = self._connections, []
        assert listener is not None, "the server is running"
        return [listener.close, *(connection.abort for connection in connections)]

    def _name_of(self, role: str) -> str:
        return f"sse-server-{role}:{self._port}"

    def _adopt(self, accepted: socket.socket, client_port: int) -> None:
        connection = Connection(accepted, client_port)
        with self._changed:
            if not self._is_running:
                connection.abort()
                return
            self._connections = [c for c in self._connections if not c.closed.is_set()]
            self._connections.append(connection)
            self._spawn("connection", self._read_requests, connection)

    def _read_requests(self, connection: Connection) -> None:
        scheme = "http" if self._ssl_context is None else "https"
        reader = RequestReader(connection.receive, connection.client_port, scheme)
        try:
            if self._ssl_context is not None:
                connection.handshake(self._ssl_context)
            while (request := reader.read()) is not None:
                if connection.await_turn():
                    self._dispatch(Exchange(request, connection))
        except (BadRequestError, ConnectionError):
            # A client that does not speak HTTP, or distrusts the certificate: it sees a close.
            pass
        finally:
            connection.abort()
