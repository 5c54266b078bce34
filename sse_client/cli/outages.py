"""Reports a long outage in one line on standard error if nothing else would show it.

A timer thread waits for the outage to become long. The reader thread starts and stops it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sse_client.cli.output import complain

if TYPE_CHECKING:
    from sse_client import SSESession

#: The length of an outage after which it is reported, in seconds.
LASTING = 10.0


class Outages:
    """Watches one session for outages. It is a context manager.

    Args:
        name: The name of the stream, if there are several.
    """

    def __init__(self, name: str = "") -> None:
        self._prefix = f"{name}: " if name else ""
        # Guards the timer, because the block may end while the reader still reports.
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._is_over = False
        self._reason = ""

    def hooks(self) -> dict[str, Any]:
        """Return the hooks of a session."""
        return {"on_open": self._opened, "on_disconnect": self._lost}

    def __enter__(self) -> Outages:
        """Start watching."""
        return self

    def __exit__(self, *_: object) -> None:
        """Report nothing from now on."""
        with self._lock:
            self._is_over = True
        timer = self._stop()
        if timer is not None:
            timer.join()

    def _lost(self, _session: SSESession, error: Exception | None, delay: float | None) -> None:
        self._reason = "the stream ended" if error is None else str(error)
        if delay is None:
            self._stop()  # the command reports the failure
            return
        with self._lock:
            if self._timer is not None or self._is_over:
                return
            self._timer = threading.Timer(LASTING, self._report)
            self._timer.daemon = True
            self._timer.start()

    def _opened(self, _session: SSESession) -> None:
        self._stop()

    def _report(self) -> None:
        complain(f"{self._prefix}no connection for {LASTING:g} s, still trying: {self._reason}")

    def _stop(self) -> threading.Timer | None:
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return timer
