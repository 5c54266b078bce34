"""A real HTTP/1.1 server on the loopback interface, which a test scripts.

Threads: one accepts connections (`listener.py`). Each connection has one that does the TLS
handshake, reads requests, and notices at once when the client goes. Each answer that a script or a
handler gives has one of its own. All end when the server stops, which aborts their connections;
they are daemons, so a handler that hangs cannot keep the interpreter from exiting.

`SSEServer._changed` guards what these threads and the test share; it is held only to look at it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from sse_client.events import ServerSentEvent
from sse_client.testing.connection import Connection
from sse_client.testing.exchange import Exchange
from sse_client.testing.listener import Listener
from sse_client.testing.request import BadRequestError, RecordedRequest, RequestReader

if TYPE_CHECKING:
    import socket
    import ssl
    from types import TracebackType

    from sse_client.testing.answer import AnswerHeaders, Framing

Handler = Callable[[Exchange], object]

# How long `stop` waits for handlers, which it can wake only where they use their exchange.
_STOP_PATIENCE = 0.9


class SSEServer:
    """A server for event streams that breaks, trickles and stalls as a test tells it to.

    A context manager that starts it and stops it::

        with SSEServer() as server:
            server.serve(["one", "two"], then="reset")  # what the next request gets
            server.respond(503, {"Retry-After": "1"})  # and the one after it
            ...  # the client connects to server.url
            exchange = server.accept()  # the third is answered step by step
            exchange.send("three", id="3")
            assert exchange.wait_closed()

    What answers a request is decided when it arrives: the oldest answer queued with `serve`,
    `respond` or `redirect`; if there is none, `handler`; if there is none either, it waits for the
    test to `accept` it.

    Any thread may call any method.

    Args:
        handler: Called with each `Exchange` for which nothing is queued, in a thread of its own.
            When it returns, the answer is ended cleanly, unless it called `Exchange.stall`. What
            it raises ends the answer (status 500, or a body cut off), and is raised again by
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
        self.handler = handler
        self._ssl_context = ssl_context
        self._port = port
        self._changed = threading.Condition()
        self._listener: Listener | None = None
        self._threads: list[threading.Thread] = []
        self._connections: list[Connection] = []
        self._requests: list[RecordedRequest] = []
        self._scripts: deque[Handler] = deque()
        self._waiting: deque[Exchange] = deque()
        self._errors: list[BaseException] = []

    def start(self) -> None:
        """Listen and accept. Does not block.

        After `stop` it listens on the same port again, as a server that was restarted.

        Raises:
            OSError: The port is taken.
            RuntimeError: It is running already.
        """
        with self._changed:
            if self._listener is not None:
                raise RuntimeError("the server is running already")
            self._listener = Listener(self.host, self._port, self._adopt)
            self._port = self._listener.port

    def stop(self) -> None:
        """Close every connection and free every socket and thread. Nothing happens if stopped.

        Blocks for less than a second: whoever sends or waits on an exchange is woken. May be called
        from a handler. Answers still queued stay queued.

        Raises:
            BaseException: The first that a handler or an iterable of events raised.
            RuntimeError: A handler has not returned; its thread goes on.
        """
        with self._changed:
            listener, self._listener = self._listener, None
            threads, self._threads = self._threads, []
            connections, self._connections = self._connections, []
            self._waiting.clear()
            self._changed.notify_all()
        if listener is not None:
            listener.close()
        for connection in connections:
            connection.abort()
        deadline = time.monotonic() + _STOP_PATIENCE
        caller = threading.current_thread()
        for thread in threads:
            if thread is not caller:
                thread.join(max(0.0, deadline - time.monotonic()))
        left = [thread.name for thread in threads if thread.is_alive() and thread is not caller]
        with self._changed:
            # A handler that stops its server cannot wait for itself: the next stop does.
            self._threads += [thread for thread in threads if thread is caller]
            errors, self._errors = self._errors, []
        if errors:
            raise errors[0]
        if left:
            raise RuntimeError(f"these have not returned: {', '.join(left)}")

    def __enter__(self) -> SSEServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

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
        return f"{scheme}://{self.host}:{self._port}/{target.removeprefix('/')}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """A copy of the list of all requests so far, in the order of arrival."""
        with self._changed:
            return list(self._requests)

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> list[RecordedRequest]:
        """Block until so many requests have arrived, counted from the first start.

        Args:
            count: How many.
            timeout: Seconds to wait at most.

        Returns:
            All requests so far.

        Raises:
            TimeoutError: There were fewer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                got = len(self._requests)
                raise TimeoutError(f"{got} of {count} requests arrived within {timeout} s")
            return list(self._requests)

    def accept(self, timeout: float = 5.0) -> Exchange:
        """Take the oldest request that waits for the test. Blocks until there is one.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            The exchange, nothing of which has been answered.

        Raises:
            RuntimeError: The server does not run, or stopped meanwhile.
            TimeoutError: No request came that was not answered otherwise.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._listener is None, timeout)
            if self._listener is None:
                raise RuntimeError("the server is not running")
            if not self._waiting:
                raise TimeoutError(f"no request to accept within {timeout} s")
            return self._waiting.popleft()

    def serve(
        self,
        events: Iterable[str | bytes | ServerSentEvent] = (),
        *,
        then: Literal["end", "drop", "reset", "stall"] = "end",
        status: int = 200,
        headers: AnswerHeaders | None = None,
        framing: Framing = "chunked",
        content_length: int | None = None,
        content_encoding: Literal["gzip"] | None = None,
    ) -> None:
        """Queue an event stream for a request to come. Does not block.

        Args:
            events: Data as str, events, or pieces of the body as bytes. Each is sent at once as one
                piece. A generator may wait in between; what it raises is raised by `stop`.
            then: What comes after them: the method of `Exchange` of that name.
            status: See `Exchange.open`, as for the rest.
            headers: Added to the usual ones, or replacing them.
            framing: How the client knows the end of the body.
            content_length: Bytes promised with ``framing="length"``.
            content_encoding: ``"gzip"`` or None.

        Raises:
            TypeError: ``events`` is a single one.
            ValueError: ``then`` is unknown.
        """
        if isinstance(events, (str, bytes, ServerSentEvent)):
            raise TypeError("events must be an iterable of events, not one of them")
        if then not in {"end", "drop", "reset", "stall"}:
            raise ValueError(f"then must be 'end', 'drop', 'reset' or 'stall', not {then!r}")

        def script(exchange: Exchange) -> None:
            exchange.open(
                status,
                headers,
                framing=framing,
                content_length=content_length,
                content_encoding=content_encoding,
            )
            for item in events:
                if isinstance(item, str):
                    exchange.send(item)
                elif isinstance(item, bytes):
                    exchange.write(item)
                else:
                    exchange.send_event(item)
            getattr(exchange, then)()

        self._queue(script)

    def respond(
        self, status: int, headers: AnswerHeaders | None = None, body: bytes | str = b""
    ) -> None:
        """Queue a plain answer for a request to come: see `Exchange.respond`. Does not block."""
        self._queue(lambda exchange: exchange.respond(status, headers, body))

    def redirect(self, location: str, status: int = 302) -> None:
        """Queue a redirect for a request to come: see `Exchange.redirect`. Does not block."""
        self._queue(lambda exchange: exchange.redirect(location, status))

    def _queue(self, script: Handler) -> None:
        with self._changed:
            self._scripts.append(script)

    def _spawn(self, role: str, run: Callable[..., None], *args: object) -> None:
        """Start a thread that `stop` will join. Needs `_changed`, and a server that runs."""
        name = f"sse-server-{role}:{self._port}"
        thread = threading.Thread(target=run, args=args, name=name, daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _adopt(self, accepted: socket.socket, client_port: int) -> None:
        connection = Connection(accepted, client_port)
        with self._changed:
            if self._listener is None:
                connection.abort()
                return
            self._connections = [c for c in self._connections if not c.closed.is_set()]
            self._connections.append(connection)
            self._spawn("connection", self._read_requests, connection)

    def _read_requests(self, connection: Connection) -> None:
        reader = RequestReader(connection.receive, connection.client_port)
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

    def _dispatch(self, exchange: Exchange) -> None:
        with self._changed:
            if self._listener is None:
                return
            self._requests.append(exchange.request)
            handler = self._scripts.popleft() if self._scripts else self.handler
            if handler is None:
                self._waiting.append(exchange)
            else:
                self._spawn("answer", self._answer, exchange, handler)
            self._changed.notify_all()

    def _answer(self, exchange: Exchange, handler: Handler) -> None:
        try:
            handler(exchange)
            if not exchange.stalled:
                exchange.end()
        except ConnectionError:
            # The client has gone, or the test broke the connection: nothing to tell.
            pass
        except BaseException as error:  # noqa: BLE001 - a failed assertion of pytest is no Exception
            with self._changed:
                self._errors.append(error)
            try:
                exchange.respond(500, body=f"{type(error).__name__}: {error}")
            except (ConnectionError, RuntimeError):
                exchange.drop()
