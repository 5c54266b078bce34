"""Writes a response: its head, the framing of its body, and its compression. No I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from sse_client.testing.request import HEADER_ENCODING

if TYPE_CHECKING:
    from sse_client.testing.request import RecordedRequest

#: How the client finds the end of the body.
Framing = Literal["chunked", "close", "length"]

#: Header fields of a response, as a mapping or as pairs (to repeat a name). They replace the
#: server's own fields of the same name. The value None removes the server's own field.
ResponseHeaders = Mapping[str, str | None] | Iterable[tuple[str, str | None]]

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

# zlib's number for the largest window in the gzip format.
_GZIP = 16 + zlib.MAX_WBITS


class Response:
    """The bytes of one response. Not thread-safe.

    Args:
        request: The request that it responds to.
        status: The status code.
        defaults: Header fields other than those of framing and compression.
        headers: The test's header fields, which replace the others.
        framing: How the client finds the end of the body. An HTTP/1.0 client gets ``"close"``
            instead of ``"chunked"``.
        content_length: The length announced with ``"length"``, in bytes.
        content_encoding: ``"gzip"`` or None.

    Raises:
        ValueError: The arguments contradict each other, or one is unknown.

    Attributes:
        head: The status line and the headers.
    """

    def __init__(
        self,
        request: RecordedRequest,
        status: int,
        defaults: Iterable[tuple[str, str]],
        headers: ResponseHeaders | None,
        *,
        framing: Framing,
        content_length: int | None = None,
        content_encoding: Literal["gzip"] | None = None,
    ) -> None:
        if framing not in {"chunked", "close", "length"}:
            raise ValueError(f"framing must be 'chunked', 'close' or 'length', not {framing!r}")
        if (framing == "length") != (content_length is not None):
            raise ValueError("content_length and framing='length' require each other")
        if content_encoding not in {None, "gzip"}:
            raise ValueError(f"content_encoding must be 'gzip' or None, not {content_encoding!r}")
        is_old = request.version == "HTTP/1.0"
        if is_old and framing == "chunked":
            framing = "close"  # HTTP/1.0 has no chunks (RFC 9112, section 6.1)
        self._framing = framing
        self._bodiless = request.method == "HEAD" or status in {204, 304}
        self._missing = content_length or 0
        self._compressor = None if content_encoding is None else zlib.compressobj(wbits=_GZIP)
        own = list(defaults)
        if status != HTTPStatus.NO_CONTENT:
            if content_encoding is not None:
                own.append(("Content-Encoding", content_encoding))
            if framing == "chunked":
                own.append(("Transfer-Encoding", "chunked"))
            if content_length is not None:
                own.append(("Content-Length", str(content_length)))
        if framing == "close" or not request.keep_alive:
            own.append(("Connection", "close"))
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        replaced = {name.lower() for name, _ in pairs}
        fields = [field for field in own if field[0].lower() not in replaced]
        fields += [(name, value) for name, value in pairs if value is not None]
        said = {(name.lower(), value.lower()) for name, value in fields}
        self._announced_close = framing == "close" or ("connection", "close") in said
        lines = [f"HTTP/{'1.0' if is_old else '1.1'} {status} {_PHRASES.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.head = "\r\n".join([*lines, "", ""]).encode(*HEADER_ENCODING)

    def piece(self, data: bytes) -> bytes:
        """Write a piece of the body as one flushed chunk. Return nothing without data or body."""
        if not data or self._bodiless:
            return b""
        if self._compressor is not None:
            data = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return self._framed(data)

    def tail(self) -> bytes:
        """Write the end of the body."""
        if self._bodiless:
            return b""
        tail = b"" if self._compressor is None else self._framed(self._compressor.flush())
        return tail + b"0\r\n\r\n" if self._framing == "chunked" else tail

    @property
    def persistent(self) -> bool:
        """Whether the connection can carry another request after the tail."""
        fulfilled = self._missing <= 0 or self._bodiless
        return fulfilled and not self._announced_close

    def _framed(self, data: bytes) -> bytes:
        if self._framing == "chunked":
            return b"%x\r\n%b\r\n" % (len(data), data)
        self._missing -= len(data)
        return data
