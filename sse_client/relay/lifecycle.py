"""What a relay and a worker have in common: they are started once, waited for, and closed."""

from __future__ import annotations

import abc
import threading
from typing import TYPE_CHECKING

from sse_client.relay.connection import StopFlag

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Lifecycle(abc.ABC):
    """Something that runs once, on its own thread, until it is over or closed. Thread-safe.

    ``_lock`` is held for moments only. It is reentrant, because a signal handler may close what it
    interrupts.

    Args:
        thread_name: The name of the thread.
    """

    def __init__(self, thread_name: str) -> None:
        self._lock = threading.RLock()
        self._stopping = StopFlag()
        self._over = StopFlag()
        self._has_begun = False
        self._error: Exception | None = None
        # Daemon: it may be in the system's resolver, which nothing can interrupt.
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    def start(self) -> None:
        """Begin on its own thread. Does not block.

        Raises:
            RuntimeError: It was begun already.
        """
        self._begin()
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is over, or for ``timeout`` seconds; return whether it is over.

        Raises:
            SSEClientError: It failed with this error.
        """
        over = self._over.wait(timeout)
        if over and self._error is not None:
            raise self._error
        return over

    @abc.abstractmethod
    def close(self) -> None:
        """End it. Idempotent, from any thread."""

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _begin(self) -> None:
        with self._lock:
            if self._has_begun:
                raise RuntimeError(f"a {type(self).__name__} can be begun once only")
            self._has_begun = True

    def _stop(self) -> bool:
        """Ask it to end, and keep it from beginning; return whether it had begun."""
        self._stopping.set()
        with self._lock:
            had_begun, self._has_begun = self._has_begun, True
        return had_begun

    @abc.abstractmethod
    def _run(self) -> None:
        """Run until it is over, and then set ``_over``."""
