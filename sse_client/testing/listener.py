"""The listening socket, and the thread that accepts connections on it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING

from sse_client.testing.connection import new_selector

if TYPE_CHECKING:
    from collections.abc import Callable

# A restarted server gets its port again, even if old connections remain on it. Windows always
# allows that. With the usual option, Windows would let two servers listen on one port.
_REUSE: int = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)

# More connections than any test opens at once.
_BACKLOG = 128


class Listener:
    """Listens from its creation until it is closed.

    Args:
        host: The address to listen on: a name, an IPv4 address or an IPv6 address.
        port: The port, or 0 for any free port.
        adopt: Called in the listener's thread with each accepted socket and the client's port. It
            must not block.

    Raises:
        OSError: The port is in use.

    Attributes:
        port: The port on which it listens.
    """

    def __init__(self, host: str, port: int, adopt: Callable[[socket.socket, int], None]) -> None:
        # Only an IPv6 address has a colon.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _REUSE, 1)
            self._socket.bind((host, port))
            self._socket.listen(_BACKLOG)
            self._socket.setblocking(False)  # noqa: FBT003 - its only form
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._adopt = adopt
        # Closing a socket does not wake a thread that waits for it, but this does.
        self._alarm, self._alarm_listener = socket.socketpair()
        self._thread = threading.Thread(
            target=self._accept, name=f"sse-server-accept:{self.port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Refuse connections from now on. Blocks until the thread has ended."""
        self._alarm.close()
        self._thread.join()
        self._alarm_listener.close()
        self._socket.close()

    def _accept(self) -> None:
        with new_selector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._alarm_listener, selectors.EVENT_READ)
            while all(key.fileobj is self._socket for key, _ in selector.select()):
                # The client may have gone by the time it is accepted.
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    accepted, address = self._socket.accept()
                    self._adopt(accepted, address[1])
