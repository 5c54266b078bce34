"""One accepted TCP connection, all of whose waits can be aborted.

The socket is non-blocking. A thread that must wait does so for the socket and an alarm together,
and `Connection.abort` raises the alarm. Closing a socket that another thread is using would not
wake that thread, would delay the reset, and could give its descriptor number to another file. So
the last thread that uses the socket closes it.

One thread calls `handshake`, `receive` and `await_turn`. Any thread may call the other methods, but
only one thread at a time may send.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")


# The head of a request fits into one read, and many connections take little memory.
_RECEIVE_SIZE = 64 * 1024

# SO_LINGER with a time of 0 makes the system send a RST.
_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

# How long `reset` waits for other threads to leave the socket. They wake at once.
_RESET_PATIENCE = 1.0


def new_selector() -> selectors.BaseSelector:
    """Create a selector for the thread or greenlet that waits.

    Unlike epoll and kqueue, it needs no file descriptor of its own. Windows has only select.
    """
    usual: type[selectors.BaseSelector] = selectors.DefaultSelector
    if usual.__module__ == selectors.__name__:  # otherwise gevent has replaced it
        usual = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return usual()


@contextlib.contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn errors of the system or TLS about a broken connection into a ConnectionError."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise ConnectionResetError(f"the connection broke: {error}") from error


class Connection:
    """A connection that a client opened, plain or TLS.

    Args:
        accepted: The accepted socket, which the connection owns from now on.
        client_port: The port of the client.
    """

    def __init__(self, accepted: socket.socket, client_port: int) -> None:
        accepted.setblocking(False)  # noqa: FBT003 - its only form
        # Each send immediately becomes its own segment, so that write boundaries are kept. Some
        # systems refuse the option if the client has already gone.
        with contextlib.suppress(OSError):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_port = client_port
        #: Set once the socket is closed.
        self.closed = threading.Event()
        #: Whether the peer or `reset` has ended the connection.
        self.peer_left = False
        # Set while no request waits for the end of its response.
        self._idle = threading.Event()
        self._idle.set()
        self._finishing = False
        self._socket = accepted
        self._alarm, self._alarm_listener = socket.socketpair()
        # Guards the two attributes below. Never held while waiting.
        self._lock = threading.Lock()
        self._aborted = False
        self._users = 0
        # OpenSSL does not allow concurrent calls on a connection. Held only for non-blocking calls.
        self._calls = threading.Lock()

    def handshake(self, context: ssl.SSLContext) -> None:
        """Perform the server's part of the TLS handshake. Blocks until it is done or aborted.

        Raises:
            ConnectionError: It failed.
        """
        with _connection_errors(), self._in_use():
            secured = context.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
            self._socket = secured
            self._attempt(secured.do_handshake, selectors.EVENT_READ)

    def receive(self) -> bytes:
        """Read the bytes that have arrived. Blocks until there are some.

        Returns:
            The bytes, or ``b""`` once the connection is over.
        """
        data = b""
        with contextlib.suppress(OSError), self._in_use():
            data = self._attempt(partial(self._socket.recv, _RECEIVE_SIZE), selectors.EVENT_READ)
        if not data:
            self.abort(peer_left=True)
        return data

    def send(self, data: bytes) -> None:
        """Send all of the data, like ``sendall``. Blocks while the peer's window is full.

        Raises:
            ConnectionError: The connection is over.
        """
        rest = memoryview(data)
        with _connection_errors(), self._in_use():
            while rest:
                sent = self._attempt(partial(self._socket.send, rest), selectors.EVENT_WRITE)
                rest = rest[sent:]

    def await_turn(self) -> bool:
        """Block until the previous response is complete.

        Returns:
            Whether the connection can carry another response.
        """
        self._idle.wait()
        self._idle.clear()
        if self._aborted or self._finishing:
            self._idle.set()
            return False
        return True

    def proceed(self) -> None:
        """Ask for the body of a request once the previous response is complete. Blocks for that.

        Raises:
            ConnectionError: The connection is over.
        """
        self._idle.wait()
        self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def give_turn(self) -> None:
        """Allow a response to the next request on this connection."""
        self._idle.set()

    def finish(self, *, notify: bool) -> None:
        """Send a FIN, and let the peer close. Never blocks or fails.

        Args:
            notify: Whether to send a TLS close_notify first. Without it the peer sees a truncation.
        """
        self._finishing = True
        with contextlib.suppress(OSError), self._in_use():
            if notify and isinstance(self._socket, ssl.SSLSocket):
                # It would also wait for the peer's close_notify, but has sent ours by then.
                with contextlib.suppress(ssl.SSLError), self._calls:
                    self._socket.unwrap()
            # SSLSocket.shutdown() would remove the TLS layer while another thread reads.
            is_tls = isinstance(self._socket, ssl.SSLSocket)
            raw: Any = super(ssl.SSLSocket, self._socket) if is_tls else self._socket
            raw.shutdown(socket.SHUT_WR)
        self._idle.set()

    def reset(self) -> None:
        """Send a RST, and return once it is sent. Does nothing on a closed connection."""
        self.abort(peer_left=True, reset=True)
        self.closed.wait(_RESET_PATIENCE)

    def abort(self, *, peer_left: bool = False, reset: bool = False) -> None:
        """Wake all waiting threads, and close. Does not block. Only the first call counts.

        Args:
            peer_left: Whether the reason is that the peer has gone.
            reset: Whether to close with a RST instead of a FIN.
        """
        with self._lock:
            if self._aborted:
                return
            self._aborted = True
            self.peer_left = peer_left
            if reset:
                with contextlib.suppress(OSError):
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            self._alarm.close()
            self._idle.set()
            if not self._users:
                self._release()

    def wait_gone(self, timeout: float) -> bool:
        """Block until the connection is closed, for at most ``timeout`` seconds.

        Returns:
            Whether the peer or `reset` has ended it.
        """
        self.closed.wait(timeout)
        return self.peer_left

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Prevent the socket from being closed. Raise an error if it is about to be closed."""
        with self._lock:
            if self._aborted:
                raise BrokenPipeError("the connection is over")
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._aborted and not self._users:
                self._release()

    def _release(self) -> None:
        self._socket.close()
        self._alarm_listener.close()
        self.closed.set()

    def _attempt(self, call: Callable[[], Result], needed: int) -> Result:
        """Repeat a call until it succeeds, and wait for the socket in between."""
        while True:
            try:
                with self._calls:
                    return call()
            except ssl.SSLWantReadError:
                self._wait(selectors.EVENT_READ)
            except ssl.SSLWantWriteError:
                self._wait(selectors.EVENT_WRITE)
            except BlockingIOError:
                self._wait(needed)

    def _wait(self, needed: int) -> None:
        with new_selector() as selector:
            selector.register(self._socket, needed)
            selector.register(self._alarm_listener, selectors.EVENT_READ)
            selector.select()
        if self._aborted:
            raise ConnectionAbortedError("the connection was aborted")
