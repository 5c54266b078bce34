"""Aborting an attempt to open a stream from another thread, in whatever phase it is.

The attempt shows this each socket that it uses, and an abort shuts the latest one down. It has to
be the raw socket. ``response.close()`` waits for a thread that is reading, and
``SSLSocket.shutdown`` removes the TLS layer while the other thread reads. What is read after an
abort is thrown away.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Clock


class ConnectionAborted(Exception):  # noqa: N818  # no error, but the way out
    """The connection was aborted by ``abort``: not an error, but the end of the work on it."""


class AbortableSocket:
    """The socket that an attempt is using at the moment. Thread-safe, and nothing blocks.

    To ``abortable_connections`` it is a ``SocketWatcher``, to which each socket is shown.

    Args:
        unverified: Called with the host if a certificate is not verified, as was asked for.
        clock: What the time for the header is measured with.

    Attributes:
        header_timeout: How long the header of a response may take, in seconds; None for any time.
        was_sent: Whether the request may have been sent.
        unverified, clock: As they were given.
    """

    def __init__(self, unverified: Callable[[str], None], clock: Clock) -> None:
        self.header_timeout: float | None = None
        self.was_sent = False
        self.unverified = unverified
        self.clock = clock
        # Guards the three below, and that no socket is shut down after it was closed here. It is
        # reentrant for the sake of finalisers, which may abort from wherever they happen to run.
        self._lock = threading.RLock()
        self._aborted = False
        self._socket: socket.socket | None = None
        self._is_owned = False  # a duplicate of ours, as long as there is no response

    def abort(self) -> None:
        """Shut the socket down, and have each further step raise ``ConnectionAborted``."""
        with self._lock:
            self._aborted = True
            _shut_down(self._socket)

    def raise_if_aborted(self) -> None:
        """Raise ``ConnectionAborted`` once ``abort`` was called."""
        if self._aborted:
            raise ConnectionAborted

    def watch(self, sock: socket.socket) -> None:
        """Take note of a socket that this attempt is about to connect.

        A duplicate is kept: TLS replaces the object, and may close it, while it shakes hands.
        """
        with self._lock:
            self.raise_if_aborted()
            self._replace(sock.dup(), owned=True)
            self.raise_if_aborted()  # by a finaliser that ran meanwhile

    def connected(self) -> None:
        """Take note that the socket is connected, unless it was aborted just before that.

        Linux lets such a socket "connect" at once, and then never be ready.
        """
        self.raise_if_aborted()

    def sending(self) -> None:
        """Take note that the request is about to be sent."""
        self.was_sent = True

    def reads_response_from(self, sock: socket.socket) -> None:
        """Take note of the socket from which the header of the response is about to be read."""
        with self._lock:
            self.raise_if_aborted()
            # A TLS connection through a TLS proxy is no socket, but has one.
            self._replace(getattr(sock, "socket", sock), owned=False)

    def adopt(self, own: socket.socket | None) -> None:
        """Take note of the socket of the response, None if it is not known."""
        with self._lock:
            if own is not None or self._is_owned:
                self._replace(own, owned=False)

    def limit_wait(self, seconds: float) -> None:
        """Bound the next wait, which is all that can be done to someone else's transport."""
        with self._lock:
            if self._socket is not None and not self._aborted:
                with contextlib.suppress(OSError):  # closed by the other side of a redirect
                    self._socket.settimeout(seconds)

    def release(self, *, shuts_down: bool) -> None:
        """Forget the socket, as it is about to be closed, and shut it down if that is wanted."""
        with self._lock:
            if shuts_down:
                _shut_down(self._socket)
            self._replace(None, owned=False)

    def _replace(self, sock: socket.socket | None, *, owned: bool) -> None:
        """Hold the lock for this."""
        if self._is_owned and self._socket is not None:
            self._socket.close()
        self._socket = sock
        self._is_owned = owned


def _shut_down(sock: socket.socket | None) -> None:
    stand_in: object = sock
    with contextlib.suppress(OSError):  # not connected yet, or no longer
        if isinstance(stand_in, socket.socket):
            # Not sock.shutdown(): over TLS that would drop the TLS layer first.
            socket.socket.shutdown(stand_in, socket.SHUT_RDWR)
        elif sock is not None:  # of another transport, such as one in memory
            sock.shutdown(socket.SHUT_RDWR)
