"""How the two sides of a channel wait for each other, while consumers take events without a lock.

Consumers take events without the channel's mutex, because ``deque.popleft`` is atomic. So a thread
that holds the mutex may see the queue shrink, but never grow. A thread that waits for room first
sets ``wake_at`` and then checks the queue again. A consumer has either taken its event before that
check, or it sees ``wake_at`` afterwards, takes the mutex and wakes the waiting threads. This relies
on the memory model of an interpreter with a global lock. Without one, consumers take the mutex.

With the mutex around each event, reading a stream to its end takes 1.2 to 1.6 times the processor
time, depending on the framing (``benchmarks/whole_way.py``).
"""

from __future__ import annotations

import contextlib
import functools
import math
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from sse_client.clock import acquire

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import Callable

    from sse_client.clock import Doorbell

HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

#: Less than any number of events: no thread waits for room.
_NEVER = -1


def deadline_of(*, block: bool, timeout: float | None) -> float | None:
    """Return the deadline on the monotonic clock, or None to wait without a limit."""
    if not block:
        return float("-inf")
    return None if timeout is None else time.monotonic() + timeout


class WaitList:
    """The threads and tasks that wait for one kind of change, in order of arrival.

    Each is represented by the function that wakes it, which is called at most once. All methods
    except the waits require the mutex. The mutex is reentrant, so a finaliser or a signal handler
    may run between any two steps. A thread therefore joins the list before it checks for the
    change, so it cannot miss one.
    """

    __slots__ = ("_mutex", "wakes")

    def __init__(self, mutex: threading.RLock) -> None:
        self._mutex = mutex
        #: The functions that wake them. An open stream has five of these lists, and most of them
        #: stay empty. So there is no list at first. A deque takes 600 bytes.
        self.wakes: list[Callable[[], object]] | tuple[()] = ()

    def join(self, wake: Callable[[], object]) -> None:
        """Call this function at the next change."""
        if self.wakes:
            self.wakes.append(wake)
        else:
            self.wakes = [wake]

    def leave(self, wake: Callable[[], object]) -> None:
        """Remove this function from the list. It may have been called already."""
        if self.wakes:
            with contextlib.suppress(ValueError):
                self.wakes.remove(wake)

    def wake(self, count: int) -> None:
        """Wake at most ``count`` of them, the longest waiting first. Never blocks."""
        wakes = self.wakes
        while count > 0 and wakes:
            try:
                wakes.pop(0)()
            except RuntimeError:
                continue  # the event loop of a task was closed in the meantime
            count -= 1

    def wake_all(self) -> None:
        """Wake all of them. Never blocks."""
        self.wake(len(self.wakes))

    def wait(self, is_due: Callable[[], object], deadline: float | None) -> bool:
        """Block the calling thread until it is woken, unless ``is_due``. Wake-ups may be spurious.

        Returns:
            False if the deadline has passed, in which case it did not wait. Otherwise True.
        """
        longest = math.inf if deadline is None else deadline - time.monotonic()
        # One lock, released once. A condition would also take the mutex again.
        lock = threading.Lock()
        lock.acquire()
        wake = lock.release
        was_woken = False
        try:
            with self._mutex:
                self.join(wake)
                if is_due():
                    return True
            if longest <= 0:
                return False
            was_woken = acquire(lock, longest)
        finally:
            if not was_woken:
                with self._mutex:
                    self.leave(wake)
        return True

    async def wait_in_task(self, is_due: Callable[[], object]) -> None:
        """Suspend the calling asyncio task until it is woken, unless ``is_due``."""
        import asyncio  # noqa: PLC0415  # whoever gets here has it

        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        wake = functools.partial(loop.call_soon_threadsafe, _resolve, woken)
        try:
            with self._mutex:
                self.join(wake)
                if is_due():
                    return
            await woken
        finally:
            if not woken.done() or woken.cancelled():
                with self._mutex:
                    self.leave(wake)


class Watcher(Protocol):
    """Follows the number of events of a channel, to take them in order with those of others."""

    def update(self, available: int) -> None:
        """Record the number of events, plus one if the channel has ended.

        Called on any thread with the channel's mutex held, so it must return at once.
        """

    @property
    def wake(self) -> Callable[[], object]:
        """Wakes the consumer. Called after one or more calls of ``update``."""


async def next_turn() -> None:
    """Let the other tasks of the event loop run."""
    import asyncio  # noqa: PLC0415  # whoever gets here has it

    await asyncio.sleep(0)


def _resolve(woken: asyncio.Future[None]) -> None:
    if not woken.done():  # it may have been cancelled in the meantime
        woken.set_result(None)


class RoomWaiters:
    """The threads that wait for room: the reader thread, on its doorbell, and callers of ``put``.

    All methods except ``wake`` and ``wait_while`` require the channel's mutex.

    Args:
        mutex: The channel's mutex.
        events: The channel's queue.
        bell: The doorbell on which the reader thread waits.
    """

    __slots__ = ("_bell", "_events", "_mutex", "_putting", "wake_at")

    def __init__(self, mutex: threading.RLock, events: deque[Any], bell: Doorbell) -> None:
        self._mutex = mutex
        self._events = events
        self._bell = bell
        self._putting = WaitList(mutex)
        #: A consumer calls ``wake`` when at most this number of events is left.
        self.wake_at = _NEVER

    def wake(self) -> None:
        """Wake all of them. A thread that still has no room waits again. Takes the mutex."""
        with self._mutex:
            self._bell.ring()
            self._putting.wake_all()
            self.wake_at = _NEVER  # last, in case Ctrl-C interrupts before

    def ring_at_half(self) -> None:
        """Let the doorbell ring once half of the events have been taken."""
        half = len(self._events) // 2
        self.wake_at = max(self.wake_at, half)
        if len(self._events) <= half:
            self._bell.ring()  # enough have been taken already

    def wait_while(self, is_full: Callable[[], bool], deadline: float | None) -> None:
        """Wait until there is or was room for one event. Call this without the mutex.

        Raises:
            queue.Full: There was no room by the deadline.
        """

        def has_room() -> bool:
            self.wake_at = max(self.wake_at, len(self._events) - 1)
            return not is_full()  # checked again, now that consumers see ``wake_at``

        while is_full():
            if not self._putting.wait(has_room, deadline):
                raise queue.Full
