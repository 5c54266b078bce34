"""The process's life: its exit, which stops all readers, and its forks.

At the exit the interpreter waits for the threads that are no daemons first. So a session goes on
as long as such a thread consumes it, and the handlers of ``atexit`` that were registered after the
import of this package still find it open.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING, Protocol

from sse_client.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable


class Inherited(Protocol):
    """What a forked child finds as its parent had it."""

    def disown(self) -> None:
        """Leave all to the parent, whatever lock was held at the fork. Never blocks."""


class Follower(Inherited, Protocol):
    """What is stopped with the process: a reader and its thread."""

    def stop(self) -> None:
        """Tell the thread to end. Does not block."""

    def join(self, timeout: float) -> None:
        """Wait for ``timeout`` seconds at most until it has ended."""


#: Those whose threads may be running, to be stopped at the interpreter's exit.
_live: weakref.WeakSet[Follower] = weakref.WeakSet()

#: Those, and whatever else has locks and connections of its own, to be left to the parent.
_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()

#: How long closing waits for threads to end, in seconds: that of a session, or those of a merge, of
#: a client or of the process together. They end at once, but for those in the system's resolver.
CLOSE_TIMEOUT = 1.0


def end_with_process(follower: Follower) -> None:
    """Have it stopped at the interpreter's exit, and disowned in a forked child."""
    _live.add(follower)
    disown_in_child(follower)


def disown_in_child(inherited: Inherited) -> None:
    """Have it disowned in a forked child."""
    _inherited.add(inherited)


def stop_all(followers: Iterable[Follower], timeout: float) -> None:
    """Stop all of them at once, and wait for their threads, ``timeout`` seconds in all."""
    deadline = Deadline.after(timeout)
    stopped = _list_of(followers)
    for follower in stopped:
        follower.stop()
    for follower in stopped:
        follower.join(deadline.seconds_left())


def _list_of(followers: Iterable[Follower]) -> list[Follower]:
    while True:
        try:
            return list(followers)
        except RuntimeError:
            pass  # a daemon thread has begun another meanwhile; a lock could be held at a fork


_is_ending = False


def is_ending() -> bool:
    """Return whether the interpreter's exit has begun to stop the readers."""
    return _is_ending


def _end() -> None:
    global _is_ending  # noqa: PLW0603  # the process has one end
    _is_ending = True
    stop_all(_live, CLOSE_TIMEOUT)


atexit.register(_end)


def disown_all() -> None:
    """In a forked child: the threads are gone, and the sockets are still the parent's."""
    for inherited in list(_inherited):
        inherited.disown()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=disown_all)
