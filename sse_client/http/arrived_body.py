"""The body of a response that is read only when a selector reports data."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError

from sse_client.http.body import READ_SIZE, PlainBody
from sse_client.http.causes import printable_cause, stream_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

#: The errors of a non-blocking socket on which nothing has arrived.
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ArrivedBody:
    """Reads the bytes of a body that have arrived, and never waits. Not thread-safe.

    Args:
        response: The response.
        plain: Its body, which has a socket. Nothing else may read it from now on.
        raise_if_aborted: Raises an error if the connection was aborted.

    Attributes:
        fileno: The descriptor to wait for.
        has_ended: Whether the whole body has arrived. A selector does not report this end.
        is_layered: Whether bytes may arrive without the selector's knowledge, as with TLS.
    """

    __slots__ = (
        *("_decoder", "_pending", "_raise_if_aborted", "_receive", "_response", "_source"),
        *("fileno", "has_ended", "is_layered"),
    )

    def __init__(
        self,
        response: requests.Response,
        plain: PlainBody,
        raise_if_aborted: Callable[[], None],
    ) -> None:
        self._response = response
        self._source = plain.response
        self._decoder = plain.decoder
        self._raise_if_aborted = raise_if_aborted
        self.has_ended = self._decoder.has_ended
        sock = self._source.socket
        self.fileno: int = sock.fileno()
        self._pending = getattr(sock, "pending", None)
        self.is_layered = self._pending is not None
        sock.settimeout(0.0)
        self._receive: Callable[[int], bytes] = self._receive_buffered

    def read(self) -> bytes | None:
        """Return the bytes that have arrived, ``b""`` at the end, or None if there are none.

        Raises:
            StreamInterruptedError: The connection broke off.
            ConnectionAborted: The connection was aborted.
        """
        if self.has_ended:
            return b""
        try:
            data = self._receive(READ_SIZE)
            self._raise_if_aborted()
            if not data:
                self._decoder.finish()
                return b""
            body = self._decoder.feed(data)
            self.has_ended = self._decoder.has_ended
        except _NOT_YET:
            self._raise_if_aborted()
            return None
        except (HTTPError, OSError) as error:
            self._raise_if_aborted()
            if self._source.was_closed:
                return b""  # by the user
            raise stream_interrupted(error, self._response) from printable_cause(error)
        return body or (b"" if self.has_ended else None)

    def _receive_buffered(self, size: int) -> bytes:
        source = self._source
        self._receive = source.socket.recv
        return source.take_buffered() or self._receive(size)

    def has_more(self) -> bool:
        """Return whether there is more to read that a selector does not report."""
        return self._pending is not None and self._pending() > 0
