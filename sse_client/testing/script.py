"""What answers the requests that reach a server, real or not, and what they were.

Threads: each response that a script or a handler gives has one of its own. They end when the server
stops, which aborts their connections; they are daemons, so a handler that hangs cannot keep the
interpreter from exiting.

`ScriptedServer._changed` guards what these threads and the test share; it is held only to look at
it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from sse_client import ServerSentEvent
from sse_client.testing.exchange import Exchange

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from sse_client.testing.request import RecordedRequest
    from sse_client.testing.response import Framing, ResponseHeaders

Handler = Callable[[Exchange], object]

# How long `stop` waits for handlers, which it can wake only where they use their exchange.
_STOP_PATIENCE = 0.9


class ScriptedServer(ABC):
    """What the servers of this package have in common. Any thread may call any method.

    Args:
        handler: Called with each `Exchange` for which nothing is queued.
    """

    def __init__(self, handler: Handler | None) -> None:
        self.handler = handler
        self._changed = threading.Condition()
        self._is_running = False
        self._threads: list[threading.Thread] = []
        self._requests: list[RecordedRequest] = []
        self._scripts: deque[Handler] = deque()
        self._waiting: deque[Exchange] = deque()
        self._errors: list[BaseException] = []

    def start(self) -> None:
        """Take requests from now on. Does not block.

        Raises:
            OSError: The port is taken.
            RuntimeError: It is running already.
        """
        with self._changed:
            if self._is_running:
                raise RuntimeError("the server is running already")
            self._listen()
            self._is_running = True

    def stop(self) -> None:
        """Close every connection and free every socket and thread. Nothing happens if stopped.

        Blocks for less than a second: whoever sends or waits on an exchange is woken. May be called
        from a handler. Responses still queued stay queued.

        Raises:
            BaseException: The first that a handler or an iterable of events raised.
            RuntimeError: A handler has not returned; its thread goes on.
        """
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
            # A handler that stops its server cannot wait for itself: the next stop does.
            self._threads += [thread for thread in threads if thread is caller]
            errors, self._errors = self._errors, []
        if errors:
            raise errors[0]
        if left:
            raise RuntimeError(f"these have not returned: {', '.join(left)}")

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
            self._changed.wait_for(lambda: self._waiting or not self._is_running, timeout)
            if not self._is_running:
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
        headers: ResponseHeaders | None = None,
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
        self, status: int, headers: ResponseHeaders | None = None, body: bytes | str = b""
    ) -> None:
        """Queue a plain response for a request to come: see `Exchange.respond`. Does not block."""
        self._queue(lambda exchange: exchange.respond(status, headers, body))

    def redirect(self, location: str, status: int = 302) -> None:
        """Queue a redirect for a request to come: see `Exchange.redirect`. Does not block."""
        self._queue(lambda exchange: exchange.redirect(location, status))

    def _queue(self, script: Handler) -> None:
        with self._changed:
            self._scripts.append(script)

    @abstractmethod
    def _listen(self) -> None:
        """Get ready for connections. Needs `_changed`."""

    @abstractmethod
    def _hang_up(self) -> list[Callable[[], None]]:
        """Return what closes the listener and all connections. Needs `_changed`; does not block."""

    @abstractmethod
    def _name_of(self, role: str) -> str:
        """Name a thread."""

    def _spawn(self, role: str, run: Callable[..., None], *args: object) -> None:
        """Start a thread that `stop` will join. Needs `_changed`, and a server that runs."""
        thread = threading.Thread(target=run, args=args, name=self._name_of(role), daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _dispatch(self, exchange: Exchange) -> None:
        with self._changed:
            if not self._is_running:
                return
            self._requests.append(exchange.request)
            handler = self._scripts.popleft() if self._scripts else self.handler
            if handler is None:
                self._waiting.append(exchange)
            else:
                self._spawn("respond", self._respond, exchange, handler)
            self._changed.notify_all()

    def _respond(self, exchange: Exchange, handler: Handler) -> None:
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
