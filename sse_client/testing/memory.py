"""A connection without a socket: bytes from one thread to another, cut off as a test likes.

The server's end is a `Wire` of `exchange.py`, the client's is what urllib3 takes for a socket. What
the client has sent becomes a request once it begins to read the response.

Threads: those of the server call `send` and the rest of a `Wire`; one thread of the client calls
`sendall` and reads; any may call `shutdown` and `stop`. One lock, `_changed`. It is reentrant: a
finaliser that shuts the connection down may run on a thread that holds it. The reading thread waits
on a doorbell, on the clock that the test moves, and holds nothing meanwhile.
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

#: How much may lie unread, in bytes: then whoever sends waits, as with a window of TCP.
_WINDOW = 256 * 1024


class _End(enum.Enum):
    """Who or what has ended the connection. The first counts, but for the client's close."""

    NONE = enum.auto()
    FINISHED = enum.auto()  # the server: all is sent, and then comes the end
    RESET = enum.auto()  # the server: all is sent, and then it breaks
    STOPPED = enum.auto()  # the server is no more
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
        clock: What read timeouts run on.
        on_request: Called on the client's thread with each request that it has sent.
        number: Tells connections apart, as the client's port does.
        scheme: ``"http"``, or ``"https"`` as it would be with TLS.
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
        """Send all of the data. Blocks while too much lies unread.

        Raises:
            ConnectionError: The connection is over, or ended meanwhile.
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

    def finish(self, *, notify: bool) -> None:  # noqa: ARG002  # nobody says goodbye here
        """Let the client see the end, after what was sent. Does not block."""
        self._move(_End.FINISHED)

    def reset(self) -> None:
        """Let the client see the connection break, after what was sent. Does not block."""
        self._move(_End.RESET)

    def stop(self) -> None:
        """End the connection because the server does. Does not block."""
        self._move(_End.STOPPED)

    def give_turn(self) -> None:
        """Let the client send another request, which it does anyway."""

    def wait_gone(self, timeout: float) -> bool:
        """Block until the client has left, for ``timeout`` seconds at most; return whether it has.

        A reset counts as that, too.
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
        """Return a file to read from; closing it and the socket, in any order, is the end."""
        assert mode == "rb", "http.client only reads"
        with self._changed:
            self._files += 1
        return io.BufferedReader(_MemoryFile(self))

    def shutdown(self, how: int) -> None:  # noqa: ARG002  # it is always both ways
        """Leave at once: whoever reads here sees the end."""
        self._move(_End.LEFT)

    def close(self) -> None:
        """Leave, once all files are closed, too."""
        with self._changed:
            self._is_closed = True
            self._leave_if_unused()

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return not _MOVES[self._end]

    @property
    def is_idle(self) -> bool:
        """Whether another request may be sent."""
        return self._end is _End.NONE and not self._arrived

    # For the file.

    def receive_into(self, buffer: memoryview) -> int:
        """Read what has arrived. Blocks until there is something; returns 0 at the end.

        Raises:
            TimeoutError: Nothing came for too long.
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
        """Take note that a file was closed."""
        with self._changed:
            self._files -= 1
            self._leave_if_unused()

    def _read_arrived(self, buffer: memoryview) -> int | None:
        """Return how much was there, 0 at the end; None if it is worth waiting."""
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
            self._move(_End.FINISHED)  # as a server hangs up on it
            return
        if request is not None:  # else there is more to come, which it claims to send
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
    """What ``makefile`` is made of."""

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
