"""Where a stream is, and what other threads ask of its reader thread: all of it behind one lock."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING

from sse_client.clock import Doorbell
from sse_client.errors import SessionClosedError
from sse_client.http.aborting import ConnectionAborted

if TYPE_CHECKING:
    from sse_client.http.stream_connection import StreamConnection


class ReadyState(enum.Enum):
    """The states of a session: the spec's readyState (WHATWG HTML, section 9.2.2)."""

    CONNECTING = 0
    OPEN = 1
    CLOSED = 2


#: The legal moves. All are made by ``StreamState._move``.
MOVES = {
    ReadyState.CONNECTING: {ReadyState.OPEN, ReadyState.CLOSED},
    ReadyState.OPEN: {ReadyState.CONNECTING, ReadyState.CLOSED},
    ReadyState.CLOSED: set[ReadyState](),
}


class Request(enum.IntEnum):
    """What other threads ask of the reader thread. Of several requests the greatest counts."""

    NONE = 0
    #: Drop the connection, or the wait for it, and open the next one now.
    RECONNECT = 1
    #: End, and let the consumers take what has arrived.
    DRAIN = 2
    #: End, and deliver nothing more.
    STOP = 3


class Opening(enum.Enum):
    """How the first connection turned out, on which ``sse`` waits."""

    PENDING = enum.auto()
    ACCEPTED = enum.auto()
    FAILED = enum.auto()


class StreamState:
    """Where a stream is, and what is asked of its reader thread. Thread-safe.

    One lock guards all of it, and is never held across I/O, a hook or a put. It is reentrant, since
    a finaliser that stops the reader may run on a thread that holds it. For the same reason threads
    are woken by doorbells. Nothing blocks but ``wait_until_settled``.

    Args:
        wake: What the reader thread waits on, whatever for.

    Attributes:
        error: Why the stream ended, None if it has not, or cleanly.
    """

    # A thousand open streams have one each.
    __slots__ = (
        *("_connection", "_lock", "_opening", "_ready_state", "_request", "_settled", "_wake"),
        "error",
    )

    def __init__(self, wake: Doorbell) -> None:
        self.error: Exception | None = None
        self._wake = wake
        self._ready_state = ReadyState.CONNECTING
        self._request = Request.NONE
        self._opening = Opening.PENDING
        self._settled = Doorbell()  # rung for the one thread that waits in ``sse``
        self._connection: StreamConnection | None = None
        self._lock = threading.RLock()

    @property
    def ready_state(self) -> ReadyState:
        """The state that users see."""
        return self._ready_state

    @property
    def request(self) -> Request:
        """What is asked of the reader thread."""
        return self._request

    @property
    def opening(self) -> Opening:
        """How the first connection turned out."""
        return self._opening

    # For any thread.

    def ask(self, request: Request) -> None:
        """Ask something of the reader thread, and end whatever it waits for.

        Raises:
            SessionClosedError: It cannot reconnect, as the stream has ended.
        """
        with self._lock:
            if self._ready_state is ReadyState.CLOSED and request is Request.RECONNECT:
                raise SessionClosedError("a session that has ended cannot reconnect")
            self._request = max(self._request, request)
            if request is not Request.RECONNECT:
                self._move(ReadyState.CLOSED)
                self.settle(Opening.FAILED)
            connection = self._connection
        if connection is not None:
            connection.abort()
        self._wake.ring()

    def wait_until_settled(self) -> Opening:
        """Block until the first connection was accepted, or never will be. For one thread."""
        while self._opening is Opening.PENDING:
            self._settled.wait()
        return self._opening

    def disown(self, error: Exception) -> None:
        """Close in a forked child, whatever lock was held at the fork. It has no reader thread."""
        self._lock = threading.RLock()
        self._connection = None
        self.error = error
        self._move(ReadyState.CLOSED)

    # For the reader thread.

    def raise_if_stopped(self) -> None:
        """Raise ConnectionAborted once the thread is to end."""
        if self._request >= Request.DRAIN:
            raise ConnectionAborted

    def connecting(self) -> None:
        """Move to CONNECTING, unless it is there; raise ConnectionAborted if it is to end."""
        self._move_unless_stopped(ReadyState.CONNECTING)

    def opened(self) -> None:
        """Move to OPEN; raise ConnectionAborted if the thread is to end."""
        self._move_unless_stopped(ReadyState.OPEN)

    def settle(self, opening: Opening) -> None:
        """Say how the first connection turned out, unless that is known already."""
        with self._lock:
            if self._opening is Opening.PENDING:
                self._opening = opening
        self._settled.ring()

    def use(self, connection: StreamConnection) -> None:
        """Take note of a new connection, which is the one that a request asked for."""
        with self._lock:
            self._grant_reconnect()
            self._connection = connection

    def leave(self) -> None:
        """Forget the connection, which is about to be closed."""
        with self._lock:
            self._connection = None

    def take_reconnect(self) -> bool:
        """Return whether the next connection is asked for at once, and move to CONNECTING if so.

        Raises:
            ConnectionAborted: The thread is to end.
        """
        with self._lock:
            self.raise_if_stopped()
            asked = self._grant_reconnect()
            if asked:
                self._move(ReadyState.CONNECTING)
            return asked

    def end(self, error: Exception | None) -> Exception | None:
        """Move to CLOSED, at the end of the thread; return the error that counts.

        After a request to end none does: what broke then is what ending broke.
        """
        with self._lock:
            if self._request < Request.DRAIN:
                self.error = error
            self._move(ReadyState.CLOSED)
            return self.error

    def _grant_reconnect(self) -> bool:
        """Hold the lock for this."""
        asked = self._request is Request.RECONNECT
        if asked:
            self._request = Request.NONE
        return asked

    def _move_unless_stopped(self, state: ReadyState) -> None:
        with self._lock:
            self.raise_if_stopped()
            self._move(state)

    def _move(self, state: ReadyState) -> None:
        """Change the state: the one place that does."""
        if state is not self._ready_state:
            assert state in MOVES[self._ready_state], f"{self._ready_state} -> {state}"
            self._ready_state = state
