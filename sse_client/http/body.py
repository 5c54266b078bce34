"""Reads the body of a response as it arrives, in as few steps as possible.

Only urllib3's ``raw.read1`` returns arrived bytes immediately for every framing and content
encoding. But it returns at most one HTTP chunk per call, while one packet of a backlog may contain
hundreds, and it always blocks. So if the response is not encoded, its bytes are read below urllib3,
and ``framing`` decodes all arrived bytes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import urllib3

from sse_client.http.framing import ChunkDecoder, LengthDecoder, UntilClosed
from sse_client.http.response_head import BUFFER_SIZE, BoundedFile, bounded_response_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.http.framing import BodyDecoder
    from sse_client.http.response_head import BoundedResponse

#: The maximum number of bytes of one read and of one step of decompression. It protects against
#: decompression bombs, and is large enough to read a backlog fast.
READ_SIZE = 64 * 1024


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
    """A body that is read from its connection. Not thread-safe.

    Nothing else may read the connection from now on.

    Args:
        response: The response that has read the header, from a buffered connection.
        decoder: Decodes the framing of the body.

    Attributes:
        response, decoder: The arguments.
    """

    __slots__ = ("_is_behind", "_receive", "decoder", "response")

    def __init__(self, response: BoundedResponse, decoder: BodyDecoder) -> None:
        self.response = response
        self.decoder = decoder
        self._is_behind = False  # whether more had arrived than the last read could take
        self._receive: Callable[[int], bytes] = self._receive_buffered

    def read(self) -> bytes:
        """Wait for the next bytes of the body. Return ``b""`` at its end.

        Raises:
            OSError, HTTPError: The connection broke off.
            TimeoutError: No bytes arrived in time.
        """
        decoder = self.decoder
        while not decoder.has_ended:
            # A read allocates its buffer before it waits. A large one is too much memory for a
            # thousand waiting streams.
            data = self._receive(READ_SIZE if self._is_behind else BUFFER_SIZE)
            if not data:
                decoder.finish()
                return b""
            self._is_behind = len(data) >= BUFFER_SIZE
            body = decoder.feed(data)
            if body:
                return body
        return b""

    @property
    def has_socket(self) -> bool:
        """Whether it is read from a socket, for which a selector can wait."""
        return self.response.arrivals.has_socket

    def _receive_buffered(self, size: int) -> bytes:
        self._receive = self.response.arrivals.receive
        return self.response.take_buffered() or self._receive(size)
