"""Wakes the consumer of merged sessions, of which there is one at a time.

``Lock.release`` wakes a thread while the releasing thread holds the interpreter's lock. If both
threads share a processor, the woken one often runs at once, finds the interpreter's lock taken, and
must be woken a second time. A write to a file gives that lock up first. If each event wakes the
consumer, this saves a tenth of its processor time (``benchmarks/live.py``).
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any, Protocol

from sse_client.channel.waiting import HAS_GIL
from sse_client.clock import FIRST_WAIT, LONGEST_WAIT, Doorbell, must_wait_in_steps
from sse_client.session.poller import READABLE
from sse_client.session.shared_reader import can_share

if TYPE_CHECKING:
    from collections.abc import Sized

# Type checkers know ``eventfd`` and ``poll`` only on some systems.
_os: Any = os
_select: Any = select


class MergeBell(Protocol):
    """Wakes the one thread that waits on it."""

    def ring(self) -> None:
        """Wake the waiting thread. For any thread, finaliser or signal handler. Never blocks."""

    def wait_unless(self, shares: Sized) -> None:
        """Block until it rings, unless there are shares. Wake-ups may be spurious.

        A share that is added before a ring ends the wait.
        """


def new_merge_bell() -> MergeBell:
    """Return the bell that takes the least processor time here."""
    # Without a global lock there is none to give up. A greenlet must not block on a file.
    if HAS_GIL and hasattr(os, "eventfd") and can_share():
        try:
            return FileBell()
        except OSError:
            pass  # too many open files
    return LockBell()


class LockBell(Doorbell):
    """A bell for any system."""

    __slots__ = ()

    def wait_unless(self, shares: Sized) -> None:
        """Block until it rings. A ring before the wait ends it at once."""
        if not shares:
            self.wait()


class FileBell:
    """A bell of Linux, with an eventfd.

    The memory model of an interpreter with a global lock is necessary: the waiting thread first
    sets ``_is_awaited`` and then checks the shares. Another thread first adds a share and then
    checks ``_is_awaited``. The thread that resets it always writes, because the others that ring
    rely on it from then on.

    A forked child has a copy of the descriptor. It may ring, which is a spurious wake-up, but it
    does not wait, because all of its sessions have ended.
    """

    __slots__ = ("_descriptor", "_is_awaited")

    def __init__(self) -> None:
        self._is_awaited = False
        self._descriptor = -1
        self._descriptor = _os.eventfd(0)

    def __del__(self) -> None:
        """Close the file. Nothing can ring any longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def ring(self) -> None:
        """Wake the waiting thread. Never blocks."""
        if self._is_awaited:
            try:
                # At once, because it may take long until the woken thread runs. Until then, each
                # thread that rings would give up the interpreter's lock.
                self._is_awaited = False
                _os.eventfd_write(self._descriptor, 1)
            except BaseException:  # a signal handler has raised it, perhaps before the write
                _os.eventfd_write(self._descriptor, 1)
                raise

    def wait_unless(self, shares: Sized) -> None:
        """Block until it rings, unless there are shares."""
        self._is_awaited = True
        try:
            if shares:
                return
            if must_wait_in_steps():
                self._wait_in_steps()
            _os.eventfd_read(self._descriptor)
        finally:
            self._is_awaited = False

    def _wait_in_steps(self) -> None:
        poll = _select.poll()
        poll.register(self._descriptor, READABLE)
        step = FIRST_WAIT
        while not poll.poll(step * 1000):
            step = min(2 * step, LONGEST_WAIT)
