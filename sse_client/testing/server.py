"""A real HTTP/1.1 server on the loopback interface, which a test scripts.

One thread accepts connections (`listener.py`). Each connection has a thread that performs the TLS
handshake, reads requests, and detects at once when the client goes. Each response has its own
thread (`script.py`). All threads are daemons, and end when the server stops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client.testing.connection import Connection
from sse_client.testing.exchange import Exchange
from sse_client.testing.listener import Listener
from sse_client.testing.request import BadRequestError, RequestReader
from sse_client.testing.script import Handler, ScriptedServer
from sse_client.testing.unscripted import UNSCRIPTED_TIMEOUT

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable


class SSEServer(ScriptedServer):
    """A server for event streams that breaks, trickles and stalls as a test scripts it.

    It is a context manager that starts and stops itself::

        with SSEServer() as server:
            server.serve(["one", "two"], then="reset")  # what the next request gets
            server.respond(503, {"Retry-After": "1"})  # and the one after it
            ...  # the client connects to server.url
            exchange = server.accept()  # the third gets its response step by step
            exchange.send("three", id="3")
            assert exchange.wait_closed()

    When a request arrives, it gets the oldest response that was queued with `serve`, `respond` or
    `redirect`. If none is queued, `handler` responds. If there is no handler, the request waits
    until the test accepts it with `accept`.

    Any thread may call any method.

    Args:
        handler: Called in its own thread with each `Exchange` for which nothing is queued. When it
            returns, the response is ended cleanly, unless it called `Exchange.stall`. An error
            that it raises ends the response (with status 500, or a body that is cut off), and
            `stop` raises the error again. This does not apply to a `ConnectionError`, because
            clients may go at any time. The handler may be replaced while the server runs.
        unscripted_timeout: How long a request may wait for `accept`, in seconds. Then it gets a 501
            that names it, and `stop` raises `UnscriptedRequestError`. None means no limit.
        ssl_context: A server-side context with which to serve https.
        port: The port on 127.0.0.1, or 0 for any free port.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
        unscripted_timeout: float | None = UNSCRIPTED_TIMEOUT,
    ) -> None:
        super().__init__(handler, unscripted_timeout)
        self._ssl_context = ssl_context
        self._port = port
        self._listener: Listener | None = None
        self._connections: list[Connection] = []

    def start(self) -> None:
        """Listen and accept. Does not block.

        After `stop` it listens on the same port again, like a restarted server.

        Raises:
            OSError: The port is in use.
            RuntimeError: The server is already running.
        """
        super().start()

    @property
    def port(self) -> int:
        """The requested port, or the actual one after the start."""
        return self._port

    @property
    def url(self) -> str:
        """The address of the root, such as ``http://127.0.0.1:8080/``."""
        return self.url_for("/")

    def url_for(self, target: str) -> str:
        """Return the address of a path, which may include a query."""
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
        reader = RequestReader(
            connection.receive, connection.client_port, scheme, connection.proceed
        )
        try:
            if self._ssl_context is not None:
                connection.handshake(self._ssl_context)
            while (request := reader.read()) is not None:
                if connection.await_turn():
                    self._dispatch(Exchange(request, connection))
        except (BadRequestError, ConnectionError):
            # A client that does not speak HTTP or distrusts the certificate sees a close.
            pass
        finally:
            connection.abort()
