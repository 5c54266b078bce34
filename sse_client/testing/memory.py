"""A connection without a socket, which passes bytes between threads and can be cut off anywhere.

The server's end is a `Wire` of `exchange.py`. urllib3 uses the client's end as a socket. The bytes
from the client become a request when it begins to read the response.

The server's threads call `send` and the other methods of a `Wire`. One thread of the client calls
`sendall` and reads. Any thread may call `shutdown` and `stop`. The only lock is `_changed`. It is
reentrant, because a finaliser that shuts the connection down may run on a thread that holds it. The
reading thread waits on a doorbell, on the test's clock, without holding the lock.
"""

from __future__ import annotations

import enum
import errno
import io
import threading
from typing import TYPE_CHECKING

from sse_client.clock import Doorbell
from sse_client.testing.request import BadRequestError, RecordedRequest, RequestReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from sse_client.clock import Clock

#: The maximum of unread bytes. Beyond it a sender waits, as with a TCP window.
_WINDOW = 256 * 1024


class _End(enum.Enum):
    """What has ended the connection. The first end counts, except for the client's close."""

    NONE = enum.auto()
    FINISHED = enum.auto()  # the server, with an end after the sent data
    RESET = enum.auto()  # the server, with a reset after the sent data
    STOPPED = enum.auto()  # the server has stopped
    LEFT = enum.auto()  # the client


_MOVES: dict[_End, set[_End]] = {
    _End.NONE: {_End.FINISHED, _End.RESET, _End.STOPPED, _End.LEFT},
    _End.FINISHED: {_End.RESET, _End.STOPPED, _End.LEFT},
    _End.RESET: set(),
    _End.STOPPED: set(),
    _End.LEFT: set(),
}


class MemoryConnection:
    """Both ends of a connection.

    Args:
        clock: Measures read timeouts.
        on_request: Called on the client's thread with each of its requests.
        number: Identifies the connection, like the client's port.
        scheme: ``"http"``, or ``"https"`` without any TLS.
    """

    def __init__(
        self,
        clock: Clock,
        on_request: Callable[[RecordedRequest, MemoryConnection], None],
        number: int,
        scheme: str,
    ) -> None:
        self._clock = clock
        self._on_request = on_request
        self._requests = RequestReader(self._take_sent, number, scheme)
        self._changed = threading.Condition()  # around an RLock
        self._bell = Doorbell()
        self._end = _End.NONE
        self._sent = bytearray()  # by the client
        self._arrived = bytearray()  # at the client
        self._timeout: float | None = None
        self._files = 0
        self._is_closed = False

    # The server's end.

    def send(self, data: bytes) -> None:
        """Send all of the data. Blocks while too much is unread.

        Raises:
            ConnectionError: The connection is over.
        """
        rest = memoryview(data)
        with self._changed:
            while rest:
                self._changed.wait_for(
                    lambda: self._end is not _End.NONE or len(self._arrived) < _WINDOW
                )
                if self._end is not _End.NONE:
                    raise BrokenPipeError("the connection is over")
                room = _WINDOW - len(self._arrived)
                self._arrived += rest[:room]
                rest = rest[room:]
                self._tell()

    def finish(self, *, notify: bool) -> None:  # noqa: ARG002  # there is no TLS
        """Let the client see the end after the sent data. Does not block."""
        self._move(_End.FINISHED)

    def reset(self) -> None:
        """Let the client see a reset after the sent data. Does not block."""
        self._move(_End.RESET)

    def stop(self) -> None:
        """End the connection because the server stops. Does not block."""
        self._move(_End.STOPPED)

    def give_turn(self) -> None:
        """Do nothing, because the client may send another request at any time."""

    def wait_gone(self, timeout: float) -> bool:
        """Block until the client has left, for at most ``timeout`` seconds. Return whether it has.

        A reset also counts.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.is_over, timeout)
            return self._end in {_End.LEFT, _End.RESET}

    # The client's end, with the names of a socket.

    def sendall(self, data: Buffer) -> None:
        """Send a part of a request."""
        with self._changed:
            if self._end is not _End.NONE:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            self._sent += data

    def settimeout(self, timeout: float | None) -> None:
        """Set how long each read may wait, in seconds on the clock."""
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """Return what `settimeout` has set."""
        return self._timeout

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a file to read from. Closing all files and the socket ends the connection."""
        assert mode == "rb", "http.client only reads"
        with self._changed:
            self._files += 1
        return io.BufferedReader(_MemoryFile(self))

    def shutdown(self, how: int) -> None:  # noqa: ARG002  # it is always both ways
        """Leave at once. A reading thread sees the end."""
        self._move(_End.LEFT)

    def close(self) -> None:
        """Leave once all files are also closed."""
        with self._changed:
            self._is_closed = True
            self._leave_if_unused()

    @property
    def is_over(self) -> bool:
        """Whether its end is final."""
        return not _MOVES[self._end]

    @property
    def is_idle(self) -> bool:
        """Whether another request may be sent."""
        return self._end is _End.NONE and not self._arrived

    # For the file.

    def receive_into(self, buffer: memoryview) -> int:
        """Read the bytes that have arrived. Blocks until there are some. Returns 0 at the end.

        Raises:
            TimeoutError: No bytes arrived in time.
            ConnectionResetError: The server broke the connection.
        """
        self._hand_over_request()
        timeout = self._timeout
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while (size := self._read_arrived(buffer)) is None:
            if deadline is None:
                self._bell.wait()
            elif self._clock.monotonic() < deadline:
                self._clock.wait_until(self._bell, deadline)
            else:
                raise TimeoutError("timed out")
        return size

    def release(self) -> None:
        """Record that a file was closed."""
        with self._changed:
            self._files -= 1
            self._leave_if_unused()

    def _read_arrived(self, buffer: memoryview) -> int | None:
        """Return the number of bytes read, 0 at the end, or None if there are none yet."""
        with self._changed:
            if self._arrived and self._end is not _End.LEFT:
                size = min(len(buffer), len(self._arrived))
                buffer[:size] = self._arrived[:size]
                del self._arrived[:size]
                self._tell()
                return size
            if self._end is _End.RESET:
                raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            return None if self._end is _End.NONE else 0

    def _hand_over_request(self) -> None:
        if not self._sent:
            return
        try:
            request = self._requests.read()
        except BadRequestError:
            self._move(_End.FINISHED)  # as a real server would
            return
        if request is not None:  # otherwise its announced body is not complete
            self._on_request(request, self)

    def _take_sent(self) -> bytes:
        sent = bytes(self._sent)
        self._sent.clear()
        return sent

    def _leave_if_unused(self) -> None:
        if self._is_closed and not self._files:
            self._move(_End.LEFT)

    def _move(self, end: _End) -> None:
        with self._changed:
            if end in _MOVES[self._end]:
                self._end = end
                self._tell()

    def _tell(self) -> None:
        self._changed.notify_all()
        self._bell.ring()


class _MemoryFile(io.RawIOBase):
    """The raw file of ``makefile``."""

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        return self._connection.receive_into(memoryview(buffer).cast("B"))

    def close(self) -> None:
        if not self.closed:
            self._connection.release()
        super().close()
