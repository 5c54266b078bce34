"""The body of a response, read as it arrives and in as few steps as possible.

Of urllib3's methods only ``raw.read1`` returns what has arrived immediately, with every framing
and content encoding. But it returns at most one HTTP chunk per call, and one packet of a backlog
may hold hundreds. So if the response is chunked and not encoded, its bytes are read below
urllib3, and all chunks that have arrived are decoded together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.exceptions import ProtocolError

from sse_client.http.niquests import reader_of
from sse_client.http.response_head import (
    BUFFER_SIZE,
    MAX_TRAILERS_SIZE,
    BoundedFile,
    bounded_response_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: The most that one read may return, and that one step of decompression may give: a bound against
#: bombs, and as much as a backlog needs to be read fast.
READ_SIZE = 64 * 1024

#: The longest line in the framing: it is thrown away.
_MAX_LINE = 8 * 1024

_CR = 13

_HEX_DIGITS = b"0123456789abcdefABCDEF"

#: More than any size has, leading zeros included.
_MAX_SIZE_DIGITS = 64


def body_reader(raw: Any) -> Callable[[], bytes]:
    """Return a function that waits for the next bytes of the body and returns them.

    From then on nothing else may read the body: what has been read stays here.

    At the end of the body it returns ``b""``. It raises an OSError (of which TimeoutError is one)
    or an ``HTTPError`` of urllib3.
    """
    file = _file_of_plain_chunks(raw)
    return reader_of(raw, READ_SIZE) if file is None else _ChunkedBody(file).read


def _file_of_plain_chunks(raw: Any) -> BoundedFile | None:
    """Return the socket's buffer if nothing but chunks lies between that and the body."""
    http_response: Any = bounded_response_of(raw)
    if http_response is None:
        return None
    is_plain = (
        type(raw) is urllib3.HTTPResponse
        and isinstance(http_response.fp, BoundedFile)
        and http_response.chunked is True
        and http_response.chunk_left is None
        and http_response.request_method != "HEAD"
        and getattr(raw, "chunked", None) is True
        and getattr(raw, "chunk_left", 0) is None
        and raw.headers.get("Content-Encoding", "identity").strip().lower() in {"", "identity"}
    )
    return http_response.fp if is_plain else None


class _ChunkedBody:
    """Reads a chunked body from the buffered socket."""

    def __init__(self, file: BoundedFile) -> None:
        self._file = file
        self._chunks = ChunkDecoder()
        self._is_behind = False  # there was more than fits into the file's own buffer

    def read(self) -> bytes:
        while not self._chunks.has_ended:
            try:
                if not self._is_behind:
                    # This waits with the file's own buffer. The buffer of a read is made
                    # beforehand, and is much for each of a thousand streams that wait.
                    self._file.peek(1)
                data = self._file.read1(READ_SIZE)
            except ValueError:
                return b""  # the user has closed the response
            if not data:
                if self._chunks.has_last_chunk:
                    return b""  # only the line behind it is missing, and many leave it out
                raise ProtocolError("the connection ended before the last chunk")
            # So much may have left more behind.
            self._is_behind = len(data) >= BUFFER_SIZE
            body = self._chunks.feed(data)
            if body:
                return body
        return b""


class ChunkDecoder:
    """Takes the chunks of a body apart (RFC 9112, section 7.1), however the bytes are cut.

    Attributes:
        has_last_chunk: Whether the last chunk has come, which is empty.
        has_ended: Whether the trailers behind it have come, too.
    """

    def __init__(self) -> None:
        self.has_last_chunk = False
        self.has_ended = False
        self._error: ProtocolError | None = None
        self._left = 0  # of the chunk in work, the line end behind it included
        self._line = b""  # the beginning of a line
        self._trailers_size = 0

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body among these; what is behind its end is dropped.

        Raises:
            ProtocolError: This is not how chunks are written. What was right before that is
                returned first, and this raised at the next call.
        """
        if self._error is not None:
            raise self._error
        if self.has_ended:
            return b""
        parts: list[bytes] = []
        if self._line:
            data = self._line + data
            self._line = b""
        try:
            self._take_apart(data, parts)
        except ProtocolError as error:
            if not parts:
                raise
            self._error = error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_apart(self, data: bytes, parts: list[bytes]) -> None:
        position = 0
        length = len(data)
        left = self._left
        while position < length and not self.has_last_chunk:
            if not left:
                end = data.find(b"\n", position)
                if end < 0:
                    self._left = 0
                    self._keep_line(data[position:])
                    return
                _check_line(end - position)
                # An LF alone is tolerated, as everywhere.
                has_cr = end > position and data[end - 1] == _CR
                digits_end = end - 1 if has_cr else end
                size = _size_of(data[position:digits_end])
                position = end + 1
                if not size:
                    self.has_last_chunk = True
                    break
                left = size + 2
            # Behind the bytes of the chunk there is a line end, which may itself be cut.
            stop = position + left
            if left > 2:
                parts.append(data[position : stop - 2])
            line_end = min(2, left)
            found = data[stop - line_end : stop]
            if found != b"\r\n" and not b"\r\n"[2 - line_end :].startswith(found):
                raise ProtocolError("a chunk is longer than it says")
            left = stop - length if stop > length else 0
            position = stop
        self._left = left
        if self.has_last_chunk:
            self._skip_trailers(data[position:])

    def _skip_trailers(self, data: bytes) -> None:
        *lines, begin = data.split(b"\n")
        for line in lines:
            if line in {b"", b"\r"}:
                self.has_ended = True
                return
            _check_line(len(line))
            self._trailers_size += len(line) + 1
            if self._trailers_size > MAX_TRAILERS_SIZE:
                raise ProtocolError("the trailers are too long")
        self._keep_line(begin)

    def _keep_line(self, begin: bytes) -> None:
        _check_line(len(begin))
        self._line = begin


def _check_line(length: int) -> None:
    if length > _MAX_LINE:
        raise ProtocolError("a line between the chunks is too long")


def _size_of(line: bytes) -> int:
    """Read the size of a chunk; extensions are skipped."""
    if line.strip(_HEX_DIGITS):
        line = line.partition(b";")[0].strip()
    if not line or line.strip(_HEX_DIGITS) or len(line) > _MAX_SIZE_DIGITS:
        raise ProtocolError("the size of a chunk is not a number")
    return int(line, 16)
