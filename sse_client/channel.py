"""The channel between the reader thread and the consumers: a bounded, closable, iterable queue.

Locks: ``mutex`` (the one of ``queue.Queue``) guards the queue, its counters and the end. It is held
for moments only, never while waiting for the network or calling anybody. It is reentrant, since a
garbage collection may run a finaliser that closes the session on a thread that holds it.

Consumers take events without it: ``deque.popleft`` is atomic, and what an event needs is far less
than what a lock costs. So whoever holds the mutex may see the queue shrink, but never grow. Whoever
waits for room first says so in ``_is_room_wanted`` and then looks again: a consumer either took its
event before that look, or sees the flag behind it, takes the mutex and wakes. That needs the memory
of an interpreter with a global lock; without one, consumers take the mutex.

With a position to keep they take it, too, so that events are noted in the order in which they are
handed out; what a consumer had before is acknowledged, and saved, ahead of that and without it.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from sse_client.clock import Doorbell
from sse_client.errors import ChannelOverflowError, SSEClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sse_client.events import ServerSentEvent
    from sse_client.positions import PositionKeeper

    _Base = queue.Queue[ServerSentEvent]
    _ShutDown = Exception
else:
    _Base = queue.Queue
    _ShutDown = getattr(queue, "ShutDown", Exception)

Overflow = Literal["block", "drop_oldest", "drop_newest", "error"]

#: About a thousand events: enough for a consumer's hiccup, little enough to fall behind visibly.
DEFAULT_CAPACITY = 1024

#: For streams of large events, of which a thousand would be too many. Counted as received.
DEFAULT_CAPACITY_BYTES = 64 * 1024 * 1024

_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

_RARE_CONDITIONS = ("not_full", "all_tasks_done")

#: How long a waiter may sleep before it looks again by itself, in seconds.
_LOOK_AGAIN = 1.0


#: Always empty.
_NOTHING: deque[Any] = deque()


class ChannelClosed(SSEClientError, _ShutDown):
    """The channel is closed and drained: no event will come any more.

    From Python 3.13 on it is a ``queue.ShutDown``, too.
    """

    def __init__(self, message: str = "the session has ended: no more events will come") -> None:
        super().__init__(message)


class IncomingChannel(_Base):
    """The events of a session, as a ``queue.Queue``: any number of threads may consume it.

    ``get``, ``get_nowait``, ``qsize``, ``task_done``, ``join`` and the rest mean what they mean
    there; beyond it the channel can be iterated, and it ends. ``for event in channel`` waits for
    each event and stops when the session has ended cleanly or was closed. When it ended with an
    error, that is raised after the last event, to each consumer. Leaving the loop loses nothing:
    iterating again goes on with the next event.

    Args:
        capacity: The most events that it holds.
        capacity_bytes: The most bytes of the stream that it holds, counted as received; a single
            larger event passes when it is alone.
        overflow: What happens when it is full: ``"block"`` the reader thread, so that TCP's
            back-pressure reaches the server; ``"drop_oldest"``; ``"drop_newest"``; or end with an
            ``"error"``.
        keeper: Who keeps the position of the consumers, if anybody does.
    """

    _take: Callable[[], ServerSentEvent]

    def __init__(
        self,
        capacity: int = DEFAULT_CAPACITY,
        capacity_bytes: int = DEFAULT_CAPACITY_BYTES,
        overflow: Overflow = "block",
        keeper: PositionKeeper | None = None,
    ) -> None:
        super().__init__(capacity)
        self._make_locks()
        self.keeper = keeper
        self.capacity_bytes = capacity_bytes
        self.overflow = overflow
        #: Rung when a blocked ``offer`` may go on, or never will.
        self.room = Doorbell()
        #: Kept for the session: as long as the channel is in use, so is the session.
        self.owner: object = None
        self._ended = False
        self.is_shutdown = False  # the same, as Python 3.13 calls it
        self._error: Exception | None = None
        self._dropped = 0
        # Bytes are counted by batch and by the offering side alone: how many events had been put in
        # when a batch was complete, and its bytes. What left the queue is known from its length.
        self._put_count = 0
        self._batches: list[tuple[int, int]] = []  # from ``_first_batch`` on; a deque has 700 bytes
        self._first_batch = 0
        self._batch_bytes = 0
        self._wake_at: int | None = None  # ring ``room`` once no more events than that are left
        self._putters = 0  # how many threads wait in ``put``
        self._is_room_wanted = False
        # Which of the events, in the order of ``_put_count``, are not the stream's.
        self._own: deque[int] = _NOTHING if keeper is None else deque()
        if keeper is not None:
            self._take = _NOTHING.popleft  # so that each goes the long way

    def _make_locks(self) -> None:
        """Make the mutex and what waits on it; the one of ``queue.Queue`` isn't reentrant."""
        self.mutex: Any = threading.RLock()
        self.not_empty = threading.Condition(self.mutex)
        for name in _RARE_CONDITIONS:
            self.__dict__.pop(name, None)
        # No method of the channel itself: an abandoned one has to go at once.
        self._take = (
            self.queue.popleft if _HAS_GIL else partial(_take_locked, self.mutex, self.queue)
        )

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as of any object
        """Make what few wait for once it is wanted: a thousand channels have none of it."""
        if name not in _RARE_CONDITIONS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with self.mutex:
            return self.__dict__.setdefault(name, threading.Condition(self.mutex))

    @property
    def dropped(self) -> int:
        """How many events were dropped because the channel was full."""
        return self._dropped

    # The consumers' side.

    def get(self, block: bool = True, timeout: float | None = None) -> ServerSentEvent:
        """Take the next event, waiting for one if ``block``. Thread-safe.

        Args:
            block: Whether to wait at all.
            timeout: How long to wait, in seconds; None waits until the session ends.

        Raises:
            queue.Empty: There was none in that time.
            CursorError: What this thread had before could not be saved; nothing is lost by it, and
                the next call tries again.
            ChannelClosed: The session has ended cleanly or was closed, and all was taken.
            SSEClientError: The session has ended with this error, and all was taken.
            ValueError: A negative ``timeout``.
        """
        if timeout is None or timeout >= 0:
            try:
                event = self._take()
            except IndexError:
                return self._wait_for_event(block, timeout)
            if self._is_room_wanted:
                self._tell_of_room()
            return event
        raise ValueError("'timeout' must be a non-negative number")

    def _wait_for_event(self, block: bool, timeout: float | None) -> ServerSentEvent:
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.keeper is not None:
            self.keeper.come_back()
        with self.mutex:
            if self._is_room_wanted:
                self._tell_of_room()  # Ctrl-C may have kept the last event's taker from it
            while True:
                try:
                    event: ServerSentEvent = self.queue.popleft()
                    break
                except IndexError:
                    pass
                if self._ended:
                    self._raise_end()
                left = _LOOK_AGAIN if deadline is None else deadline - time.monotonic()
                if not block or left <= 0:
                    raise queue.Empty
                # Not for long: a signal handler that closes the session on this very thread,
                # between the look above and this wait, notifies nobody.
                self.not_empty.wait(min(left, _LOOK_AGAIN))
            if self.keeper is not None:
                self._note_handed_out(self.keeper, event)
            if self._is_room_wanted:
                self._tell_of_room()
            return event

    def _note_handed_out(self, keeper: PositionKeeper, event: ServerSentEvent) -> None:
        number = self._put_count - len(self.queue)
        while self._own and self._own[0] < number:
            self._own.popleft()  # it was dropped
        is_own = bool(self._own) and self._own[0] == number
        keeper.hand_out(None if is_own else event, is_last=self._ended and not self.queue)

    def _tell_of_room(self) -> None:
        """Wake who waits for room, now that an event was taken."""
        with self.mutex:
            if self._wake_at is not None and len(self.queue) <= self._wake_at:
                self.room.ring()  # first: Ctrl-C may come between
                self._wake_at = None
            if self._putters:
                self.not_full.notify()
            self._is_room_wanted = self._wake_at is not None or self._putters > 0

    def __iter__(self) -> IncomingChannel:
        """Return the channel itself: all its iterators share the events."""
        return self

    def __next__(self) -> ServerSentEvent:
        """Wait for the next event; stop when the session has ended and all was taken."""
        try:
            event = self._take()
        except IndexError:
            try:
                return self._wait_for_event(block=True, timeout=None)
            except ChannelClosed:
                raise StopIteration from None
        if self._is_room_wanted:
            self._tell_of_room()
        return event

    def _raise_end(self) -> NoReturn:
        if self._error is None:
            raise ChannelClosed
        # The same error may be raised often: to several consumers, or to one that asks again.
        raise self._error.with_traceback(None)

    # The putting side.

    def put(self, item: ServerSentEvent, block: bool = True, timeout: float | None = None) -> None:
        """Put an event of one's own at the end, waiting for room if ``block``. Thread-safe.

        It is not the stream's, so it has no part in the position that a ``cursor`` keeps.

        Raises:
            queue.Full: There was no room in that time.
            ChannelClosed: The session has ended.
            ValueError: A negative ``timeout``.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.mutex:
            self._putters += 1
            self._is_room_wanted = True
            try:
                while not self._ended and 0 < self.maxsize <= len(self.queue):
                    left = _LOOK_AGAIN if deadline is None else deadline - time.monotonic()
                    if not block or left <= 0:
                        raise queue.Full
                    self.not_full.wait(min(left, _LOOK_AGAIN))
            finally:
                self._putters -= 1
            if self._ended:
                raise ChannelClosed
            self._append([item])
            if self.keeper is not None:
                self._own.append(self._put_count)

    def offer(self, events: Sequence[ServerSentEvent], size: int) -> Sequence[ServerSentEvent]:
        """Put in what ``overflow`` allows, and return the rest.

        Never blocks; for the reader thread.

        Args:
            events: Events, in order.
            size: How many bytes of the stream they took; 0 for the rest of a batch that has begun.

        Returns:
            Those for which there is no room: only with ``"block"``, and ``room`` rings when it is
            worth coming again.

        Raises:
            ChannelClosed: The channel has ended.
            ChannelOverflowError: With ``overflow="error"``, after those that had room.
        """
        with self.mutex:
            if self._ended:
                raise ChannelClosed
            # Not another event once the bytes are exceeded, unless there is nothing else.
            self._forget_taken_batches()
            free = self.maxsize - len(self.queue)
            if self._batch_bytes + size > self.capacity_bytes and self.queue:
                free = 0
            if self.overflow == "drop_oldest" and free < len(events):
                free = self._drop_oldest(len(events), size)
                self._dropped += len(events) - free
                events = events[len(events) - free :]
            accepted, rest = (events, ()) if free >= len(events) else (events[:free], events[free:])
            if accepted:
                self._append(accepted)
            if size and accepted:
                self._batches.append((self._put_count, size))
                self._batch_bytes += size
            if not rest or self.overflow == "drop_newest":
                self._dropped += len(rest)
                return ()
            if self.overflow == "error":
                raise ChannelOverflowError(
                    f"the consumer did not keep up: the channel is full "
                    f"(capacity={self.maxsize}, capacity_bytes={self.capacity_bytes})",
                    capacity=self.maxsize,
                    capacity_bytes=self.capacity_bytes,
                )
            self._wake_at = len(self.queue) // 2
            self._is_room_wanted = True
            if len(self.queue) <= self._wake_at:
                self.room.ring()  # enough was taken meanwhile
            return rest

    def append_arrived(self, events: Sequence[ServerSentEvent]) -> None:
        """Put in what has arrived although there is no room: nothing more will. Never blocks."""
        with self.mutex:
            if not self._ended:
                self._append(events)

    def _append(self, events: Sequence[ServerSentEvent]) -> None:
        self.queue.extend(events)
        self._put_count += len(events)
        self.unfinished_tasks += len(events)
        self.not_empty.notify(len(events))

    def _forget_taken_batches(self) -> None:
        taken = self._put_count - len(self.queue)
        batches, first = self._batches, self._first_batch
        while first < len(batches) and batches[first][0] <= taken:
            self._batch_bytes -= batches[first][1]
            first += 1
        if first * 2 >= len(batches):  # not each time: what is left moves up
            del batches[:first]
            first = 0
        self._first_batch = first

    def _drop_oldest(self, count: int, size: int) -> int:
        """Make room for ``count`` events of ``size`` bytes; return for how many there is some."""
        count = min(count, self.maxsize)
        while self.queue and (
            len(self.queue) + count > self.maxsize or self._batch_bytes + size > self.capacity_bytes
        ):
            with contextlib.suppress(IndexError):  # a consumer took the last one just now
                self.queue.popleft()
                self._dropped += 1
                self._finish_tasks(1)
            self._forget_taken_batches()
        return count

    # The end.

    def end(self, error: Exception | None = None) -> None:
        """Let the consumers take what is there, and then raise ``error`` or stop. Thread-safe."""
        with self.mutex:
            if not self._ended:
                self._ended = self.is_shutdown = True
                self._error = error
                self._wake_everybody()
            is_drained = not self.queue
        if is_drained and self.keeper is not None:
            self.keeper.drained()

    def disown(self, error: Exception) -> None:
        """End with this error in a forked child, whatever lock was held at the fork."""
        self._make_locks()
        self.queue.clear()
        self.unfinished_tasks = 0
        self._ended, self._error = True, error
        if self.keeper is not None:
            self.keeper.disown()

    def close(self) -> None:
        """Drop what is there, and let the consumers stop at once. Thread-safe."""
        with self.mutex:
            self._ended = self.is_shutdown = True
            self._error = None
            dropped = 0
            with contextlib.suppress(IndexError):  # one by one: consumers take some meanwhile
                while True:
                    self.queue.popleft()
                    dropped += 1
            self._finish_tasks(dropped)
            self._batches.clear()
            self._first_batch = self._batch_bytes = 0
            self._wake_everybody()
        if self.keeper is not None:
            self.keeper.close()

    def shutdown(self, immediate: bool = False) -> None:
        """End the channel as ``queue.Queue.shutdown`` of Python 3.13 does. Thread-safe."""
        if immediate:
            self.close()
        else:
            self.end()

    def _finish_tasks(self, count: int) -> None:
        self.unfinished_tasks = max(0, self.unfinished_tasks - count)
        if not self.unfinished_tasks and "all_tasks_done" in self.__dict__:
            self.all_tasks_done.notify_all()

    def _wake_everybody(self) -> None:
        self._wake_at = None
        self.room.ring()
        self.not_empty.notify_all()
        if self._putters:
            self.not_full.notify_all()


def _take_locked(mutex: threading.RLock, events: deque[ServerSentEvent]) -> ServerSentEvent:
    with mutex:
        return events.popleft()
