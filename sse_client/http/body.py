"""Reads the body of a response as it arrives, in as few steps as possible.

Only urllib3's ``raw.read1`` returns arrived bytes immediately for every framing and content
encoding. But it returns at most one HTTP chunk per call, while one packet of a backlog may contain
hundreds, and it always blocks. So if the response is not encoded, its bytes are read below urllib3,
and ``framing`` decodes all arrived bytes at once.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import urllib3

from sse_client.http.framing import ChunkDecoder, LengthDecoder, UntilClosed
from sse_client.http.niquests import reader_of
from sse_client.http.response_head import BUFFER_SIZE, BoundedFile, bounded_response_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.http.framing import BodyDecoder
    from sse_client.http.response_head import BoundedResponse

#: The maximum number of bytes of one read and of one step of decompression. It protects against
#: decompression bombs, and is large enough to read a backlog fast.
READ_SIZE = 64 * 1024


def body_reader(raw: Any) -> Callable[[], bytes]:
    """Return a function that waits for the next bytes of the body and returns them.

    Nothing else may read the body from then on, because bytes may be buffered here.

    At the end of the body the function returns ``b""``. It raises an OSError (such as TimeoutError)
    or an ``HTTPError`` of urllib3.
    """
    body = plain_body_of(raw)
    return reader_of(raw, READ_SIZE) if body is None else body.read


def plain_body_of(raw: Any) -> PlainBody | None:
    """Return a body that is read below urllib3, or None if more than framing must be decoded."""
    http_response: Any = bounded_response_of(raw)
    if http_response is None:
        return None
    is_plain = (
        type(raw) is urllib3.HTTPResponse
        and isinstance(http_response.fp, BoundedFile)
        and http_response.request_method != "HEAD"
        and raw.headers.get("Content-Encoding", "identity").strip().lower() in {"", "identity"}
        and raw.tell() == 0
        and bool(raw.chunked) is bool(http_response.chunked)
    )
    if not is_plain:
        return None
    decoder: BodyDecoder
    if http_response.chunked is True:
        if http_response.chunk_left is not None or getattr(raw, "chunk_left", 0) is not None:
            return None  # reading has already begun
        decoder = ChunkDecoder()
    elif http_response.length is None:
        decoder = UntilClosed()
    else:
        decoder = LengthDecoder(http_response.length)
    return PlainBody(http_response, decoder)


class PlainBody:
    """Reads a body from its connection, and waits for bytes.

    Args:
        response: The response that has read the header, from a buffered connection.
        decoder: Decodes the framing of the body.

    Attributes:
        socket: The socket of the connection.
        response, decoder: The arguments.
        file: The connection's file, which may hold bytes that arrived with the header.
    """

    __slots__ = ("_is_behind", "decoder", "file", "response", "socket")

    def __init__(self, response: BoundedResponse, decoder: BodyDecoder) -> None:
        self.socket: Any = response.socket
        self.response = response
        self.file: Any = response.fp
        self.decoder = decoder
        self._is_behind = False  # whether more arrived than fits into the file's buffer

    def read(self) -> bytes:
        """Wait for the next bytes of the body. Return ``b""`` at its end."""
        while not self.decoder.has_ended:
            try:
                if not self._is_behind:
                    # This waits with the file's small buffer. A read allocates its buffer before it
                    # waits, which is too much memory for a thousand waiting streams.
                    self.file.peek(1)
                data = self.file.read1(READ_SIZE)
            except ValueError:
                return b""  # the user has closed the response
            if not data:
                self.decoder.finish()
                return b""
            # After this many bytes there may be more to read.
            self._is_behind = len(data) >= BUFFER_SIZE
            body = self.decoder.feed(data)
            if body:
                return body
        return b""

    @property
    def has_socket(self) -> bool:
        """Whether it is read from a socket. TLS through a TLS proxy, for example, is not."""
        return isinstance(self.socket, socket.socket)
