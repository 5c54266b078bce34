"""One HTTP request and its response, which a test sends piece by piece.

Any thread may call any method. `Exchange._sending` serialises sending, so that pieces do not mix.
It is held while sending, which may block. So `drop`, `reset` and the server's stop do not take it:
they make a blocked send fail. `Exchange._moving` guards only the state.
"""

from __future__ import annotations

import contextlib
import threading
from enum import Enum, auto
from typing import TYPE_CHECKING, Literal, Protocol

from sse_client import ServerSentEvent
from sse_client.testing.response import Framing, Response, ResponseHeaders

if TYPE_CHECKING:
    from sse_client.testing.request import RecordedRequest

_EVENT_STREAM = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")]


class _State(Enum):
    NEW = auto()  # nothing sent
    OPEN = auto()  # the head is sent, but not the whole body
    ENDED = auto()  # the response is complete
    BROKEN = auto()  # the test broke the connection


# After an ended response the idle connection can still be broken.
_MOVES: dict[_State, set[_State]] = {
    _State.NEW: {_State.OPEN, _State.BROKEN},
    _State.OPEN: {_State.ENDED, _State.BROKEN},
    _State.ENDED: {_State.BROKEN},
    _State.BROKEN: set(),
}


class Wire(Protocol):
    """The connection of an exchange, over TCP or in memory."""

    def send(self, data: bytes) -> None:
        """Send all of the data. Raise ConnectionError if the connection is over."""

    def finish(self, *, notify: bool) -> None:
        """End the sent data, after a TLS close_notify if ``notify`` is True."""

    def reset(self) -> None:
        """Break the connection."""

    def give_turn(self) -> None:
        """Allow a response to the next request on this connection."""

    def wait_gone(self, timeout: float) -> bool:
        """Wait until the connection is over. Return whether the client has ended it."""


