"""Reads the chunked body of a caller's response, in as few steps and system calls as possible.

urllib3 takes half of the processor time of a live event, and the standard library a fourth of the
rest. They also wait for a socket with a timeout with two system calls: one that waits, and one that
reads. Between the two another thread may take the interpreter's lock. If many threads read, this
costs another tenth to a fourth of the processor time (``benchmarks/live.py``).
"""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

import urllib3

from sse_client.http.body import READ_SIZE
from sse_client.http.private_names import set_socket_of_file, socket_of_file, source_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Whether the system can limit the waits of a socket that blocks.
_CAN_LIMIT: bool = sys.platform == "linux"

#: No timeout, as the system expects it.
_NO_LIMIT = struct.pack("@ll", 0, 0)

#: The length of the longest line of a chunk's size that is read here, with its end. Longer ones
#: are rare.
_LONGEST_SIZE = 12


def chunked_body_of(raw: Any) -> ChunkedBody | None:
    """Return a body that is read below urllib3, or None if that is not possible."""
    source = source_of(raw)
    is_chunked = (
        type(raw) is urllib3.HTTPResponse
        and type(source) is http.client.HTTPResponse
        and type(source.fp) is io.BufferedReader
        and source.chunked is True
        and raw.headers.get("Content-Encoding", "identity").strip().lower() in {"", "identity"}
        and raw.tell() == 0
    )
    return ChunkedBody(source) if is_chunked else None


class ChunkedBody:
    """Reads a body whose position the standard library keeps. Not thread-safe.

    So the rest of the body can be read in any other way. The end must be read through urllib3,
    which then gives the connection back.

    Args:
        source: The response that has read the header.
    """

    def __init__(self, source: http.client.HTTPResponse) -> None:
        self._source: Any = source
        self._file: Any = source.fp

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the body as they arrive, to its end.

        Raises:
            OSError: The connection broke off, or nothing arrived within its timeout.
            HTTPException: The framing is invalid.
        """
        with self._timed_by_system():
            source, peek, read = self._source, self._file.peek, self._file.read
            while True:
                try:
                    if source.chunk_left == 0 and peek(1)[:2] == b"\r\n":
                        read(2)  # the line end after the previous chunk
                        source.chunk_left = None
                    arrived = peek(1) if source.chunk_left is None else b""
                except ValueError:
                    return  # the user has closed the response
                # The usual chunk has arrived as a whole. The standard library reads all others.
                line_end = arrived.find(b"\r\n", 0, _LONGEST_SIZE)
                begin = line_end + 2
                try:
                    end = begin + int(arrived[:line_end], 16) if line_end > 0 else 0
                except ValueError:
                    end = 0
                if end > begin and arrived[end : end + 2] == b"\r\n":
                    yield read(end + 2)[begin:end]
                    continue
                chunk = source.read1(READ_SIZE)
                if not chunk:
                    return
                yield chunk

    @contextlib.contextmanager
    def _timed_by_system(self) -> Iterator[None]:
        """Let the operating system limit the waits for bytes in the meantime, if it can.

        The main thread waits as usual, because each signal would restart the system's limit.
        """
        file: Any = self._file.raw
        its_socket = socket_of_file(file)
        if (
            not _CAN_LIMIT
            or type(its_socket) is not socket.socket
            or type(its_socket).__module__ != "socket"  # but that of a greenlet library
            or threading.current_thread() is threading.main_thread()
            or not _set_timeout_of_system(its_socket)
        ):
            yield
            return
        timeout = its_socket.gettimeout()
        timed = _TimedSocket(its_socket)
        its_socket.settimeout(None)
        set_socket_of_file(file, timed)
        try:
            yield
        finally:
            if socket_of_file(file) is timed:  # otherwise it has been closed
                set_socket_of_file(file, its_socket)
            if its_socket.gettimeout() is None:  # otherwise the user has set another one
                with contextlib.suppress(OSError):  # of a closed socket
                    its_socket.settimeout(timeout)
            # Otherwise it would limit a later request without a timeout on the same connection.
            with contextlib.suppress(OSError):
                its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _NO_LIMIT)


def _set_timeout_of_system(its_socket: socket.socket) -> bool:
    """Set the system's own timeout of a socket. Return False if that is not possible."""
    timeout = its_socket.gettimeout()
    if not timeout:
        return False
    seconds, microseconds = divmod(math.ceil(timeout * 1e6), 1_000_000)
    try:
        value = struct.pack("@ll", seconds, microseconds)
        its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    except (OSError, struct.error):
        return False
    return True


class _TimedSocket:
    """A socket whose timeout the system keeps, for ``socket.SocketIO``.

    Python reports that timeout as if the socket did not block.
    """

    def __init__(self, its_socket: socket.socket) -> None:
        self._socket = its_socket
        self._receive = its_socket.recv_into

    def recv_into(self, buffer: Any) -> int:
        """Wait for bytes within the timeout, and read them."""
        try:
            return self._receive(buffer)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def __getattr__(self, name: str) -> Any:
        """Return everything else from the socket."""
        return getattr(self._socket, name)
