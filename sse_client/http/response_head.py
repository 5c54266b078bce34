"""Reads the header of a response within limits of time and size.

The standard library mistakes the end of the connection for the end of the header, and a second
interim response for the final one. It ends the header at a line that is not a field, whereupon
urllib3 logs the whole address. It limits only single lines, and the timeout of a socket starts
again with each byte. So the whole header is read here before the standard library sees it.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Any, cast

from sse_client.clock import Deadline
from sse_client.http.aborting import shut_down

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Clock

#: The buffer size of a connection, in bytes: enough for a header and for most events. Larger reads
#: bypass the buffer. The usual 8 KiB would be a fifth of the memory of an open stream.
BUFFER_SIZE = 2 * 1024

#: The maximum size of a header in bytes, including interim responses. Servers send a few kilobytes.
#: The standard library alone would accept 6.5 MB, and any number of interim responses.
MAX_HEADER_SIZE = 256 * 1024

#: The maximum bytes of trailers after a body. They are discarded, but reading them takes time.
MAX_TRAILERS_SIZE = 64 * 1024

_BLANK_LINES = {b"\r\n", b"\n"}

#: An interim response (RFC 9110, section 15.2), which a final response follows. None follows a 101,
#: which this client does not request.
_INTERIM = re.compile(rb"HTTP/1\.[0-9][ \t]+1(?!01)[0-9][0-9][ \t\r\n]")

#: A status line (RFC 9112, section 4). It is checked here, because the standard library's errors
#: would quote any other text.
_STATUS_LINE = re.compile(rb"HTTP/[0-9.]{1,3}[ \t]+[1-9][0-9][0-9][ \t\r\n]")

#: The name and the colon of a field (RFC 9112, section 5).
_FIELD = re.compile(rb"[!-9;-~]+:")

#: The line end before a continuation line (RFC 9112, section 5.2), and a bare CR, which does not
#: end a line although the standard library's parser thinks so. Each is replaced by a space.
_NO_LINE_END = re.compile(rb"\r?\n[ \t]+|\r(?!\n)")


class Arrivals(io.RawIOBase):
    """The bytes from a socket, as a file whose reads may share a deadline.

    A line, a header or a step of decompression may take any number of reads.

    Args:
        file: The socket's own unbuffered file.
        sock: The socket, with the timeout of each single wait.
        clock: Measures the deadline.

    Attributes:
        has_socket: Whether they come from a socket. TLS through a TLS proxy, for example, is none.
        is_last: Whether the connection serves no more requests after this is closed.
        is_paused: Whether reads return None, as if no bytes had arrived.
    """

    def __init__(self, file: Any, sock: Any, clock: Clock) -> None:
        self.is_last = False
        self.is_paused = False
        self._is_shut_down = False
        self._process_id = os.getpid()
        self._file = file
        self._socket = sock
        self._clock = clock
        self.has_socket = isinstance(sock, socket.socket)
        self._timeout: float | None = sock.gettimeout()
        self._deadline: Deadline | None = None

    def read_within(self, seconds: float | None) -> None:
        """Limit all reads to this many seconds from now. None removes the limit."""
        self._deadline = None if seconds is None else Deadline.after(seconds, self._clock)
        if seconds is None:
            self._socket.settimeout(self._timeout)

    def readable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return cast("int", self._file.fileno())

    def readinto(self, buffer: Any) -> Any:
        """Wait for bytes, and return their number."""
        if self.is_paused:
            return None
        if self._deadline is not None:
            self._limit_wait(self._deadline)
        return self._file.readinto(buffer)

    def receive(self, size: int) -> bytes:
        """Wait for bytes, and return at most ``size`` of them, ``b""`` at the end."""
        if self._deadline is not None:
            self._limit_wait(self._deadline)
        found: bytes = self._socket.recv(size) if self.has_socket else self._file.read(size)
        return found

    def _limit_wait(self, deadline: Deadline) -> None:
        left = deadline.seconds_left()
        if not left:
            raise TimeoutError("timed out")
        self._socket.settimeout(left if self._timeout is None else min(left, self._timeout))

    def shut_down(self) -> None:
        """End the connection, which is about to be closed. Never blocks."""
        if not self._is_shut_down:
            self._is_shut_down = shut_down(self._socket, self._process_id)

    def close(self) -> None:
        """Close the file. The socket stays open as long as it has other files."""
        if self.is_last and not self.closed:
            # The owner of the socket closes it first, and cannot shut it down afterwards.
            self.shut_down()
        self._file.close()
        super().close()


class BoundedFile(io.BufferedReader):
    """The buffer of a connection, which limits consecutive lines.

    The standard library reads any number of trailers of a body as lines.

    Attributes:
        lines_left: The number of bytes that the next lines may have in total, until something else
            is read. None means no limit.
    """

    lines_left: int | None = None

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line, as files do."""
        line = super().readline(size)
        if self.lines_left is not None:
            self.lines_left -= len(line)
            if self.lines_left < 0:
                what = f"the trailers have more than {MAX_TRAILERS_SIZE} bytes"
                raise http.client.HTTPException(what)
        return line

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes of the body, or the line end after a chunk, as files do."""
        self.lines_left = MAX_TRAILERS_SIZE
        return super().read(size)


class _Header(io.BufferedIOBase):
    """The header of a response as a file. Reading its first line reads the whole header."""

    def __init__(self, read_header: Callable[[], bytes]) -> None:
        self._read_header = read_header
        self._lines: io.BytesIO | None = None

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line, as files do."""
        if self._lines is None:
            self._lines = io.BytesIO(self._read_header())
        return self._lines.readline(size)


