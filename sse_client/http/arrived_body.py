"""The body of a response that is read only when a selector reports data."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

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
        *("_decoder", "_file", "_is_closed", "_kept_open", "_pending", "_raise_if_aborted"),
        *("_receive", "_response", "_socket", "_source", "fileno", "has_ended", "is_layered"),
    )

    def __init__(
        self,
        response: requests.Response,
        plain: PlainBody,
        raise_if_aborted: Callable[[], None],
    ) -> None:
        self._response = response
        self._decoder = plain.decoder
        self._raise_if_aborted = raise_if_aborted
        self._source = plain.response
        self._file: Any = plain.file
        self._socket = plain.socket
        self._is_closed = False  # whether the user has closed it
        self.has_ended = self._decoder.has_ended
        self.fileno: int = self._socket.fileno()
        self._pending = getattr(self._socket, "pending", None)
        self.is_layered = self._pending is not None
        # This file keeps the descriptor open if the user closes the response, because a selector
        # still uses the number. The shutdown then makes the selector report it.
        self._kept_open = self._socket.makefile("rb", buffering=0)
        self._source.before_close = partial(self._be_closed, os.getpid())
        self._socket.settimeout(0.0)
        self._receive: Callable[[int], bytes | None] = self._receive_buffered

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
            if data:
                decoder = self._decoder
                body = decoder.feed(data)
                self.has_ended = decoder.has_ended
                return body or (b"" if self.has_ended else None)
            if data is not None and not self._is_closed:
                self._decoder.finish()
        except _NOT_YET:
            self._raise_if_aborted()
            return None
        except ValueError:
            return b""  # the user has closed the response
        except (HTTPError, OSError) as error:
            self._raise_if_aborted()
            raise stream_interrupted(error, self._response) from printable_cause(error)
        return data

    def _receive_buffered(self, size: int) -> bytes | None:
        """Return the bytes that arrived with the header, and stop buffering."""
        file, self._file = self._file, None
        self._receive = self._socket.recv
        try:
            return file.read1(size) or None  # everything in the buffer
        finally:
            # Its two kilobytes are a tenth of the memory of an open stream.
            self._source.release_buffer()

    def has_more(self) -> bool:
        """Return whether there is more to read that a selector does not report."""
        return self._pending is not None and self._pending() > 0

    def close(self) -> None:
        """Release the descriptor. The code that opened the connection closes it."""
        self._source.before_close = None
        self._kept_open.close()

    def _be_closed(self, process_id: int) -> None:
        """Make the selector report that the user closes the response. Thread-safe."""
        self._is_closed = True
        if os.getpid() == process_id:  # otherwise the parent also uses it
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
