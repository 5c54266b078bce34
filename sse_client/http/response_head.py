"""The header of a response, read within bounds of time and size.

The standard library mistakes the end of the connection for the end of the header. It takes a
second interim response for the final one, and ends the header at a line that is not a field,
whereupon urllib3 logs the whole address. It limits each line only by itself, and the time-out of
a socket starts again with each byte. So the whole header is read here before the standard library
sees it.
"""

from __future__ import annotations

import errno
import http.client
import io
import re
from typing import TYPE_CHECKING, Any, cast

from sse_client.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Clock

#: How much of a connection is buffered, in bytes: enough for a header and for most events. A read
#: of more goes round the buffer. The usual 8 KiB are a fifth of what an open stream takes.
BUFFER_SIZE = 2 * 1024

#: The largest header that is read, in bytes, interim responses included: servers have some
#: kilobytes, and the standard library alone would keep 6.5 MB, or skip interim responses for ever.
MAX_HEADER_SIZE = 256 * 1024

#: The most bytes of trailers behind a body: they are thrown away, but somebody has to wait.
MAX_TRAILERS_SIZE = 64 * 1024

_BLANK_LINES = {b"\r\n", b"\n"}

#: An interim response (RFC 9110, section 15.2), which the final one follows on the same connection;
#: after 101, which nobody asked for, it does not.
_INTERIM = re.compile(rb"HTTP/1\.[0-9][ \t]+1(?!01)[0-9][0-9][ \t\r\n]")

#: A status line (RFC 9112, section 4). It is looked at here since the standard library's errors
#: would repeat whatever else it is.
_STATUS_LINE = re.compile(rb"HTTP/[0-9.]{1,3}[ \t]+[1-9][0-9][0-9][ \t\r\n]")

#: A field (RFC 9112, section 5), by its name and the colon.
_FIELD = re.compile(rb"[!-9;-~]+:")

#: The line end before a line that goes on with a field (RFC 9112, section 5.2), and a CR that ends
#: no line, though the standard library's parser thinks so. Either is as good as a blank.
_NO_LINE_END = re.compile(rb"\r?\n[ \t]+|\r(?!\n)")


class Arrivals(io.RawIOBase):
    """What arrives at a socket, as a file of which all reads together may have a deadline.

    A line, a header or a step of decompression may take any number of reads.

    Args:
        file: The socket's own file, unbuffered.
        sock: The socket, with the time-out that each wait has to itself.
        clock: What the deadline is measured with.
    """

    def __init__(self, file: Any, sock: Any, clock: Clock) -> None:
        self._file = file
        self._socket = sock
        self._clock = clock
        self._timeout: float | None = sock.gettimeout()
        self._deadline: Deadline | None = None

    def read_within(self, seconds: float | None) -> None:
        """Let no read wait for longer than so many seconds from now; None lifts that."""
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
        if self._deadline is not None:
            left = self._deadline.seconds_left()
            if not left:
                raise TimeoutError("timed out")
            self._socket.settimeout(left if self._timeout is None else min(left, self._timeout))
        return self._file.readinto(buffer)

    def close(self) -> None:
        """Close the file; the socket lives as long as it has others."""
        self._file.close()
        super().close()


class BoundedFile(io.BufferedReader):
    """The buffer of a connection, which bounds the lines that are read one after the other.

    The standard library reads the trailers of a body so, however many there are.

    Attributes:
        lines_left: How many bytes the next lines together may have, until something else is read;
            None for any number.
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
        """Read bytes of the body, or the line end behind a chunk, as files do."""
        self.lines_left = MAX_TRAILERS_SIZE
        return super().read(size)


class _Header(io.BufferedIOBase):
    """The header of a response as a file, which is read as a whole when its first line is."""

    def __init__(self, read_header: Callable[[], bytes]) -> None:
        self._read_header = read_header
        self._lines: io.BytesIO | None = None

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line, as files do."""
        if self._lines is None:
            self._lines = io.BytesIO(self._read_header())
        return self._lines.readline(size)


class BoundedResponse(http.client.HTTPResponse):
    """A response whose header is read within bounds, and that buffers little.

    Args:
        timeout: How long the whole header may take, in seconds; None for any time.
        clock: What that is measured with.
        sock: Where to read it from.
        debuglevel: What the standard library prints, for which 0 is nothing.
        method: The method of the request.

    Attributes:
        request_method: The method of the request.
        socket: Where it is read from.
        arrivals: What arrives there.
    """

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
        usual: Any = self.fp  # of a stand-in in somebody's tests it may be anything
        raw = usual.detach() if isinstance(usual, io.BufferedReader) else usual
        self.request_method = method
        self.socket = sock
        self.arrivals = Arrivals(raw, sock, clock)
        self._timeout = timeout
        self._file: Any = BoundedFile(self.arrivals, BUFFER_SIZE)
        # Whoever reads the header begins with its first line, a proxy's tunnel included.
        self.fp = cast("Any", _Header(self._receive_header))

    def begin(self) -> None:
        """Read the header. Blocks."""
        super().begin()
        self.fp = self._file
        self._file.lines_left = MAX_TRAILERS_SIZE
        # What is left is about multipart bodies; urllib3 would log it, and the address with it.
        self.msg.defects.clear()

    def _receive_header(self) -> bytes:
        """Wait for the header of the final response, and return what is a field of it."""
        self.arrivals.read_within(self._timeout)
        try:
            header = self._read_header()
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT or self._timeout is None:
                raise  # the verdict of TCP keep-alive, which is none of ours
            message = f"the header of the response took more than {self._timeout:g} s"
            raise TimeoutError(message) from error
        self.arrivals.read_within(None)
        return _without_what_is_no_field(header)

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

    def close(self) -> None:
        """Close what is read from, also if the header was refused."""
        super().close()
        self._file.close()


def bounded_response_of(raw: Any) -> BoundedResponse | None:
    """Return what a response of urllib3 is read from, None if no connection of ours made it."""
    found = getattr(raw, "bounded_response", None)
    return found if isinstance(found, BoundedResponse) else None


def _check_status_line(line: bytes) -> None:
    """Refuse what begins no response. It may be anything, so the error does not tell it."""
    if not line:
        raise http.client.RemoteDisconnected("the connection ended before a response")
    is_whole = line.endswith(b"\n")
    if not (_STATUS_LINE.match(line) if is_whole else line[:5] == b"HTTP/"[: len(line)]):
        raise http.client.HTTPException("the response is not HTTP")


def _without_what_is_no_field(header: bytes) -> bytes:
    """Leave out the lines that are no field, as browsers do; join those that go on with one."""
    status, _, fields = header.partition(b"\n")
    lines = _NO_LINE_END.sub(b" ", fields).split(b"\n")
    return b"\n".join([status, *filter(_FIELD.match, lines), b"", b""])
