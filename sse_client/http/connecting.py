"""Connects a socket so that an abort works on any system.

An abort shuts the socket down. On Linux that wakes a thread that is connecting it. Other systems
may refuse to shut down a socket that is not connected (ENOTCONN), and leave the thread waiting. On
those the thread does not block in ``connect``. It waits for short intervals, and checks in between
whether it was aborted.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from typing import TYPE_CHECKING, Any

from sse_client.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

#: Whether a shutdown of a socket wakes a thread that is connecting it.
_SHUTDOWN_WAKES = sys.platform == "linux"

#: The interval between two checks, in seconds.
_LOOK_AGAIN = 0.1

#: The error codes of a connection in progress. Windows uses the second.
_UNDER_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK}


def connect(sock: socket.socket, address: Any, raise_if_aborted: Callable[[], None]) -> None:
    """Connect the socket. Blocks for at most its timeout.

    Args:
        sock: The socket. Its timeout may differ afterwards.
        address: The address, as for ``socket.connect``.
        raise_if_aborted: Raises an error if the attempt was aborted.

    Raises:
        TimeoutError: Connecting took too long.
        OSError: Connecting failed.
    """
    if _SHUTDOWN_WAKES:
        sock.connect(address)
    else:
        _connect_looking(sock, address, raise_if_aborted)
    # On Linux a socket that was shut down before "connects" at once, and is never ready.
    raise_if_aborted()


def _connect_looking(
    sock: socket.socket, address: Any, raise_if_aborted: Callable[[], None]
) -> None:
    timeout = sock.gettimeout()
    deadline = Deadline.after(float("inf") if timeout is None else timeout)
    sock.settimeout(0.0)
    status = sock.connect_ex(address)
    if status in _UNDER_WAY:
        while not _is_decided(sock, min(_LOOK_AGAIN, deadline.seconds_left())):
            raise_if_aborted()
            if deadline.has_passed:
                raise TimeoutError("timed out")
        status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if status:
        # Windows has a separate table of messages for network errors.
        texts: dict[int, str] = getattr(socket, "errorTab", {})
        raise OSError(status, texts.get(status) or os.strerror(status))


def _is_decided(sock: socket.socket, seconds: float) -> bool:
    """Wait at most these seconds for the result of connecting. Return whether there is one."""
    if sys.platform != "win32" and hasattr(select, "poll"):  # eventlet removes it
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
    # Windows reports a failure in the third list.
    return any(select.select((), (sock,), (sock,), seconds))
