"""The channel between the reader thread and the consumers: a bounded, closable, iterable queue.

The lock ``_mutex`` guards the queue, its counters, the waiting threads and the end. It is held only
briefly, never during I/O or a user's callback. It is reentrant, because a garbage collection on a
thread that holds it may run a finaliser that closes the session.

The channel subclasses ``queue.Queue`` for its type and its public methods. It uses none of the
internals of that class, and looks up threading primitives when it needs them, because gevent and
eventlet replace both.

Consumers take events without the mutex, as ``waiting`` explains. If a cursor keeps the position,
they hold it, so that events are recorded in the order in which they are handed out. The consumer's
previous event is acknowledged and saved before that, without the mutex.

A process whose fork bypassed Python has a copy of the queue, and detects this by its process ID.
The ID is checked before each wait, before each use of the mutex, and before the first event that is
taken after the queue was empty, but not for each event.

A program that catches KeyboardInterrupt and continues may lose an event to a Ctrl-C in the moment
in which the event leaves the queue, as with any ``queue.Queue``. The position then passes that
event. A program that exits loses nothing: the events in progress are delivered again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

from sse_client.channel.bounds import DEFAULT_CAPACITY, DEFAULT_CAPACITY_BYTES, Bounds, Overflow
from sse_client.channel.waiting import HAS_GIL, RoomWaiters, WaitList, deadline_of, next_turn
from sse_client.clock import Doorbell
from sse_client.errors import SSEClientError
from sse_client.process import disown_if_forked, pause_at_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import TypeVar  # which knows defaults

    from sse_client.channel.waiting import Watcher
    from sse_client.cursors.keeper import PositionKeeper
    from sse_client.event_stream.events import ServerSentEvent

    E = TypeVar("E", default=ServerSentEvent)
    _ShutDown = Exception
else:
    from typing import TypeVar

    E = TypeVar("E")
    _ShutDown = getattr(queue, "ShutDown", Exception)


#: The number of events after which a task lets the other tasks of its event loop run.
_EVENTS_PER_TURN = 64


class ChannelClosed(SSEClientError, _ShutDown):
    """The channel is closed and drained: no further event will arrive.

    On Python 3.13 and newer it is also a ``queue.ShutDown``.
    """

    def __init__(self, message: str = "the session has ended: no more events will arrive") -> None:
        super().__init__(message)


class IncomingChannel(queue.Queue[E]):
    """The events of a session, as a ``queue.Queue``: any number of threads may consume it.

    The methods of ``queue.Queue`` work as usual. In addition, the channel can be iterated over,
    and it ends. ``for event in channel`` waits for each event, and stops when the session has ended
    cleanly or was closed. If the session ended with an error, each consumer gets the error after
    the last event. Leaving the loop loses nothing: the next loop continues with the next event.

    Args:
        capacity: The maximum number of events. 0 means no limit.
        capacity_bytes: The maximum number of bytes, counted as received. A single larger event is
            admitted if the channel is empty.
        overflow: What happens when the channel is full. ``"block"`` blocks the reader thread, so
            that TCP backpressure reaches the server. ``"drop_oldest"`` and ``"drop_newest"`` drop
            events. ``"error"`` ends the session with an error.
    """

    # Attributes of ``queue.Queue``, defined again because gevent's version makes them read-only.
    maxsize: int = 0
    #: The number of events put in but not yet reported by ``task_done``, as ``join`` counts them.
    unfinished_tasks: int = 0

    def __init__(
        self,
        capacity: int = DEFAULT_CAPACITY,
        capacity_bytes: int = DEFAULT_CAPACITY_BYTES,
        overflow: Overflow = "block",
    ) -> None:
        # super().__init__() is not called, because the internals of ``queue.Queue`` are not used.
        self.maxsize = capacity
        self.capacity_bytes = capacity_bytes
        self.overflow = overflow
        #: Rings when a caller may repeat an ``offer`` that lacked room, or when the channel has
        #: ended.
        self.room = Doorbell()
        #: Keeps the position of the consumers, if there is a cursor. ``keep_position`` sets it.
        self.keeper: PositionKeeper | None = None
        #: A reference to the session, which must live as long as the channel is in use.
        self.owner: object = None
        self.unfinished_tasks = 0
        self._events: deque[Any] = deque()
        self._make_locks()
        self._takes_lock = not HAS_GIL
        #: Whether the next consumer must check for a fork. Always True if consumers take the mutex.
        self._is_unchecked = True
        self._taken_by_tasks = 0
        self._ended = False
        self._error: Exception | None = None
        self._is_disowned = False
        self._bounds = Bounds(self._events, capacity, capacity_bytes, overflow)
        self._watcher: Watcher | None = None
        #: The numbers, in put order, of the events that users put in. Only with a keeper.
        self._own: deque[int] | None = None

    def _make_locks(self) -> None:
        self._mutex: Any = threading.RLock()
        self._takers = WaitList(self._mutex)
        self._joiners = WaitList(self._mutex)
        # Without a method of the channel, because a cycle would delay freeing an abandoned channel.
        self._waiters = RoomWaiters(self._mutex, self._events, self.room)

    def keep_position(self, keeper: PositionKeeper) -> None:
        """Report each event that is handed out to a keeper. Call this before the first event."""
        self.keeper = keeper
        self._takes_lock = self._is_unchecked = True
        self._own = deque()

    @property
    def dropped(self) -> int:
        """The number of events dropped because the channel was full."""
        return self._bounds.dropped

    # The state of the queue.

    def __repr__(self) -> str:
        """Show the number of events, and whether more may arrive."""
        state = "ended" if self._ended else "open"
        return f"<{type(self).__name__} {state}, {len(self._events)} waiting>"

    @property
    def is_shutdown(self) -> bool:
        """Whether the channel has ended, as in ``queue.Queue`` of Python 3.13 and newer."""
        disown_if_forked()
        return self._ended

    def qsize(self) -> int:
        """Return the number of events waiting. Thread-safe. Does not block."""
        disown_if_forked()
        return len(self._events)

    def empty(self) -> bool:
        """Return whether no event is waiting. Thread-safe. Does not block."""
        disown_if_forked()
        return not self._events

    def full(self) -> bool:
        """Return whether there are ``maxsize`` events. Thread-safe. Does not block."""
        disown_if_forked()
        return self._has_no_room()

    def _has_no_room(self) -> bool:
        return 0 < self.maxsize <= len(self._events)

    # The taking side.

    def get(self, block: bool = True, timeout: float | None = None) -> E:
        """Take the next event, and wait for one if ``block`` is True. Thread-safe.

        Args:
            block: Whether to wait.
            timeout: How long to wait, in seconds. None waits until the session ends.

        Raises:
            queue.Empty: No event arrived in time.
            CursorError: The position of this thread's previous event could not be saved. Nothing is
                lost, and the next call tries again.
            ChannelClosed: The session has ended cleanly or was closed, and no event is left.
            SSEClientError: The session has ended with this error, and no event is left.
            ValueError: ``timeout`` is negative.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if not self._is_unchecked:
            try:
                event: E = self._events.popleft()
            except IndexError:
                pass  # wait below, so that an error of the wait is not chained to this one
            else:
                if len(self._events) <= self._waiters.wake_at:
                    self._waiters.wake()
                return event
        try:
            return self._wait_for_event(block=block, timeout=timeout)
        except ChannelClosed:
            if block:
                pause_at_exit()
            raise

    def get_nowait(self) -> E:
        """Take the next event if there is one: ``get(block=False)``."""
        return self.get(block=False)

    def get_batch(self, max_events: int, timeout: float | None = None) -> list[E]:
        """Wait for the next event, and take it and the events after it. Thread-safe.

        With a ``cursor``, the whole batch is acknowledged when this thread asks for more.

        Example:
            >>> while batch := session.incoming.get_batch(500, timeout=5.0):  # doctest: +SKIP
            ...     database.insert(batch)

        Args:
            max_events: The maximum number of events.
            timeout: How long to wait for the first event, in seconds. None waits until the session
                ends.

        Returns:
            At least one event.

        Raises:
            queue.Empty, CursorError, ChannelClosed, SSEClientError: As for ``get``.
            TypeError, ValueError: ``max_events`` is not a positive int, or ``timeout`` is negative.
        """
        if type(max_events) is not int:  # True is not a number of events
            raise TypeError(f"max_events must be an int, not {type(max_events).__name__}")
        if max_events < 1:
            raise ValueError(f"max_events must be at least 1, not {max_events}")
        batch = [self.get(timeout=timeout)]
        with contextlib.suppress(IndexError):
            while len(batch) < max_events:
                self._take_more(batch)
        return batch

    def _take_more(self, batch: list[E]) -> None:
        """Add the next event to a batch. Raise IndexError if there is none."""
        batch.append(self._take())

    def _wait_for_event(self, *, block: bool = True, timeout: float | None = None) -> E:
        disown_if_forked()
        if self._is_unchecked and not self._takes_lock:
            self._is_unchecked = False
            try:
                event: E = self._events.popleft()
            except IndexError:
                pass
            else:
                if len(self._events) <= self._waiters.wake_at:
                    self._waiters.wake()
                return event
        deadline = deadline_of(block=block, timeout=timeout)
        if self.keeper is not None:
            self.keeper.finish_and_save()
        try:
            while True:
                self._is_unchecked = self._takes_lock
                if self._ended or self._events:
                    try:
                        return self._take_or_raise_end()
                    except IndexError:
                        pass  # another consumer was faster
                self._notify_of_room()  # Ctrl-C may have prevented the previous consumer's call
                if not self._takers.wait(self._has_news, deadline):
                    raise queue.Empty  # noqa: TRY301  # this must also pass on the wake-up
        except BaseException:
            self._pass_on()
            raise

    def _take(self, task: object = None) -> E:
        """Take the next event for a task, or for this thread. Raise IndexError if there is none."""
        if not self._takes_lock:
            event: E = self._events.popleft()
        else:
            with self._mutex:
                event = self._events.popleft()
                if self.keeper is not None:
                    self._note_handed_out(self.keeper, event, task)
        self._notify_of_room()
        return event

    def _take_or_raise_end(self, task: object = None) -> E:
        """Take the next event. If there is none, raise the error of the end, or IndexError."""
        with self._mutex:
            if self._ended and not self._events:
                self._raise_end()
            return self._take(task)

    def _has_news(self) -> bool:
        return self._ended or bool(self._events)

    def _pass_on(self) -> None:
        """Wake another consumer, because this one may have been woken but takes nothing."""
        with self._mutex:
            if self._events:
                self._takers.wake(1)

    def _notify_of_room(self) -> None:
        if len(self._events) <= self._waiters.wake_at:
            self._waiters.wake()

    def _note_handed_out(self, keeper: PositionKeeper, event: Any, task: object) -> None:  # noqa: ANN401  # users may put in anything
        number, own = self._bounds.put_count - len(self._events), self._own
        while own and own[0] < number:
            own.popleft()  # it was dropped
        of_stream = None if own and own[0] == number else event
        keeper.hand_out(of_stream, is_last=self._ended and not self._events, task=task)

    def task_done(self) -> None:
        """Report that an event that was taken has been processed, as for any ``queue.Queue``.

        Raises:
            ValueError: All events have been reported already.
            SessionClosedError: The session belongs to the parent of this forked process.
        """
        self.raise_if_disowned()
        with self._mutex:
            if self.unfinished_tasks <= 0:
                raise ValueError("task_done() called too many times")
            self._finish_tasks(1)

    def join(self) -> None:
        """Block until all events that were put in have been processed or dropped."""
        disown_if_forked()
        while self.unfinished_tasks:
            self._joiners.wait(lambda: not self.unfinished_tasks, None)

    def __iter__(self) -> IncomingChannel[E]:
        """Return the channel itself, because all its iterators share the events."""
        return self

    def __next__(self) -> E:
        """Wait for the next event. Stop when the session has ended and no event is left."""
        if not self._is_unchecked:  # as in ``get``, without a call: this is the hot path
            try:
                event: E = self._events.popleft()
            except IndexError:
                pass
            else:
                if len(self._events) <= self._waiters.wake_at:
                    self._waiters.wake()
                return event
        try:
            return self._wait_for_event()
        except ChannelClosed:
            raise StopIteration from None

    def __aiter__(self) -> IncomingChannel[E]:
        """Return the channel itself. All its iterators share the events, also with threads."""
        return self

    async def __anext__(self) -> E:
        """Wait for the next event without blocking the loop. Stop when the session has ended.

        Any number of tasks, of any event loop, may wait. A cancelled task loses no event. With a
        ``cursor``, an event is acknowledged when its task asks for the next one.
        """
        self._taken_by_tasks += 1
        if not self._taken_by_tasks % _EVENTS_PER_TURN:
            await next_turn()
        if not self._is_unchecked:  # as in ``get``
            with contextlib.suppress(IndexError):
                return self._take()
        disown_if_forked()
        task = None
        if self.keeper is not None:
            task = await self.keeper.finish_and_save_in_task()
        try:
            while True:
                self._is_unchecked = self._takes_lock
                with contextlib.suppress(IndexError):
                    event = self._take_or_raise_end(task)
                    break
                self._notify_of_room()  # as in ``_wait_for_event``
                await self._takers.wait_in_task(self._has_news)
                disown_if_forked()  # another task may have forked in the meantime
        except ChannelClosed:
            raise StopAsyncIteration from None
        except BaseException:
            self._pass_on()
            raise
        return event

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError(
            "an IncomingChannel cannot be pickled or copied: its session belongs to this process; "
            "pass on the events instead"
        )

    def _raise_end(self) -> NoReturn:
        if self._error is None:
            raise ChannelClosed
        # The same error may be raised several times, so its traceback must not grow.
        raise self._error.with_traceback(None)

    def watch(self, watcher: Watcher | None) -> None:
        """Report to a watcher whenever ``available()`` grows, or no longer with None. Never blocks.

        Raises:
            ValueError: There is already a watcher.
        """
        disown_if_forked()
        with self._mutex:
            if watcher is not None and self._watcher is not None:
                raise ValueError("the session is already merged")
            self._watcher = watcher
            self._notify_watcher()

    def _notify_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.update(self.available())
            self._watcher.wake()

    def available(self) -> int:
        """Return the number of events, plus one if the channel has ended. Never blocks."""
        return len(self._events) + self._ended

    # The putting side.

    def put(self, item: E, block: bool = True, timeout: float | None = None) -> None:
        """Put your own event at the end, and wait for room if ``block`` is True. Thread-safe.

        It is not an event of the stream, so it does not affect the position in a ``cursor``.

        Raises:
            queue.Full: There was no room in time.
            ChannelClosed: The session has ended.
            SessionClosedError: The session belongs to the parent of this forked process.
            ValueError: ``timeout`` is negative.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        deadline = deadline_of(block=block, timeout=timeout)
        self.raise_if_disowned()
        while True:
            with self._mutex:
                has_ended = self._ended
                if not has_ended and not self._has_no_room():
                    self._append([item])
                    if self._own is not None:
                        self._own.append(self._bounds.put_count)
                    return
            if has_ended:
                pause_at_exit()
                raise ChannelClosed
            self._waiters.wait_while(self._is_full, deadline)

    def put_nowait(self, item: E) -> None:
        """Put your own event at the end if there is room: ``put(item, block=False)``."""
        self.put(item, block=False)

    def _is_full(self) -> bool:
        return not self._ended and self._has_no_room()

    def offer(
        self,
        events: Sequence[ServerSentEvent],
        size: int,
        wakes: dict[Callable[[], object], None] | None = None,
    ) -> Sequence[ServerSentEvent]:
        """Put in the events that ``overflow`` allows, and return the rest.

        Only the reader thread calls this. It never blocks.

        Args:
            events: Events, in order.
            size: Their size in the stream, in bytes. 0 for the rest of a batch offered before.
            wakes: Gets the functions that wake the consumers, which the caller must call soon.
                None calls them at once.

        Returns:
            The events without room, only with ``"block"``. ``room`` rings when the next attempt is
            worthwhile.

        Raises:
            ChannelClosed: The channel has ended.
            ChannelOverflowError: With ``overflow="error"``, after the events that had room.
        """
        with self._mutex:
            if self._ended:
                raise ChannelClosed
            queue = self._events
            count = len(events)
            if queue or not self._bounds.admit_into_empty(count, size):
                return self._offer_to_filled(events, size)
            self._is_unchecked = True
            queue.extend(events)
            self.unfinished_tasks += count
            if self._takers.wakes:
                if wakes is None:
                    self._takers.wake(count)
                else:
                    wakes[self._wake_takers] = None
            watcher = self._watcher
            if watcher is None:
                return ()
            watcher.update(count)
        # Without the mutex, for which the consumer would have to wait.
        if wakes is None:
            watcher.wake()
        else:
            wakes[watcher.wake] = None
        return ()

    def _wake_takers(self) -> None:
        with self._mutex:
            self._takers.wake(len(self._events))

    def _offer_to_filled(
        self, events: Sequence[ServerSentEvent], size: int
    ) -> Sequence[ServerSentEvent]:
        """Do the same if there may not be room for all of them. Requires the mutex."""
        bounds = self._bounds
        pushed_out = bounds.pushed_out
        accepted, rest = bounds.admit(events, size)
        if bounds.pushed_out != pushed_out:
            self._finish_tasks(bounds.pushed_out - pushed_out)
        if accepted:
            self._append(accepted)
        if not rest or bounds.refuse(rest):
            return ()
        self._waiters.ring_at_half()
        return rest

    def append_arrived(self, events: Sequence[ServerSentEvent]) -> None:
        """Put in the last events of the stream even if there is no room. Never blocks."""
        with self._mutex:
            if not self._ended:
                self._append(events)

    def _append(self, events: Sequence[object]) -> None:
        count = len(events)
        if not self._events:
            self._is_unchecked = True
        self._events.extend(events)
        self._bounds.put_count += count
        self.unfinished_tasks += count
        if self._takers.wakes:
            self._takers.wake(count)
        self._notify_watcher()

    # The end.

    def end(self, error: Exception | None = None, *, may_block: bool = False) -> None:
        """Let the consumers take the remaining events, then raise ``error`` or stop. Thread-safe.

        Args:
            error: The error that consumers get after the last event.
            may_block: Whether the calling thread may close the cursor.
        """
        disown_if_forked()
        with self._mutex:
            if not self._ended:
                self._mark_ended(error)
                self._wake_everybody()
            is_drained = not self._events
        if is_drained and self.keeper is not None:
            self.keeper.drained(may_block=may_block)

    def disown(self, error: Exception) -> None:
        """End with this error in a forked child, whichever locks were held at the fork."""
        self._make_locks()
        self._events.clear()
        self.unfinished_tasks = 0
        self._is_disowned = True
        self._mark_ended(error)
        self._notify_watcher()

    def raise_if_disowned(self) -> None:
        """Raise SessionClosedError in a forked child whose parent opened the session."""
        disown_if_forked()
        if self._is_disowned:
            self._raise_end()

    def close(self) -> None:
        """Drop all events, and stop the consumers at once. Thread-safe."""
        disown_if_forked()
        with self._mutex:
            if not self._is_disowned:  # otherwise keep the error that names the parent
                self._mark_ended(None)
            dropped = 0
            with contextlib.suppress(IndexError):  # one by one, because consumers take some, too
                while True:
                    self._events.popleft()
                    dropped += 1
            self._finish_tasks(dropped)
            self._wake_everybody()
        if self.keeper is not None:
            self.keeper.close()

    def shutdown(self, immediate: bool = False) -> None:
        """End the channel, as ``queue.Queue.shutdown`` of Python 3.13. Thread-safe."""
        if immediate:
            self.close()
        else:
            self.end()

    def _mark_ended(self, error: Exception | None) -> None:
        self._ended = True
        self._error = error

    def _finish_tasks(self, count: int) -> None:
        self.unfinished_tasks = max(0, self.unfinished_tasks - count)
        if count and not self.unfinished_tasks:
            self._joiners.wake_all()

    def _wake_everybody(self) -> None:
        self._waiters.wake()
        self._takers.wake_all()
        self._notify_watcher()
