"""The memory, threads and file descriptors of this process, if the system reports them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_DESCRIPTORS = Path("/proc/self/fd")

#: How long ending threads and sockets may take, and the interval between two checks, in seconds.
_PATIENCE = 2.0
_LOOK_AGAIN = 0.02


def resident_memory() -> int:
    """The memory of this process in bytes, or 0 if the system does not report it."""
    if not _STATUS.exists():
        return 0
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@dataclass(frozen=True)
class Held:
    """The numbers of threads and file descriptors."""

    threads: int
    descriptors: int

    @classmethod
    def now(cls) -> Held:
        """Count them."""
        count = len(list(_DESCRIPTORS.iterdir())) if _DESCRIPTORS.is_dir() else 0
        return cls(threading.active_count(), count)

    def plus(self, threads: int, descriptors: int) -> Held:
        return Held(self.threads + threads, self.descriptors + descriptors)

    def covers(self, other: Held) -> bool:
        return other.threads <= self.threads and other.descriptors <= self.descriptors


def held_beyond(bound: Held) -> Held | None:
    """Wait until no more than this is held. Return the excess, if there is any."""
    deadline = time.monotonic() + _PATIENCE
    while not bound.covers(held := Held.now()):
        if time.monotonic() > deadline:
            return held
        threading.Event().wait(_LOOK_AGAIN)
    return None
