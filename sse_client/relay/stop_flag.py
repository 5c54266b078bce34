"""A flag for threads and signal handlers."""

from __future__ import annotations

import contextlib
import threading
import time

#: How long a thread waits for a lock at a time, in seconds. A signal that arrives just before such
#: a wait does not interrupt it, and on Windows none does.
_LONGEST_WAIT = 1.0


class StopFlag:
    """A flag that is set once, and for which any number of threads may wait.

    It is not a ``threading.Event``, because the lock of an Event is not reentrant: a signal handler
    that sets it may have interrupted a wait for it. It is not a ``queue.SimpleQueue`` either,
    because the C version of that blocks all greenlets of a process. It is a lock that is held until
    the flag is set.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._unset = threading.Lock()
        self._unset.acquire()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake the waiting threads. Never blocks."""
        self._is_set = True
        self._release()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, or for ``timeout`` seconds; return whether it is set."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left = _LONGEST_WAIT if deadline is None else deadline - time.monotonic()
            if self._unset.acquire(timeout=max(0.0, min(left, _LONGEST_WAIT))):
                self._release()  # for the next waiting thread
            elif left <= _LONGEST_WAIT and deadline is not None:
                break
        return self._is_set

    def _release(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was set before
            self._unset.release()
