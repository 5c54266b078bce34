"""The listening socket, and the thread that accepts connections on it and does nothing else."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING

from sse_client.testing.connection import WaitSelector

if TYPE_CHECKING:
    from collections.abc import Callable

# More than any test opens at once.
_BACKLOG = 128


class Listener:
    """Listens from the moment it is made until it is closed.

    Args:
        host: The address to listen on: a name or an address of IPv4, or an address of IPv6.
        port: The port, or 0 for any that is free.
        adopt: Called in the listener's thread with each accepted socket and the client's port; it
            must not block.

    Raises:
        OSError: The port is taken.

    Attributes:
        port: The port that it listens on.
    """

    def __init__(self, host: str, port: int, adopt: Callable[[socket.socket, int], None]) -> None:
        # Of all that a host may be, only an address of IPv6 has a colon.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A server that is restarted gets its port again, although connections linger on it.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, port))
            self._socket.listen(_BACKLOG)
            self._socket.setblocking(False)  # noqa: FBT003 - its only form
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._adopt = adopt
        # Closing a socket does not wake a thread that waits for it; this does.
        self._alarm, self._alarm_listener = socket.socketpair()
        self._thread = threading.Thread(
            target=self._accept, name=f"sse-server-accept:{self.port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Refuse connections from now on. Blocks until the thread has ended, which is at once."""
        self._alarm.close()
        self._thread.join()
        self._alarm_listener.close()
        self._socket.close()

    def _accept(self) -> None:
        with WaitSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._alarm_listener, selectors.EVENT_READ)
            while all(key.fileobj is self._socket for key, _ in selector.select()):
                # A client may have gone again by the time it is accepted.
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    accepted, address = self._socket.accept()
                    self._adopt(accepted, address[1])
