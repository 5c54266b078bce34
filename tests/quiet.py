"""Before a fork that bypasses Python: waits until no thread waits for the interpreter's lock.

If a thread waits for this lock during such a fork, the child's copy of the lock counts it as
waiting forever. Then the child hangs as soon as it releases the lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

#: The number of the system call that waits for a lock, on Linux.
FUTEX = {"x86_64": "202", "aarch64": "98"}.get(os.uname().machine) if hasattr(os, "uname") else None

#: The maximum wait, in seconds.
PATIENCE = 1.0


def _is_quiet(thread: str) -> bool:
    try:
        with open(f"/proc/self/task/{thread}/syscall") as file:  # noqa: PTH123
            call, *arguments = file.read().split()
    except OSError:  # it has ended
        return True
    # These threads wait with a timeout, the fourth argument, only for the interpreter's lock.
    return call != "running" and (call != FUTEX or arguments[3] == "0x0")


def _threads_of_the_package() -> set[str]:
    """Return the system's IDs of its threads, with ending ones that Python no longer lists."""
    others = [each for each in threading.enumerate() if not each.name.startswith("sse-client:")]
    with contextlib.suppress(OSError):  # this system does not report threads
        return set(os.listdir("/proc/self/task")) - {str(each.native_id) for each in others}  # noqa: PTH208
    return set()


def wait_until_quiet() -> None:
    """Wait until no thread of the package waits for the interpreter's lock.

    A thread that waits for another lock with a timeout looks the same, so this has a limit.
    """
    deadline = time.monotonic() + PATIENCE
    # Twice, because a thread may wake another one that has already been checked.
    for _ in range(2):
        for thread in _threads_of_the_package():
            while not _is_quiet(thread) and time.monotonic() < deadline:
                time.sleep(0.001)
