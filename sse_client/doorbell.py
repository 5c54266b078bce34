"""What one thread waits on, and any other may ring."""

from __future__ import annotations

import queue


class Doorbell:
    """Wakes the one thread that waits on it. May be rung from anywhere, a finaliser included.

    That is why it is no ``threading.Event``, whose lock isn't reentrant. A waiter may wake without
    a reason, and has to look again.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Wake the waiting thread, or let its next wait return at once. Never blocks."""
        if self._rings.empty():  # else it will look anyway, after this
            self._rings.put(None)

    def wait(self, timeout: float | None = None) -> None:
        """Block until it rings, or ``timeout`` seconds have passed."""
        try:
            self._rings.get(timeout=timeout)
            while True:  # Any number of rings is one reason to look.
                self._rings.get_nowait()
        except queue.Empty:
            pass
