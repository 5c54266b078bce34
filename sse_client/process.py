"""The exit of the process, which stops all readers, and its forks.

At its exit the interpreter first waits for the threads that are not daemons. So a session continues
as long as such a thread consumes it. The ``atexit`` handlers that were registered after the import
of this package still find the session open.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

from sse_client.clock import Deadline, Doorbell

if TYPE_CHECKING:
    from collections.abc import Iterable


class Inherited(Protocol):
    """An object that a forked child inherits from its parent."""

    def disown(self) -> None:
        """Leave everything to the parent, whichever locks were held at the fork. Never blocks."""


class Follower(Inherited, Protocol):
    """An object that is stopped with the process: a reader and its thread."""

    def stop(self) -> None:
        """Ask the thread to end. Does not block."""

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, for at most ``timeout`` seconds."""


#: The objects whose threads may be running, to be stopped at the interpreter's exit.
_live: weakref.WeakSet[Follower] = weakref.WeakSet()

#: All other objects with their own locks and connections. In a child, all of these stay the
#: parent's.
_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()

#: How long closing waits for threads to end, in seconds: for a session's thread, or for all threads
#: of a merge, a client or the process together. Only threads in the system's resolver need longer.
CLOSE_TIMEOUT = 1.0

#: How long ``pause_at_exit`` blocks, in seconds: longer than stopping all readers may take.
_PAUSE = 2 * CLOSE_TIMEOUT


#: The process that created everything in ``_live`` and ``_inherited``.
_process_id = os.getpid()


def disown_if_forked() -> None:
    """Detect a fork that bypassed Python, such as uWSGI's, and leave everything to the parent.

    Call this before waiting, taking a lock or touching a socket. It costs a system call, so it is
    too slow to call for each event.
    """
    if os.getpid() != _process_id:
        disown_all()


def end_with_process(follower: Follower) -> None:
    """Stop it at the interpreter's exit, and disown it in a forked child."""
    disown_if_forked()  # before there is anything that belongs to this process
    _live.add(follower)


def disown_in_child(inherited: Inherited) -> None:
    """Disown it in a forked child."""
    disown_if_forked()  # before there is anything that belongs to this process
    _inherited.add(inherited)


def stop_all(followers: Iterable[Follower], timeout: float) -> None:
    """Stop all of them, then wait for their threads, for at most ``timeout`` seconds in all."""
    deadline = Deadline.after(timeout)
    stopped = _list_of(followers)
    for follower in stopped:
        follower.stop()
    # A shared thread ends them in order. So after the wait for the last one, the others need none.
    for follower in reversed(stopped):
        follower.join(deadline.seconds_left())


def _list_of(followers: Iterable[Follower]) -> list[Follower]:
    while True:
        try:
            return list(followers)
        except RuntimeError:
            pass  # a daemon thread has added one; a lock would not do: it may be held at a fork


def main_thread_has_ended() -> bool:
    """Return whether the main thread has ended. Python 3.12 and later then start no threads."""
    return not threading.main_thread().is_alive()


_is_ending = False


def is_ending() -> bool:
    """Return whether the interpreter's exit has begun to stop the readers."""
    return _is_ending


def pause_at_exit() -> None:
    """Block a thread whose wait the interpreter's exit has ended, before the wait raises an error.

    Only daemon threads and greenlets wait then. Usually the process ends during this pause, so
    that the error is not printed. The pause is limited, because a handler of ``atexit`` may join
    the thread.
    """
    if _is_ending and threading.get_ident() != threading.main_thread().ident:
        Doorbell().wait(_PAUSE)


def _end() -> None:
    global _is_ending  # noqa: PLW0603  # a process exits once
    disown_if_forked()
    _is_ending = True
    stop_all(_live, CLOSE_TIMEOUT)


atexit.register(_end)


def disown_all() -> None:
    """Disown everything in a forked child: its threads are gone, its sockets are the parent's."""
    global _process_id  # noqa: PLW0603  # there is one per process
    _process_id = os.getpid()
    for inherited in (*_live, *_inherited):
        inherited.disown()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=disown_all)