class Exchange:
    """A request from a client, and its response.

    `SSEServer.accept` returns one, and a handler gets one. The first `send`, `comment` or `write`
    opens the response with the defaults, unless `open` was called before. Any thread may call any
    method. Methods that send block while the client's window is full. They raise `ConnectionError`
    if the client has gone, the test broke the connection, or the server stopped.

    Attributes:
        request: The request.
    """

    def __init__(self, request: RecordedRequest, connection: Wire) -> None:
        self.request = request
        #: Whether `stall` was called. If so, the end of a handler does not end the response.
        self.stalled = False
        self._connection = connection
        self._sending = threading.RLock()
        self._moving = threading.Lock()
        self._state = _State.NEW
        # None until the head is sent, or always if the test writes the head itself.
        self._response: Response | None = None

    def open(
        self,
        status: int = 200,
        headers: ResponseHeaders | None = None,
        *,
        framing: Framing = "chunked",
        content_length: int | None = None,
        content_encoding: Literal["gzip"] | None = None,
    ) -> None:
        """Send the status line and the headers of an event stream, in one piece.

        Args:
            status: The status code. With 204 and 304, and in response to HEAD, no body is sent.
            headers: Added to ``Content-Type: text/event-stream``, ``Cache-Control: no-store`` and
                the headers of the framing. They replace headers of the same name, and a value of
                None removes one.
            framing: How the client finds the end of the body: ``"chunked"``, ``"close"`` (the end
                of the connection) or ``"length"``.
            content_length: The length announced with ``"length"``, in bytes after compression.
            content_encoding: ``"gzip"`` compresses the body. Each piece is flushed, so that it
                arrives at once.

        Raises:
            RuntimeError: The response is already open, or over.
            ValueError: ``"length"`` without a length, a length without ``"length"``, or an unknown
                framing or encoding.
        """
        response = Response(
            self.request,
            status,
            _EVENT_STREAM,
            headers,
            framing=framing,
            content_length=content_length,
            content_encoding=content_encoding,
        )
        with self._sending:
            self._move(_State.OPEN)
            self._response = response
            self._connection.send(response.head)

    def send(
        self,
        data: str = "",
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comments: str | None = None,
    ) -> None:
        """Send an event with its blank line as one piece.

        Args:
            data: The payload. Each of its lines becomes a data line.
            event: The event type.
            id: The event's ID. ``""`` sends an empty one, which resets the last event ID.
            retry: The reconnection time in milliseconds.
            comments: Comment lines in the same block.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response has ended.
            ValueError: The format cannot represent a value. `write` sends any bytes.
        """
        reset = "id\n" if id == "" else ""
        block = ServerSentEvent(data, event or "message", id or "", retry, comments)
        self.write(f"{reset}{block}".encode())

    def send_event(self, event: ServerSentEvent) -> None:
        """Send an event in its wire format as one piece. Otherwise like `send`."""
        self.write(str(event).encode())

    def comment(self, text: str = "") -> None:
        """Send a comment line without a blank line, as in a usual heartbeat, as one piece.

        Args:
            text: The comment, without line breaks. An empty one is sent as a bare colon.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response has ended.
            ValueError: The text has a line break.
        """
        if "\n" in text or "\r" in text:
            raise ValueError(f"a comment must be a single line: {text[:80]!r}")
        self.write(f": {text}\n".encode() if text else b":\n")

    def write(self, data: bytes) -> None:
        """Send bytes of the body as one piece: a single HTTP chunk in a single ``sendall``.

        Empty data sends nothing, because an empty chunk would end the body.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response has ended.
        """
        with self._sending:
            self._require_open()
            self._connection.send(data if self._response is None else self._response.piece(data))

    def write_raw(self, data: bytes) -> None:
        """Send bytes without any framing: half a chunk, a wrong size, another head.

        As the first call it replaces `open`: the bytes must include the status line and headers,
        and `end` then closes the connection.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response has ended.
        """
        with self._sending:
            if not self._try_move(_State.OPEN):
                self._require_open()
            self._connection.send(data)

    def end(self) -> None:
        """End the response cleanly. Does nothing if it is over or the client has gone.

        The connection then waits for the client's next request, unless the framing, a
        ``Connection: close`` or an incomplete body requires that it closes.
        """
        with self._sending, contextlib.suppress(ConnectionError):
            if self._state in {_State.ENDED, _State.BROKEN}:
                return
            self._require_open()
            self._move(_State.ENDED)
            self._complete(b"" if self._response is None else self._response.tail())

    def respond(
        self, status: int, headers: ResponseHeaders | None = None, body: bytes | str = b""
    ) -> None:
        """Send a whole plain response with a ``Content-Length``, in one piece.

        Args:
            status: The status code.
            headers: Added to the length. They may replace it.
            body: The body. Text is sent as UTF-8.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response is already open, or over.
        """
        content = body.encode() if isinstance(body, str) else body
        size = len(content)
        response = Response(
            self.request, status, (), headers, framing="length", content_length=size
        )
        with self._sending:
            self._move(_State.OPEN)
            self._move(_State.ENDED)
            self._response = response
            self._complete(response.head + response.piece(content) + response.tail())

    def redirect(self, location: str, status: int = 302) -> None:
        """Send a redirect without a body. Otherwise like `respond`.

        Args:
            location: The ``Location`` header, absolute or relative.
            status: The status code.
        """
        self.respond(status, {"Location": location})

    def stall(self) -> None:
        """Leave the response open and silent until the server stops or the client goes.

        Does not block. The response does not end when the handler returns. A test may continue it
        later, from any thread.
        """
        self.stalled = True

    def drop(self) -> None:
        """Send a FIN without ending the response, so that the client sees it cut off.

        Over TLS there is also no close_notify. After a complete response this closes the idle
        connection. Does not block, and makes a blocked send fail.
        """
        if self._try_move(_State.BROKEN):
            self._connection.finish(notify=False)

    def reset(self) -> None:
        """Break the connection with a TCP RST, which is sent when this returns.

        Earlier data arrives only if it had left this machine's send buffer. Makes a blocked send
        fail.
        """
        self._try_move(_State.BROKEN)
        self._connection.reset()

    def wait_closed(self, timeout: float = 5.0) -> bool:
        """Block until the client has gone, which means that its FIN or RST has arrived.

        Data from the client is ignored. A reset by the test also counts.

        Args:
            timeout: The maximum wait, in seconds.

        Returns:
            True if the client has gone. False after the timeout, or if the server stops first.
        """
        return self._connection.wait_gone(timeout)

    def __repr__(self) -> str:
        return f"<Exchange {self.request.method} {self.request.target} {self._state.name}>"

    def _require_open(self) -> None:
        if self._state is _State.NEW:
            self.open()
        if self._state is _State.BROKEN:
            raise BrokenPipeError("the test broke this connection")
        if self._state is _State.ENDED:
            raise RuntimeError("the response has ended")

    def _complete(self, rest: bytes) -> None:
        self._connection.send(rest)
        if self._response is not None and self._response.persistent:
            self._connection.give_turn()
        else:
            self._connection.finish(notify=True)

    def _move(self, state: _State) -> None:
        if not self._try_move(state):
            if self._state is _State.BROKEN:
                raise BrokenPipeError("the test broke this connection")
            raise RuntimeError(f"the response is already {self._state.name}")

    def _try_move(self, state: _State) -> bool:
        with self._moving:
            allowed = state in _MOVES[self._state]
            if allowed:
                self._state = state
            return allowed
