"""Aborts an attempt to open a stream from another thread, in any phase.

The attempt reports each socket that it uses, and an abort shuts the latest one down. It must be the
raw socket: closing the file of a response waits for a thread that is reading it, and
``SSLSocket.shutdown`` removes the TLS layer while the other thread reads. Data that is read after
an abort is discarded.

Each connection of a stream is shut down before it is closed. A child that was forked while the
connection was open has a copy of the descriptor. Closing alone would keep the connection open as
long as that child lives. The child closes its copies as soon as it can, in case the parent is
killed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Clock


class ConnectionAborted(Exception):  # noqa: N818  # not an error
    """The connection was aborted by ``abort``. This ends the work on it, and is not an error."""


class AbortableSocket:
    """The socket that an attempt is currently using. Thread-safe. Never blocks.

    It is the ``SocketWatcher`` of ``abortable_connections``.

    Args:
        unverified: Called with the host if ``verify=False`` skipped the check of a certificate.
        clock: Measures the header timeout.

    Attributes:
        header_timeout: How long the header of a response may take, in seconds. None means no limit.
        was_sent: Whether the request may have been sent.
        unverified, clock: The arguments.
    """

    __slots__ = (
        *("__weakref__", "_aborted", "_descriptor", "_inode", "_is_owned", "_is_shut_down"),
        *("_lock", "_process_id", "_socket", "clock", "header_timeout", "unverified", "was_sent"),
    )

    def __init__(self, unverified: Callable[[str], None], clock: Clock) -> None:
        self.header_timeout: float | None = None
        self.was_sent = False
        self.unverified = unverified
        self.clock = clock
        # Guards everything below, so that no socket is shut down after it was closed here.
        # Reentrant, because a finaliser may call ``abort`` on any thread at any time.
        self._lock = threading.RLock()
        self._aborted = False
        self._socket: socket.socket | None = None
        self._is_owned = False  # whether it is our own duplicate, as before the response
        self._is_shut_down = False
        self._process_id = os.getpid()
        #: The descriptor and the inode of the socket itself. 0 if the system has no inode for it.
        self._descriptor = -1
        self._inode = 0

    def abort(self) -> None:
        """Shut the socket down, and let each further step raise ``ConnectionAborted``."""
        with self._lock:
            self._aborted = True
            self._shut_down()

    def raise_if_aborted(self) -> None:
        """Raise ``ConnectionAborted`` if ``abort`` was called."""
        if self._aborted:
            raise ConnectionAborted

    def watch(self, sock: socket.socket) -> None:
        """Record a socket that this attempt is about to connect.

        This keeps a duplicate, because a TLS handshake replaces the object and may close it.
        """
        with self._lock:
            self.raise_if_aborted()
            if self._is_owned:
                self._shut_down()  # another address is tried
            self._replace(sock.dup(), owned=True)
            self._identify(sock)
            self.raise_if_aborted()  # a finaliser may have aborted in the meantime

    def sending(self) -> None:
        """Record that the request is about to be sent."""
        self.was_sent = True

    def reads_response_from(self, sock: socket.socket) -> None:
        """Record the socket from which the header of the response is about to be read."""
        with self._lock:
            self.raise_if_aborted()
            self._replace(_socket_of(sock), owned=False)

    def adopt(self, own: socket.socket | None) -> None:
        """Record the socket of the response, or None if it is not known."""
        with self._lock:
            if own is not None or self._is_owned:
                self._replace(own, owned=False)
                self._identify(own)

    def limit_wait(self, seconds: float) -> None:
        """Limit the next wait. Nothing more can be done with another transport."""
        with self._lock:
            if self._socket is not None and not self._aborted:
                with contextlib.suppress(OSError):  # a redirect may have closed it
                    self._socket.settimeout(seconds)

    def release(self) -> None:
        """Shut the socket down and forget it, because it is about to be closed."""
        with self._lock:
            self._shut_down()
            self.forget()

    def forget(self) -> None:
        """Forget the socket, because its connection may serve another request."""
        with self._lock:
            self._replace(None, owned=False)

    def disown(self) -> None:
        """Leave the connection to the parent in a forked child, and close the child's copies."""
        self._lock = threading.RLock()  # another thread may have held it at the fork
        self._aborted = True
        sock = None if self._is_owned else self._socket
        self.forget()
        # If the fork was detected late, the number may belong to another file.
        if self._inode and _inode_of(self._descriptor) == self._inode:
            if isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket):
                os.close(sock.detach())
            else:
                # Other objects, such as the TLS layer, use the same number. With the null device
                # in its place they do no harm.
                _replace_by_null_device(self._descriptor)

    def _identify(self, sock: object) -> None:
        """Record the descriptor of a socket. Requires the lock."""
        self._descriptor = sock.fileno() if isinstance(sock, socket.socket) else -1
        self._inode = _inode_of(self._descriptor)

    def _shut_down(self) -> None:
        """Shut the socket down unless that was done. Requires the lock."""
        if not self._is_shut_down:
            self._is_shut_down = shut_down(self._socket, self._process_id)

    def _replace(self, sock: socket.socket | None, *, owned: bool) -> None:
        """Set the socket. Requires the lock."""
        if self._is_owned and self._socket is not None:
            self._socket.close()
        self._socket = sock
        self._is_owned = owned
        self._is_shut_down = False


def shut_down(sock: object, process_id: int) -> bool:
    """Shut down the raw socket of a connection, through any layers. Never blocks.

    Args:
        sock: A socket with or without TLS, a stand-in for one, or None.
        process_id: The process that opened it. In a forked child this function does nothing,
            because it would end the parent's connection.

    Returns:
        Whether it was connected, so that this has ended the connection.
    """
    if os.getpid() != process_id:
        return False
    raw = _socket_of(sock)
    kind: Any = type(raw)
    tls = _tls_class_of(kind)
    # Not the method of a TLS socket, which would remove the TLS layer first.
    below: Any = raw if tls is None else super(tls, raw)
    if hasattr(below, "shutdown"):  # an in-memory connection also has it
        with contextlib.suppress(OSError):  # not connected yet, or no longer
            below.shutdown(socket.SHUT_RDWR)
            return True
    return False


@functools.lru_cache(maxsize=32)
def _tls_class_of(kind: type) -> type | None:
    """Return the base class of a socket class that adds TLS, or None.

    It is recognised by its methods, because gevent and eventlet replace the classes of ``ssl`` and
    ``socket``.
    """
    tls = [each for each in kind.__mro__ if hasattr(each, "do_handshake")]
    return tls[-1] if tls else None


def _socket_of(connection: Any) -> Any:
    """Return the socket of TLS through a TLS proxy. Any other connection is itself a socket."""
    try:
        return getattr(connection, "socket", connection)
    except OSError:
        return connection  # a closed socket of gevent, which has only its methods


def _inode_of(descriptor: int) -> int:
    """Return the inode of a file, or 0 if it is closed. Not all systems give sockets an inode."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _replace_by_null_device(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # there may be too many open files
        null = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(null, descriptor, inheritable=False)
        finally:
            os.close(null)
