"""The life of a relay or a worker: it is started once, waited for, and closed."""

from __future__ import annotations

import abc
import threading
from typing import TYPE_CHECKING

from sse_client.relay.own_process import OwnProcess
from sse_client.relay.stop_flag import StopFlag

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from sse_client.relay.status import OwnFigures


class Lifecycle(abc.ABC):
    """Something that runs once, on its own thread, until it ends or is closed. Thread-safe.

    It belongs to the process that created it. In a forked child it neither runs nor ends anything.

    ``_lock`` is only held briefly. It is reentrant, because a signal handler may call ``close`` on
    the thread that it interrupts.

    Args:
        thread_name: The name of the thread.
    """

    def __init__(self, thread_name: str) -> None:
        self._process = OwnProcess()
        self._lock = threading.RLock()
        self._stopping = StopFlag()
        self._over = StopFlag()
        self._has_begun = False
        self._error: Exception | None = None
        # Daemon: it may be in the system's resolver, which cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    def start(self) -> None:
        """Start it on its own thread. Does not block.

        Raises:
            RuntimeError: It was started before.
            SessionClosedError: It belongs to the process from which this one was forked.
        """
        self._begin()
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it has ended, or for ``timeout`` seconds; return whether it has ended.

        Raises:
            SSEClientError: It failed with this error.
            SessionClosedError: It belongs to the process from which this one was forked.
        """
        self._process.require(self)
        over = self._over.wait(timeout)
        if over and self._error is not None:
            raise self._error
        return over

    @abc.abstractmethod
    def close(self) -> None:
        """End it. Idempotent, from any thread. Does nothing in a forked child."""

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

    @property
    @abc.abstractmethod
    def trouble(self) -> str:
        """Why it can't work at the moment, ``""`` if it can."""

    @abc.abstractmethod
    def figures(self) -> dict[str, OwnFigures]:
        """Return the figures of the streams that it relays, by name. Does not ask Redis."""

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended."""
        return self._has_begun and not self._over.is_set()

    def _begin(self) -> None:
        self._process.require(self)
        with self._lock:
            if self._has_begun:
                raise RuntimeError(f"a {type(self).__name__} can be started only once")
            self._has_begun = True

    def _stop(self) -> bool:
        """Ask it to end, and prevent a later start; return whether it had started."""
        self._stopping.set()
        with self._lock:
            had_begun, self._has_begun = self._has_begun, True
        return had_begun

    @abc.abstractmethod
    def _run(self) -> None:
        """Run until it ends, and then set ``_over``."""
