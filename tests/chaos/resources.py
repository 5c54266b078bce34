"""What this process holds: memory, threads and file descriptors, where the system tells."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_DESCRIPTORS = Path("/proc/self/fd")

#: How long threads and sockets that are about to end get for it, in seconds, and how often to look.
_PATIENCE = 2.0
_LOOK_AGAIN = 0.02


def resident_memory() -> int:
    """How much memory this process has, in bytes; 0 where the system does not tell."""
    if not _STATUS.exists():
        return 0
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@dataclass(frozen=True)
class Held:
    """How many threads and file descriptors there are."""

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
    """Wait until no more is held than that; return what is, if it stays more."""
    deadline = time.monotonic() + _PATIENCE
    while not bound.covers(held := Held.now()):
        if time.monotonic() > deadline:
            return held
        threading.Event().wait(_LOOK_AGAIN)
    return None
