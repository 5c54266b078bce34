"""The channel between the reader thread and the consumers: a bounded, closable, iterable queue.

Locks: ``mutex`` (the one of ``queue.Queue``) guards the queue, its counters and the end. It is held
for moments only, never during I/O or a callback of the user's. It is reentrant, since a garbage
collection may run a finaliser that closes the session on a thread that holds it.

Consumers take events without it, as ``waiting`` explains. With a position to keep they take it, so
that events are noted in the order in which they are handed out. The event that a consumer had
before is acknowledged and saved ahead of that, without the mutex.

Ctrl-C in the few steps in which an event leaves the queue may take that event from a program that
catches KeyboardInterrupt and goes on, as with any ``queue.Queue``; then the position passes it,
too. A program that ends by it loses nothing: what it had in hand comes again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

from sse_client.channel.bounds import DEFAULT_CAPACITY, DEFAULT_CAPACITY_BYTES, Bounds, Overflow
from sse_client.channel.waiting import HAS_GIL, RoomWaiters, deadline_of, wait_for_change
from sse_client.clock import Doorbell
from sse_client.errors import SSEClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import TypeVar  # which knows defaults

    from sse_client.cursors.keeper import PositionKeeper
    from sse_client.event_stream.events import ServerSentEvent

    E = TypeVar("E", default=ServerSentEvent)
    _ShutDown = Exception
else:
    from typing import TypeVar

    E = TypeVar("E")
    _ShutDown = getattr(queue, "ShutDown", Exception)


class ChannelClosed(SSEClientError, _ShutDown):
    """The channel is closed and drained: no further event will arrive.

    From Python 3.13 on it is a ``queue.ShutDown``, too.
    """

    def __init__(self, message: str = "the session has ended: no more events will come") -> None:
        super().__init__(message)


class IncomingChannel(queue.Queue[E]):
    """The events of a session, as a ``queue.Queue``: any number of threads may consume it.

    ``get``, ``get_nowait``, ``qsize``, ``task_done``, ``join`` and the rest mean what they mean
    there; beyond it the channel can be iterated, and it ends. ``for event in channel`` waits for
    each event and stops when the session has ended cleanly or was closed. When it ended with an
    error, that is raised after the last event, to each consumer. Leaving the loop loses nothing:
    iterating again goes on with the next event.

    Args:
        capacity: The most events that it holds; 0 for any number.
        capacity_bytes: The most bytes of the stream that it holds, counted as received; a single
            larger event passes when it is alone.
        overflow: What happens when it is full: ``"block"`` the reader thread, so that TCP's
            back-pressure reaches the server; ``"drop_oldest"``; ``"drop_newest"``; or end with an
            ``"error"``.
    """

    def __init__(
        self,
        capacity: int = DEFAULT_CAPACITY,
        capacity_bytes: int = DEFAULT_CAPACITY_BYTES,
        overflow: Overflow = "block",
    ) -> None:
        super().__init__(capacity)
        #: Rung when a blocked ``offer`` may go on, or never will.
        self.room = Doorbell()
        self._make_locks()
        #: Keeps the position of the consumers, if any does; ``keep_position`` sets it.
        self.keeper: PositionKeeper | None = None
        self.capacity_bytes = capacity_bytes
        self.overflow = overflow
        #: Kept for the session: as long as the channel is in use, so is the session.
        self.owner: object = None
        self._takes_lock = not HAS_GIL
        self._ended = False
        self.is_shutdown = False  # the same, for programs that know queue.Queue of Python 3.13
        self._error: Exception | None = None
        self._bounds = Bounds(self.queue, capacity, capacity_bytes, overflow)
        #: Called with the number of events, and one more for the end, whenever there are more.
        self._watcher: Callable[[int], None] | None = None
        #: Which of the events, by how many had been put in, are not the stream's; with a keeper.
        self._own: deque[int] | None = None

    def _make_locks(self) -> None:
        """Make the mutex and what waits on it; the one of ``queue.Queue`` isn't reentrant."""
        self.mutex: Any = threading.RLock()
        self.not_empty = threading.Condition(self.mutex)
        # Nothing waits on these two: ``put``, ``join`` and ``task_done`` are the channel's own. A
        # condition takes more than a kilobyte, which would be multiplied by the open streams.
        self.not_full = self.all_tasks_done = self.not_empty
        # No method of the channel itself, here: an abandoned channel has to go at once.
        self._waiters = RoomWaiters(self.mutex, self.queue, self.room)

    def keep_position(self, keeper: PositionKeeper) -> None:
        """Report each event that is handed out to a keeper. Before the first event."""
        self.keeper = keeper
        self._takes_lock = True
        self._own = deque()

    @property
    def dropped(self) -> int:
        """How many events were dropped because the channel was full."""
        return self._bounds.dropped

    # The consumers' side.

    def get(self, block: bool = True, timeout: float | None = None) -> E:
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
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if not self._takes_lock:
            try:
                event: E = self.queue.popleft()
            except IndexError:
                pass  # and not here: what the wait raises is not about this error
            else:
                self._tell_of_room()
                return event
        return self._wait_for_event(deadline_of(block=block, timeout=timeout))

    def _wait_for_event(self, deadline: float | None) -> E:
        if self.keeper is not None:
            self.keeper.come_back()
        with self.mutex:
            self._tell_of_room()  # Ctrl-C may have kept the last event's taker from it
            while True:
                try:
                    event: E = self.queue.popleft()
                    break
                except IndexError:
                    pass
                if self._ended:
                    self._raise_end()
                wait_for_change(self.not_empty, deadline, queue.Empty)
            if self.keeper is not None:
                self._note_handed_out(self.keeper, event)
            self._tell_of_room()
            return event

    def _tell_of_room(self) -> None:
        if len(self.queue) <= self._waiters.wake_at:
            self._waiters.wake()

    def _note_handed_out(self, keeper: PositionKeeper, event: Any) -> None:  # noqa: ANN401  # the stream's, or any
        number, own = self._bounds.put_count - len(self.queue), self._own
        while own and own[0] < number:
            own.popleft()  # it was dropped
        of_stream = None if own and own[0] == number else event
        keeper.hand_out(of_stream, is_last=self._ended and not self.queue)

    def task_done(self) -> None:
        """Say that an event that was taken has been worked on, as for any ``queue.Queue``.

        Raises:
            ValueError: All of them have been already.
        """
        with self.mutex:
            if self.unfinished_tasks <= 0:
                raise ValueError("task_done() called too many times")
            self._finish_tasks(1)

    def join(self) -> None:
        """Block until all events that were put in have been worked on, or were dropped."""
        with self.mutex:
            while self.unfinished_tasks:
                self._waiters.condition.wait()

    def __iter__(self) -> IncomingChannel[E]:
        """Return the channel itself: all its iterators share the events."""
        return self

    def __next__(self) -> E:
        """Wait for the next event; stop when the session has ended and all was taken."""
        if not self._takes_lock:  # as in ``get``, with one call less: this is the hot path
            try:
                event: E = self.queue.popleft()
            except IndexError:
                pass
            else:
                if len(self.queue) <= self._waiters.wake_at:
                    self._waiters.wake()
                return event
        try:
            return self._wait_for_event(deadline=None)
        except ChannelClosed:
            raise StopIteration from None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, as for another process."""
        raise TypeError(
            "an IncomingChannel cannot be pickled or copied: its session belongs to this process; "
            "hand over the events"
        )

    def _raise_end(self) -> NoReturn:
        if self._error is None:
            raise ChannelClosed
        # The same error may be raised often: to several consumers, or to one that asks again.
        raise self._error.with_traceback(None)

    def watch(self, watcher: Callable[[int], None] | None) -> None:
        """Have a function told whenever there is more to be had; None ends that. Never blocks.

        It is called with the number of events, and one more for the end, on any thread, and must
        return at once: the mutex is held.

        Raises:
            ValueError: There is a watcher already.
        """
        with self.mutex:
            if watcher is not None and self._watcher is not None:
                raise ValueError("the session is merged already")
            self._watcher = watcher
            self._tell_watcher()

    def _tell_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher(self.available())

    def available(self) -> int:
        """Return how many events there are, and one more for the end. Never blocks."""
        return len(self.queue) + self._ended

    # The putting side.

    def put(self, item: E, block: bool = True, timeout: float | None = None) -> None:
        """Put an event of one's own at the end, waiting for room if ``block``. Thread-safe.

        It is not the stream's, so it has no part in the position that a ``cursor`` keeps.

        Raises:
            queue.Full: There was no room in that time.
            ChannelClosed: The session has ended.
            ValueError: A negative ``timeout``.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        deadline = deadline_of(block=block, timeout=timeout)
        with self.mutex:
            self._waiters.wait_while(self._is_full, deadline)
            if self._ended:
                raise ChannelClosed
            self._append([item])
            if self._own is not None:
                self._own.append(self._bounds.put_count)

    def _is_full(self) -> bool:
        return not self._ended and 0 < self.maxsize <= len(self.queue)

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
            pushed_out = self._bounds.pushed_out
            accepted, rest = self._bounds.admit(events, size)
            self._finish_tasks(self._bounds.pushed_out - pushed_out)
            if accepted:
                self._append(accepted)
            if self._bounds.refuse(rest):
                return ()
            self._waiters.ring_at_half()
            return rest

    def append_arrived(self, events: Sequence[ServerSentEvent]) -> None:
        """Put in what has arrived although there is no room: nothing more will. Never blocks."""
        with self.mutex:
            if not self._ended:
                self._append(events)

    def _append(self, events: Sequence[object]) -> None:
        self.queue.extend(events)
        self._bounds.put_count += len(events)
        self.unfinished_tasks += len(events)
        self.not_empty.notify(len(events))
        if self._watcher is not None:
            self._tell_watcher()

    # The end.

    def end(self, error: Exception | None = None, *, may_block: bool = False) -> None:
        """Let the consumers take what is there, and then raise ``error`` or stop. Thread-safe.

        Args:
            error: What the consumers get after the last event.
            may_block: Whether the calling thread may close the cursor.
        """
        with self.mutex:
            if not self._ended:
                self._mark_ended(error)
                self._wake_everybody()
            is_drained = not self.queue
        if is_drained and self.keeper is not None:
            self.keeper.drained(may_block=may_block)

    def disown(self, error: Exception) -> None:
        """End with this error in a forked child, whatever lock was held at the fork."""
        self._make_locks()
        self.queue.clear()
        self.unfinished_tasks = 0
        self._mark_ended(error)
        self._tell_watcher()
        if self.keeper is not None:
            self.keeper.disown()

    def close(self) -> None:
        """Drop what is there, and let the consumers stop at once. Thread-safe."""
        with self.mutex:
            self._mark_ended(None)
            dropped = 0
            with contextlib.suppress(IndexError):  # one by one: consumers take some meanwhile
                while True:
                    self.queue.popleft()
                    dropped += 1
            self._finish_tasks(dropped)
            self._wake_everybody()
        if self.keeper is not None:
            self.keeper.close()

    def shutdown(self, immediate: bool = False) -> None:
        """End the channel as ``queue.Queue.shutdown`` of Python 3.13 does. Thread-safe."""
        if immediate:
            self.close()
        else:
            self.end()

    def _mark_ended(self, error: Exception | None) -> None:
        self._ended = self.is_shutdown = True
        self._error = error

    def _finish_tasks(self, count: int) -> None:
        self.unfinished_tasks = max(0, self.unfinished_tasks - count)
        if count and not self.unfinished_tasks:
            self._waiters.notify()

    def _wake_everybody(self) -> None:
        self._waiters.wake()
        self.not_empty.notify_all()
        self._tell_watcher()
