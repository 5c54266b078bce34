"""Telling a thread to end, from anywhere."""

from __future__ import annotations

import queue


class StopFlag:
    """A flag that is set once, and that any number of threads may wait for.

    It is no ``threading.Event``, whose lock isn't reentrant: a signal handler that sets one may
    have interrupted a wait for the same one.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake whoever waits. Never blocks."""
        self._is_set = True
        self._rings.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, or for ``timeout`` seconds; return whether it is set."""
        if not self._is_set:
            try:
                self._rings.get(timeout=timeout)
            except queue.Empty:
                return self._is_set
            self._rings.put(None)  # for the next one that waits
        return self._is_set
