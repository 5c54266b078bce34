"""Removes the framing of a body and finds its end (RFC 9112, section 6). No I/O.

Each decoder takes the bytes of a connection, however they are split, and finds the byte at which
the body ends. ``finish`` is called at the end of the connection. It raises an error if the body is
not complete.
"""

from __future__ import annotations

from typing import Protocol

from urllib3.exceptions import ProtocolError

from sse_client.http.response_head import MAX_TRAILERS_SIZE

#: The maximum length of a line in the framing.
_MAX_LINE = 8 * 1024

_CR = 13

_HEX_DIGITS = b"0123456789abcdefABCDEF"

# Creating the slice for each chunk would cost as much as slicing it.
_LAST_TWO = slice(-2, None)

#: More digits than the size of any chunk that a single read returns.
_MAX_USUAL_DIGITS = 8

#: More digits than any size has, including leading zeros.
_MAX_SIZE_DIGITS = 64


class BodyDecoder(Protocol):
    """The interface of all decoders. Not thread-safe. Never blocks."""

    @property
    def has_ended(self) -> bool:
        """Whether all of the body has come."""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body among these; what is after its end is dropped."""

    def finish(self) -> None:
        """Report the end of the connection. Raise ProtocolError if the body is not complete."""


class UntilClosed:
    """A body that ends with the connection."""

    __slots__ = ("has_ended",)

    def __init__(self) -> None:
        self.has_ended = False

    def feed(self, data: bytes) -> bytes:
        """Return the bytes, all of which belong to the body."""
        return data

    def finish(self) -> None:
        """Record that the body has ended."""
        self.has_ended = True


class LengthDecoder:
    """A body of a known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def has_ended(self) -> bool:
        """Whether all of the body has come."""
        return not self._left

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body among these; what is after its end is dropped."""
        if len(data) > self._left:
            data = data[: self._left]
        self._left -= len(data)
        return data

    def finish(self) -> None:
        """Raise ProtocolError if the body has not ended."""
        if self._left:
            raise ProtocolError(
                f"the connection ended {self._left} bytes before the end of the body"
            )


class ChunkDecoder:
    """Decodes the chunks of a body (RFC 9112, section 7.1), however the bytes are split.

    Attributes:
        has_last_chunk: Whether the last chunk, which is empty, has arrived.
        has_ended: Whether the trailers after it have also arrived.
    """

    def __init__(self) -> None:
        self.has_last_chunk = False
        self.has_ended = False
        self._error: ProtocolError | None = None
        #: Whether the next byte begins a chunk.
        self._is_between_chunks = True
        self._left = 0  # the rest of the current chunk, including the line end after it
        self._line = b""  # the beginning of an unfinished line
        self._trailers_size = 0

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body among these. Bytes after its end are dropped.

        Raises:
            ProtocolError: The framing is malformed. Valid bytes before the error are returned
                first, and the next call raises it.
        """
        if self._is_between_chunks and data[_LAST_TWO] == b"\r\n":
            # A chunk of a live stream usually arrives alone.
            end = data.find(b"\r\n", 0, _MAX_USUAL_DIGITS)
            digits = data[:end]
            if end > 0 and not digits.strip(_HEX_DIGITS):
                size = int(digits, 16)
                if size and size == len(data) - end - 4:
                    return data[end + 2 : -2]
        if self._error is not None:
            raise self._error
        if self.has_ended:
            return b""
        parts: list[bytes] = []
        if self._line:
            data = self._line + data
            self._line = b""
        self._is_between_chunks = False
        try:
            self._take_apart(data, parts)
        except ProtocolError as error:
            if not parts:
                raise
            self._error = error
        else:
            self._is_between_chunks = not (self._left or self._line or self.has_last_chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """Raise ProtocolError if the body has not ended.

        The trailers and the blank line after them may be missing, because many servers omit them.
        """
        if not self.has_last_chunk:
            raise ProtocolError("the connection ended before the last chunk")

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
                # A bare LF is accepted, as everywhere.
                has_cr = end > position and data[end - 1] == _CR
                digits_end = end - 1 if has_cr else end
                size = _size_of(data[position:digits_end])
                position = end + 1
                if not size:
                    self.has_last_chunk = True
                    break
                left = size + 2
            # A line end follows the bytes of the chunk. It may itself be split.
            stop = position + left
            if left > 2:
                parts.append(data[position : stop - 2])
            line_end = min(2, left)
            found = data[stop - line_end : stop]
            if found != b"\r\n" and not b"\r\n"[2 - line_end :].startswith(found):
                raise ProtocolError("a chunk is longer than announced")
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
    """Parse the size of a chunk. Extensions are ignored."""
    if line.strip(_HEX_DIGITS):
        line = line.partition(b";")[0].strip()
    if not line or line.strip(_HEX_DIGITS) or len(line) > _MAX_SIZE_DIGITS:
        raise ProtocolError("the size of a chunk is not a number")
    return int(line, 16)
