"""One HTTP request and its response, which a test gives piece by piece.

Threads: any thread may call any method. `Exchange._sending` serialises what goes out, so that each
piece is whole; it is held while sending, which may block, and `drop`, `reset` and the server's stop
therefore do without it: they make a blocked send fail. `Exchange._moving` guards the state alone.
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
    OPEN = auto()  # the head is sent, the body goes on
    ENDED = auto()  # the response is complete
    BROKEN = auto()  # the test broke the connection


# An ended response leaves a connection that may still be broken: an idle one.
_MOVES: dict[_State, set[_State]] = {
    _State.NEW: {_State.OPEN, _State.BROKEN},
    _State.OPEN: {_State.ENDED, _State.BROKEN},
    _State.ENDED: {_State.BROKEN},
    _State.BROKEN: set(),
}


class Wire(Protocol):
    """What an exchange needs of a connection, be it one of TCP or in memory."""

    def send(self, data: bytes) -> None:
        """Send all of the data; a ConnectionError says that the connection is over."""

    def finish(self, *, notify: bool) -> None:
        """End what is sent, with a goodbye before it if there is one to be said."""

    def reset(self) -> None:
        """Break the connection."""

    def give_turn(self) -> None:
        """Let the next request on this connection be answered."""

    def wait_gone(self, timeout: float) -> bool:
        """Wait until the connection is over; return whether the client has ended it."""


class Exchange:
    """A request that a client sent, and the response that it gets.

    Get one from `SSEServer.accept` or in a handler. The first `send`, `comment` or `write` opens
    the response with the defaults, if `open` has not. Any thread may call any method. Those that
    send block while the client does not read and its window is full; they raise `ConnectionError`
    once the client has gone, the test broke the connection, or the server stopped.

    Attributes:
        request: What the client sent.
    """

    def __init__(self, request: RecordedRequest, connection: Wire) -> None:
        self.request = request
        #: Whether `stall` was called: the end of a handler then does not end the response.
        self.stalled = False
        self._connection = connection
        self._sending = threading.RLock()
        self._moving = threading.Lock()
        self._state = _State.NEW
        # None until the head is sent, and for good if the test writes the head by hand.
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
            status: The status code. With 204 and 304, as in response to HEAD, no body will go out,
                whatever is written.
            headers: Added to ``Content-Type: text/event-stream``, ``Cache-Control: no-store`` and
                those of the framing; they replace these, and a value of None leaves one out.
            framing: How the client knows where the body ends: ``"chunked"``, ``"close"`` (the end
                of the connection) or ``"length"``.
            content_length: Bytes promised with ``"length"``, counted after compression.
            content_encoding: ``"gzip"`` compresses; each piece is flushed, so it arrives at once.

        Raises:
            RuntimeError: The response is open already, or over.
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
        """Send an event, blank line included, as one piece.

        Args:
            data: The payload; each of its lines becomes a data line.
            event: The event type.
            id: The event's ID. ``""`` sends the empty one, which resets the last event ID.
            retry: The reconnection time in milliseconds.
            comments: Comment lines in the same block.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response has ended.
            ValueError: The format has no way to write that; `write` sends any bytes.
        """
        reset = "id\n" if id == "" else ""
        block = ServerSentEvent(data, event or "message", id or "", retry, comments)
        self.write(f"{reset}{block}".encode())

    def send_event(self, event: ServerSentEvent) -> None:
        """Send an event in its wire format, as one piece; otherwise like `send`."""
        self.write(str(event).encode())

    def comment(self, text: str = "") -> None:
        """Send a comment line without a blank line after it, the usual heartbeat, as one piece.

        Args:
            text: The comment, without line breaks; an empty one is sent as a bare colon.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response has ended.
            ValueError: The text has a line break.
        """
        if "\n" in text or "\r" in text:
            raise ValueError(f"a comment is one line: {text[:80]!r}")
        self.write(f": {text}\n".encode() if text else b":\n")

    def write(self, data: bytes) -> None:
        """Send bytes of the body as one piece: a single HTTP chunk in a single ``sendall``.

        No bytes send nothing: an empty chunk would be the end of the body.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response has ended.
        """
        with self._sending:
            self._require_open()
            self._connection.send(data if self._response is None else self._response.piece(data))

    def write_raw(self, data: bytes) -> None:
        """Send bytes as they are, outside any framing: half a chunk, a false size, another head.

        As the very first thing it replaces `open`: the bytes are the status line and headers, too,
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
        """End the response cleanly; nothing happens if it is over or the client has gone.

        The connection then waits for the client's next request, unless the framing, a
        ``Connection: close`` or a length that was not fulfilled says that it closes.
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
            headers: Added to the length, or replacing it.
            body: The body; text is sent as UTF-8.

        Raises:
            ConnectionError: The connection is over.
            RuntimeError: The response is open already, or over.
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
        """Send a redirect without a body; otherwise like `respond`.

        Args:
            location: The ``Location`` header, absolute or relative.
            status: The status code.
        """
        self.respond(status, {"Location": location})

    def stall(self) -> None:
        """Leave the response as it is, saying nothing, until the server stops or the client goes.

        Does not block. For a handler that returns, it means that the response has not ended; a test
        may go on with it later, from any thread.
        """
        self.stalled = True

    def drop(self) -> None:
        """Send a FIN where the response stands, without ending it: the client sees it cut off.

        Over TLS there is no goodbye either. After a complete response it closes the idle
        connection. Does not block, and makes a blocked send fail.
        """
        if self._try_move(_State.BROKEN):
            self._connection.finish(notify=False)

    def reset(self) -> None:
        """Break the connection with a TCP RST, on its way when this returns.

        What was sent before arrives as far as it had left this machine's send buffer. Makes a
        blocked send fail.
        """
        self._try_move(_State.BROKEN)
        self._connection.reset()

    def wait_closed(self, timeout: float = 5.0) -> bool:
        """Block until the client has gone: its FIN or RST has arrived.

        Data that it sends does not disturb. A reset by the test counts as gone, too.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            True once it has gone; False at the timeout, or when the server stops first.
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
            raise RuntimeError(f"the response is {self._state.name} already")

    def _try_move(self, state: _State) -> bool:
        with self._moving:
            allowed = state in _MOVES[self._state]
            if allowed:
                self._state = state
            return allowed
