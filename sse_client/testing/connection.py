"""One accepted TCP connection: bytes in and out, where every wait can be called off.

The socket is non-blocking. A thread that has to wait does so for the socket and for an alarm
together; `Connection.abort` raises the alarm. Closing a socket under a thread that still uses it
would not wake that thread, would hold back the reset, and could hand its descriptor number to
somebody else. So whoever is the last to leave closes it.

Threads: one thread calls `handshake`, `receive` and `await_turn`. Any thread may call the others;
who sends sees to it that nobody else sends at the same time.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

# Takes no file descriptor of its own, which epoll and kqueue do. Windows has select alone.
WaitSelector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)

# A request's head fits into one read, and memory stays small with many connections.
_RECEIVE_SIZE = 64 * 1024

# How long `reset` waits for other threads to leave the socket. They are woken at once.
_RESET_PATIENCE = 1.0


@contextlib.contextmanager
def _connection_errors() -> Iterator[None]:
    """Make whatever the system or TLS says about a broken connection a ConnectionError."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise ConnectionResetError(f"the connection broke: {error}") from error


class Connection:
    """A connection that a client opened, plain or TLS.

    Args:
        accepted: The socket as accepted; it belongs to the connection from now on.
        client_port: The port that the client connected from.
    """

    def __init__(self, accepted: socket.socket, client_port: int) -> None:
        accepted.setblocking(False)  # noqa: FBT003 - its only form
        # Each send is a segment of its own, at once: that is what write boundaries are about. Some
        # systems refuse it if the client has gone already.
        with contextlib.suppress(OSError):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_port = client_port
        #: Set once the socket is closed.
        self.closed = threading.Event()
        #: Whether it was the peer that ended the connection, or `reset`.
        self.peer_left = False
        # Set while no request waits for the end of its response.
        self._idle = threading.Event()
        self._idle.set()
        self._finishing = False
        self._socket = accepted
        self._alarm, self._alarm_listener = socket.socketpair()
        # Guards the two below. Never held while waiting.
        self._lock = threading.Lock()
        self._aborted = False
        self._users = 0
        # OpenSSL does not allow two calls at a time on one connection. Non-blocking calls only.
        self._calls = threading.Lock()

    def handshake(self, context: ssl.SSLContext) -> None:
        """Do the server's part of the TLS handshake. Blocks until done, broken or aborted.

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
        """Read what has arrived. Blocks until there is something.

        Returns:
            The bytes, or ``b""`` once the connection is over, whoever ended it.
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
            ConnectionError: The connection is over, or ended meanwhile.
        """
        rest = memoryview(data)
        with _connection_errors(), self._in_use():
            while rest:
                sent = self._attempt(partial(self._socket.send, rest), selectors.EVENT_WRITE)
                rest = rest[sent:]

    def await_turn(self) -> bool:
        """Block until the response before is complete.

        Returns:
            Whether the connection is there for one more.
        """
        self._idle.wait()
        self._idle.clear()
        if self._aborted or self._finishing:
            self._idle.set()
            return False
        return True

    def give_turn(self) -> None:
        """Let the next request on this connection be answered."""
        self._idle.set()

    def finish(self, *, notify: bool) -> None:
        """Send a FIN, and let the peer close in its time. Does not block; never fails.

        Args:
            notify: Whether TLS says goodbye first, without which the peer sees a truncation.
        """
        self._finishing = True
        with contextlib.suppress(OSError), self._in_use():
            if notify and isinstance(self._socket, ssl.SSLSocket):
                # It would like to wait for the peer's goodbye, too; ours is out by then.
                with contextlib.suppress(ssl.SSLError), self._calls:
                    self._socket.unwrap()
            # SSLSocket.shutdown() would drop the TLS layer under a reader.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        self._idle.set()

    def reset(self) -> None:
        """Send a RST. Returns once it is on its way; does nothing on a closed connection."""
        self.abort(peer_left=True, reset=True)
        self.closed.wait(_RESET_PATIENCE)

    def abort(self, *, peer_left: bool = False, reset: bool = False) -> None:
        """Wake everybody who waits here, and close. Does not block; the first call counts.

        Args:
            peer_left: Whether that is because the peer has gone.
            reset: Whether to close with a RST instead of a FIN.
        """
        with self._lock:
            if self._aborted:
                return
            self._aborted = True
            self.peer_left = peer_left
            if reset:
                # Linger on, for no time at all: the system's way to ask for a RST.
                with contextlib.suppress(OSError):
                    self._socket.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
            self._alarm.close()
            self._idle.set()
            if not self._users:
                self._release()

    def wait_gone(self, timeout: float) -> bool:
        """Block until the connection is closed, for ``timeout`` seconds at most.

        Returns:
            Whether it was the peer that ended it, or `reset`.
        """
        self.closed.wait(timeout)
        return self.peer_left

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the socket from being closed; refuse if it is about to be."""
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
        """Call until it goes through, waiting in between for what it needs."""
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
        with WaitSelector() as selector:
            selector.register(self._socket, needed)
            selector.register(self._alarm_listener, selectors.EVENT_READ)
            selector.select()
        if self._aborted:
            raise ConnectionAbortedError("the connection was aborted")
