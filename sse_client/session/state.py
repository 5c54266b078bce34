"""The state of a stream, and the requests of other threads to its reader thread."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING

from sse_client.channel.waiting import WaitList
from sse_client.errors import SessionClosedError
from sse_client.http.aborting import ConnectionAborted

if TYPE_CHECKING:
    from sse_client.clock import Deadline, Doorbell
    from sse_client.http.stream_connection import StreamConnection


class ReadyState(enum.Enum):
    """The states of a session (WHATWG HTML, section 9.2.2, readyState)."""

    CONNECTING = 0
    OPEN = 1
    CLOSED = 2


#: The legal transitions. Only ``StreamState._move`` performs them.
MOVES = {
    ReadyState.CONNECTING: {ReadyState.OPEN, ReadyState.CLOSED},
    ReadyState.OPEN: {ReadyState.CONNECTING, ReadyState.CLOSED},
    ReadyState.CLOSED: set[ReadyState](),
}


class Request(enum.IntEnum):
    """A request of another thread to the reader thread. The greatest of several counts."""

    NONE = 0
    #: Drop the connection, or the wait for it, and open the next one now.
    RECONNECT = 1
    #: End, and let the consumers take what has arrived.
    DRAIN = 2
    #: End, and deliver nothing more.
    STOP = 3


class Opening(enum.Enum):
    """The outcome of the first connection, for which ``sse`` waits."""

    PENDING = enum.auto()
    ACCEPTED = enum.auto()
    FAILED = enum.auto()


class StreamState:
    """The state of a stream, and the request to its reader thread. Thread-safe.

    One lock guards everything, and is never held across I/O, a hook or a put. It is reentrant,
    because a finaliser that stops the reader may run on a thread that holds it. Only the methods
    whose names begin with ``wait`` block.

    Args:
        wake: The doorbell on which the reader thread waits.

    Attributes:
        error: The error that ended the stream. None if it has not ended, or ended cleanly.
        request: The request to the reader thread. Only this class sets it.
    """

    # There is one per open stream, and there may be thousands.
    __slots__ = (
        *("_closers", "_connection", "_is_finished", "_lock", "_openers", "_opening"),
        *("_ready_state", "_wake", "error", "request"),
    )

    def __init__(self, wake: Doorbell) -> None:
        self.error: Exception | None = None
        self._wake = wake
        self._ready_state = ReadyState.CONNECTING
        self.request = Request.NONE
        self._opening = Opening.PENDING
        self._is_finished = True  # until it begins
        self._connection: StreamConnection | None = None
        self._make_lock()

    def _make_lock(self) -> None:
        self._lock = threading.RLock()
        self._openers = WaitList(self._lock)  # the threads that wait in ``sse``
        self._closers = WaitList(self._lock)  # the threads that wait in ``close``

    @property
    def ready_state(self) -> ReadyState:
        """The state that users see."""
        return self._ready_state

    @property
    def opening(self) -> Opening:
        """The outcome of the first connection."""
        return self._opening

    # For any thread.

    def ask(self, request: Request) -> None:
        """Make a request to the reader thread, and end its waits.

        Raises:
            SessionClosedError: It cannot reconnect, because the stream has ended.
        """
        with self._lock:
            if self._ready_state is ReadyState.CLOSED and request is Request.RECONNECT:
                raise SessionClosedError("a session that has ended cannot reconnect")
            self.request = max(self.request, request)
            if request is not Request.RECONNECT:
                self._move(ReadyState.CLOSED)
                self.settle(Opening.FAILED)
            connection = self._connection
        if connection is not None:
            connection.abort()
        self._wake.ring()

    def wait_until_settled(self) -> Opening:
        """Block until the first connection has been accepted or has failed."""
        while not self._is_settled():
            self._openers.wait(self._is_settled, None)
        return self._opening

    async def until_settled(self) -> Opening:
        """Suspend the asyncio task until the first connection has been accepted or has failed."""
        while not self._is_settled():
            await self._openers.wait_in_task(self._is_settled)
        return self._opening

    def wait_until_finished(self, deadline: Deadline) -> None:
        """Block until no thread works on the stream, or the deadline has passed."""
        while not self._is_over() and self._closers.wait(self._is_over, deadline.moment):
            pass

    def _is_over(self) -> bool:
        return self._is_finished

    def _is_settled(self) -> bool:
        return self._opening is not Opening.PENDING

    def disown(self, error: Exception) -> None:
        """Close in a forked child, whichever locks were held at the fork. Never blocks."""
        self._make_lock()
        self._is_finished = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disown()
        self.request = Request.STOP  # a reader that is a greenlet continues in the child
        self.error = error
        self._move(ReadyState.CLOSED)

    # For the reader thread.

    def raise_if_stopped(self) -> None:
        """Raise ConnectionAborted if the thread must end."""
        if self.request >= Request.DRAIN:
            raise ConnectionAborted

    def connecting(self) -> None:
        """Move to CONNECTING. Raise ConnectionAborted if the thread must end."""
        self._move_unless_stopped(ReadyState.CONNECTING)

    def opened(self) -> None:
        """Move to OPEN. Raise ConnectionAborted if the thread must end."""
        self._move_unless_stopped(ReadyState.OPEN)

    def settle(self, opening: Opening) -> None:
        """Set the outcome of the first connection, unless it is already set."""
        with self._lock:
            if self._opening is Opening.PENDING:
                self._opening = opening
                self._openers.wake_all()

    def use(self, connection: StreamConnection) -> None:
        """Record a new connection, which fulfils any request to reconnect."""
        with self._lock:
            self._grant_reconnect()
            self._connection = connection

    def leave(self) -> None:
        """Forget the connection, which is about to be closed."""
        with self._lock:
            self._connection = None

    def take_reconnect(self) -> bool:
        """Return whether an immediate reconnection was requested. If so, move to CONNECTING.

        Raises:
            ConnectionAborted: The thread must end.
        """
        with self._lock:
            self.raise_if_stopped()
            asked = self._grant_reconnect()
            if asked:
                self._move(ReadyState.CONNECTING)
            return asked

    def end(self, error: Exception | None) -> Exception | None:
        """Move to CLOSED at the end of the thread. Return the error of the session.

        After a request to end there is none, because ending caused the error.
        """
        with self._lock:
            if self.request < Request.DRAIN:
                self.error = error
            self._move(ReadyState.CLOSED)
            return self.error

    def begin(self) -> None:
        """Record that a thread works on the stream from now on."""
        self._is_finished = False

    def finish(self) -> None:
        """Record that no thread works on the stream."""
        with self._lock:
            self._is_finished = True
            self._closers.wake_all()

    def _grant_reconnect(self) -> bool:
        """Fulfil a request to reconnect, and return whether there was one. Requires the lock."""
        asked = self.request is Request.RECONNECT
        if asked:
            self.request = Request.NONE
        return asked

    def _move_unless_stopped(self, state: ReadyState) -> None:
        with self._lock:
            self.raise_if_stopped()
            self._move(state)

    def _move(self, state: ReadyState) -> None:
        """Change the state. No other method does this."""
        if state is not self._ready_state:
            assert state in MOVES[self._ready_state], f"{self._ready_state} -> {state}"
            self._ready_state = state
