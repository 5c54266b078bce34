"""Processes that end with the run that started them, even if that run is killed.

A watchman process reads from a pipe which processes are running. Only this process can
write to that pipe. When the pipe ends, the watchman kills the processes that are left.
``python processes.py`` is the watchman.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import Any

#: Guards the start of the watchman, and the pipe to it.
_lock = threading.Lock()
_watchman: subprocess.Popen[bytes] | None = None


def start_watchman() -> None:
    """Start the watchman of this process, unless it is running."""
    global _watchman  # noqa: PLW0603  # one per process
    with _lock:
        if _watchman is None:
            # Isolated and without site, it starts quickly and is not measured by coverage. In its
            # own session, it survives Ctrl-C and the end of the run's process group.
            _watchman = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
            atexit.register(_end, _watchman)


def _end(watchman: subprocess.Popen[bytes]) -> None:
    """End the pipe, and wait for the watchman."""
    assert watchman.stdin is not None
    watchman.stdin.close()
    watchman.wait()


def _notify(sign: str, pid: int) -> None:
    start_watchman()
    assert _watchman is not None
    assert _watchman.stdin is not None
    with _lock:
        _watchman.stdin.write(f"{sign}{pid}\n".encode())


class Process(subprocess.Popen[Any]):
    """A process in its own group. The group is killed if this run ends first."""

    _is_watched = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, start_new_session=True, **options)
        _notify("+", self.pid)
        self._is_watched = True

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, as usual."""
        status = super().wait(timeout)
        self._ended()
        return status

    def poll(self) -> int | None:
        """Check for the end, as usual."""
        status = super().poll()
        if status is not None:
            self._ended()
        return status

    def _ended(self) -> None:
        # The system may now give the ID to another process.
        if self._is_watched:
            self._is_watched = False
            _notify("-", self.pid)


def _watch() -> None:
    running: set[int] = set()
    for line in sys.stdin:
        (running.add if line[0] == "+" else running.discard)(int(line[1:]))
    for pid in running:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":  # there are no groups, so only the process itself ends
                os.kill(pid, signal.SIGTERM)
            else:
                os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    _watch()