class BoundedResponse(http.client.HTTPResponse):
    """A response with a bounded header and a small buffer.

    Args:
        timeout: How long the whole header may take, in seconds. None means no limit.
        clock: Measures the timeout.
        sock: The socket to read from.
        debuglevel: How much the standard library prints. 0 prints nothing.
        method: The method of the request.

    Attributes:
        request_method: The method of the request.
        socket: The socket to read from.
        arrivals: The bytes from the socket.
        was_closed: Whether the user has closed the response after a stream has claimed it.
        urllib3_thread: The thread on which urllib3 is reading the body of a claimed response, which
            it closes after an error.
    """

    was_closed = False
    urllib3_thread: int | None = None

    def __init__(
        self,
        timeout: float | None,
        clock: Clock,
        sock: Any,
        debuglevel: int = 0,
        *,
        method: str | None = None,
    ) -> None:
        super().__init__(sock, debuglevel, method)
        usual: Any = self.fp  # a stand-in in a user's tests may have anything here
        raw = usual.detach() if isinstance(usual, io.BufferedReader) else usual
        #: Taken by whoever closes the response. Only one thread gets it, because ``pop`` is atomic.
        self._right_to_close = [True]
        self.request_method = method
        self.socket = sock
        self.arrivals = Arrivals(raw, sock, clock)
        self._timeout = timeout
        self._file: Any = BoundedFile(self.arrivals, BUFFER_SIZE)
        # The header is read from its first line on, also that of a proxy's tunnel.
        self.fp = cast("Any", _Header(self._receive_header))

    def begin(self) -> None:
        """Read the header. Blocks."""
        self.arrivals.is_last = True  # in case of a failure
        super().begin()
        self.arrivals.is_last = self.will_close
        self.fp = self._file
        self._file.lines_left = MAX_TRAILERS_SIZE
        # The rest is about multipart bodies. urllib3 would log it together with the address.
        self.msg.defects.clear()

    def _receive_header(self) -> bytes:
        """Wait for the header of the final response, and return its valid fields."""
        self.arrivals.read_within(self._timeout)
        try:
            header = self._read_header()
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT or self._timeout is None:
                raise  # TCP keep-alive found the peer dead, which is not our timeout
            message = f"the header of the response took more than {self._timeout:g} s"
            raise TimeoutError(message) from error
        self.arrivals.read_within(None)
        return _only_fields(header)

    def _read_header(self) -> bytes:
        """Return the header of the final response."""
        left = MAX_HEADER_SIZE
        lines: list[bytes] = []
        while True:
            line = self._file.readline(left)
            left -= len(line)
            lines.append(line)
            if len(lines) == 1:
                _check_status_line(line)
            if not line.endswith(b"\n"):
                if left:
                    what = "the connection ended in the middle of the header"
                    raise http.client.RemoteDisconnected(what)
                what = f"the header of the response has more than {MAX_HEADER_SIZE} bytes"
                raise http.client.HTTPException(what)
            if line in _BLANK_LINES:
                if not _INTERIM.match(lines[0]):
                    return b"".join(lines)
                lines.clear()

    def take_buffered(self) -> bytes:
        """Return the bytes that arrived with the header, and stop buffering. Never blocks."""
        self.arrivals.is_paused = True
        arrived = self._file.read1(BUFFER_SIZE)  # the buffer, because nothing more arrives
        # The buffer's two kilobytes are a tenth of the memory of an open stream.
        self._file = self.fp = cast("Any", self._file.detach())
        self.arrivals.is_paused = False
        return arrived or b""

    def claim(self) -> bool:
        """Let only ``finish`` close the response from now on. Thread-safe.

        Otherwise the user could close it on another thread while it is being read.

        Returns:
            False if it was closed or claimed before.
        """
        try:
            return self._right_to_close.pop()
        except IndexError:
            return False

    def close(self) -> None:
        """Close the response, even if the header was refused. Thread-safe.

        If it is claimed, this only ends the connection, and with it any wait for bytes.
        """
        if self.claim():
            self.finish()
        elif self.urllib3_thread != threading.get_ident() and not self.isclosed():
            self.was_closed = True
            self.arrivals.shut_down()

    def finish(self) -> None:
        """Close the response and its file. Only for the code that has claimed it."""
        super().close()
        self._file.close()


def bounded_response_of(raw: Any) -> BoundedResponse | None:
    """Return the response below one of urllib3, or None if our connections did not create it."""
    found = getattr(raw, "bounded_response", None)
    return found if isinstance(found, BoundedResponse) else None


def was_given_back(raw: Any) -> bool:
    """Return whether the connection of a response is in its pool, and may serve other requests."""
    return bounded_response_of(raw) is not None and raw.connection is None


def shut_down_connection_of(raw: Any) -> None:
    """End the connection of a response, which is about to be closed. Never blocks."""
    bounded = bounded_response_of(raw)
    if bounded is not None and not was_given_back(raw):
        bounded.arrivals.shut_down()


def _check_status_line(line: bytes) -> None:
    """Refuse a line that is not a status line. The error does not show its text."""
    if not line:
        raise http.client.RemoteDisconnected("the connection ended before a response")
    is_whole = line.endswith(b"\n")
    if not (_STATUS_LINE.match(line) if is_whole else line[:5] == b"HTTP/"[: len(line)]):
        raise http.client.HTTPException("the response is not HTTP")


def _only_fields(header: bytes) -> bytes:
    """Drop the lines that are not fields, as browsers do. Join continuation lines."""
    status, _, fields = header.partition(b"\n")
    lines = _NO_LINE_END.sub(b" ", fields).split(b"\n")
    return b"\n".join([status, *filter(_FIELD.match, lines), b"", b""])
