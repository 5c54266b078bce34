"""Detects the greenlets of gevent and eventlet, and lets them take turns."""

from __future__ import annotations

import socket
import threading
import time

#: How long a greenlet may run before it lets the others run, in seconds.
_TURN = 0.005

#: The wait that ends a turn, in seconds. It must not be 0, because neither library would then run
#: timers and poll sockets.
_BREAK = 1e-6


def has_greenlets() -> bool:
    """Return whether a greenlet library has patched this process, and replaced its sockets."""
    return socket.socket.__module__ != "socket"


class Turns:
    """Divides the time of a reader that always has more to read. Not thread-safe.

    Greenlets only switch when one of them waits. A reader whose server is faster never waits for
    bytes, and if its channel drops events or has no bounds, it never waits for room.
    """

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end = time.monotonic() + _TURN

    def end_if_long(self) -> None:
        """Let all other greenlets run if this turn has been long."""
        if time.monotonic() >= self._end:
            lock = threading.Lock()
            lock.acquire()
            lock.acquire(timeout=_BREAK)
            self._end = time.monotonic() + _TURN
