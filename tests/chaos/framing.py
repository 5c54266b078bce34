"""The body of a response in each framing, and ways to corrupt it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

#: The Content-Length of a stream, in bytes, which ends in the middle of an event. It is larger than
#: the largest event, which would otherwise never arrive.
_LENGTH = 32_000


class Body:
    """The body of a response, in one of the framings."""

    def __init__(self, sock: socket.socket, framing: str) -> None:
        self._sock = sock
        self._framing = framing
        self._left = _LENGTH
        self._zip = zlib.compressobj(wbits=31) if framing.startswith("gzip") else None

    def head(self) -> list[str]:
        lines = ["Content-Encoding: gzip"] if self._zip else []
        if self._framing.endswith("chunked"):
            lines.append("Transfer-Encoding: chunked")
        elif self._framing == "length":
            lines.append(f"Content-Length: {_LENGTH}")
        return lines

    def write(self, data: bytes) -> None:
        """Send the data. Raise EOFError once the announced length is reached."""
        if self._zip:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        self._send(data)

    def _send(self, data: bytes) -> None:
        if self._framing.endswith("chunked"):
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self._framing == "length":
            data = data[: self._left]
            self._left -= len(data)
        self._sock.sendall(data)
        if not self._left:
            raise EOFError

    def end(self) -> None:
        if self._zip:
            self._send(self._zip.flush())
        if self._framing.endswith("chunked"):
            self._sock.sendall(b"0\r\n\r\n")

    def corrupt(self) -> None:
        """Send an invalid body, or break off if no body can be invalid in this framing."""
        if self._zip:
            self._send(b"\x07")  # a block of a type that does not exist
        elif self._framing == "chunked":
            self._sock.sendall(b"no size\r\n")
