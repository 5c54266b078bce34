"""Records the requests to a server, and responds to them as a test scripts.

Each response of a script or a handler has its own thread. These threads end when the server stops,
which aborts their connections. They are daemons, so a handler that hangs cannot prevent the
interpreter from exiting.

`ScriptedServer._changed` guards the state that these threads and the test share. It is held only
briefly.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from sse_client import ServerSentEvent
from sse_client.testing.exchange import Exchange
from sse_client.testing.unscripted import refuse

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from sse_client.testing.request import RecordedRequest
    from sse_client.testing.response import Framing, ResponseHeaders

Handler = Callable[[Exchange], object]

# How long `stop` waits for handlers. It can wake them only while they use their exchange.
_STOP_PATIENCE = 0.9


class ScriptedServer(ABC):
    """The base of the servers of this package. Any thread may call any method.

    Args:
        handler: Called with each `Exchange` for which nothing is queued.
        unscripted_timeout: How long a request may wait for `accept`, in seconds. None means no
            limit.
    """

    def __init__(self, handler: Handler | None, unscripted_timeout: float | None) -> None:
        self.handler = handler
        self._unscripted_timeout = unscripted_timeout
        self._process_id = os.getpid()
        self._changed = threading.Condition()
        self._is_running = False
        self._threads: list[threading.Thread] = []
        self._requests: list[RecordedRequest] = []
        self._scripts: deque[Handler] = deque()
        self._waiting: deque[Exchange] = deque()
        self._errors: list[BaseException] = []

    def start(self) -> None:
        """Accept requests from now on. Does not block.

        Raises:
            OSError: The port is in use.
            RuntimeError: The server is already running.
        """
        with self._changed:
            if self._is_running:
                raise RuntimeError("the server is already running")
            self._process_id = os.getpid()
            self._listen()
            self._is_running = True

    def stop(self) -> None:
        """Close all connections, and free all sockets and threads. Does nothing if stopped.

        Blocks for less than a second, because threads that send or wait on an exchange wake. May be
        called from a handler. Queued responses stay queued. Does nothing in a child that was forked
        while the server ran, because the server belongs to the parent.

        Raises:
            BaseException: The first error of a handler or an iterable of events.
            UnscriptedRequestError: A request had no response.
            RuntimeError: A handler has not returned. Its thread continues.
        """
        if os.getpid() != self._process_id:
            return  # its threads are not here, and one of them may hold the lock
        with self._changed:
            was_running, self._is_running = self._is_running, False
            closing = self._hang_up() if was_running else []
            threads, self._threads = self._threads, []
            self._waiting.clear()
            self._changed.notify_all()
        for close in closing:
            close()
        deadline = time.monotonic() + _STOP_PATIENCE
        caller = threading.current_thread()
        for thread in threads:
            if thread is not caller:
                thread.join(max(0.0, deadline - time.monotonic()))
        left = [thread.name for thread in threads if thread.is_alive() and thread is not caller]
        with self._changed:
            # A handler that stops its server cannot wait for itself. The next stop waits for it.
            self._threads += [thread for thread in threads if thread is caller]
            errors, self._errors = self._errors, []
        if errors:
            raise errors[0]
        if left:
            raise RuntimeError(f"these threads have not ended: {', '.join(left)}")

    def __enter__(self) -> Self:
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
    def requests(self) -> list[RecordedRequest]:
        """A list of all requests so far, in order of arrival."""
        with self._changed:
            return list(self._requests)

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> list[RecordedRequest]:
        """Block until at least ``count`` requests have arrived since the first start.

        Args:
            count: The number of requests.
            timeout: The maximum wait, in seconds.

        Returns:
            All requests so far.

        Raises:
            TimeoutError: There were fewer requests.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                got = len(self._requests)
                raise TimeoutError(f"{got} of {count} requests arrived within {timeout} s")
            return list(self._requests)

    def accept(self, timeout: float = 5.0) -> Exchange:
        """Take the oldest request that waits for the test. Blocks until there is one.

        Args:
            timeout: The maximum wait, in seconds.

        Returns:
            The exchange, without a response yet.

        Raises:
            RuntimeError: The server is not running, or stopped during the wait.
            TimeoutError: No request arrived for which nothing was queued.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._is_running, timeout)
            if not self._is_running:
                raise RuntimeError("the server is not running")
            if not self._waiting:
                raise TimeoutError(f"no request to accept within {timeout} s")
            self._changed.notify_all()  # wakes the thread that limits the wait of the request
            return self._waiting.popleft()

    def serve(
        self,
        events: Iterable[str | bytes | ServerSentEvent] = (),
        *,
        then: Literal["end", "drop", "reset", "stall"] = "end",
        status: int = 200,
        headers: ResponseHeaders | None = None,
        framing: Framing = "chunked",
        content_length: int | None = None,
        content_encoding: Literal["gzip"] | None = None,
    ) -> None:
        """Queue an event stream for a later request. Does not block.

        Args:
            events: Data as str, events, or pieces of the body as bytes. Each is sent at once as one
                piece. A generator may wait in between. `stop` raises its errors.
            then: The method of `Exchange` to call after them.
            status: The status code. For the other arguments see `Exchange.open`.
            headers: Added to the usual headers. They may replace them.
            framing: How the client finds the end of the body.
            content_length: The length announced with ``framing="length"``, in bytes.
            content_encoding: ``"gzip"`` or None.

        Raises:
            TypeError: ``events`` is a single event.
            ValueError: ``then`` is unknown.
        """
        if isinstance(events, (str, bytes, ServerSentEvent)):
            raise TypeError("events must be an iterable of events, not a single event")
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
        self, status: int, headers: ResponseHeaders | None = None, body: bytes | str = b""
    ) -> None:
        """Queue a plain response for a later request: see `Exchange.respond`. Does not block."""
        self._queue(lambda exchange: exchange.respond(status, headers, body))

    def redirect(self, location: str, status: int = 302) -> None:
        """Queue a redirect for a later request: see `Exchange.redirect`. Does not block."""
        self._queue(lambda exchange: exchange.redirect(location, status))

    def _queue(self, script: Handler) -> None:
        with self._changed:
            self._scripts.append(script)

    @abstractmethod
    def _listen(self) -> None:
        """Prepare to accept connections. Requires `_changed`."""

    @abstractmethod
    def _hang_up(self) -> list[Callable[[], None]]:
        """Return functions that close the listener and all connections. Requires `_changed`."""

    @abstractmethod
    def _name_of(self, role: str) -> str:
        """Return the name of a thread."""

    def _spawn(self, role: str, run: Callable[..., None], *args: object) -> None:
        """Start a thread that `stop` joins. Requires `_changed` and a running server."""
        thread = threading.Thread(target=run, args=args, name=self._name_of(role), daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _dispatch(self, exchange: Exchange) -> None:
        with self._changed:
            if not self._is_running:
                return
            self._requests.append(exchange.request)
            number = len(self._requests)
            handler = self._scripts.popleft() if self._scripts else self.handler
            if handler is None:
                self._waiting.append(exchange)
                if self._unscripted_timeout is not None:
                    self._spawn(
                        "unscripted", self._refuse, exchange, number, self._unscripted_timeout
                    )
            else:
                self._spawn("respond", self._respond, exchange, handler)
            self._changed.notify_all()

    def _refuse(self, exchange: Exchange, number: int, timeout: float) -> None:
        """Fail a request that the test does not accept in time, unless its client goes first."""
        with self._changed:
            if self._changed.wait_for(lambda: exchange not in self._waiting, timeout):
                return
            if exchange.wait_closed(0.0):
                return
            self._waiting.remove(exchange)
        error = refuse(exchange, number, timeout)
        with self._changed:
            self._errors.append(error)

    def _respond(self, exchange: Exchange, handler: Handler) -> None:
        try:
            handler(exchange)
            if not exchange.stalled:
                exchange.end()
        except ConnectionError:
            # The client has gone, or the test broke the connection. This is not an error.
            pass
        except BaseException as error:  # noqa: BLE001 - a failed assertion of pytest is not an Exception
            with self._changed:
                self._errors.append(error)
            try:
                exchange.respond(500, body=f"{type(error).__name__}: {error}")
            except (ConnectionError, RuntimeError):
                exchange.drop()
