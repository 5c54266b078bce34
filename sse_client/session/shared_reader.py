"""Reads many open streams on one thread, so that a quiet stream needs no thread.

Each client has one. It takes over each accepted connection and waits for all of them with one
selector. It also waits until a stream without a connection may reconnect. It hands a stream back
when its connection is lost, when the wait is over, or when the stream must end. It gives a thread
to only a few streams at a time. Everything that may block happens on other threads: opening, hooks
and the user's functions.

If the process cannot start another thread, the streams without a connection wait here until it can.

No stream delays another. Each is read once per turn, at most 64 KiB. A stream whose channel is full
leaves the selector until there is room, so that backpressure reaches its server.

The shared thread owns the poller, the timers and the streams. Any thread, a finaliser or a signal
handler may call ``poke`` to let the shared thread check a stream. ``_lock`` guards the number of
streams and the lifetime of the thread, which ends with the last stream.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import sys
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from sse_client.channel.waiting import WaitList
from sse_client.clock import SYSTEM_CLOCK
from sse_client.errors import StreamInterruptedError
from sse_client.process import disown_in_child
from sse_client.session.greenlets import has_greenlets
from sse_client.session.launches import Launches
from sse_client.session.poller import READABLE, close_copy, new_poller
from sse_client.session.session_log import record_fields
from sse_client.session.shared_stream import ParkedStream, Phase, Progress, SharedStream
from sse_client.session.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Deadline
    from sse_client.session.poller import Poller

logger = logging.getLogger("sse_client")

#: The phases in which a stream has a connection.
_OPEN = {Phase.NEW, Phase.READING, Phase.BLOCKED}

#: How many threads start in one turn, because the open streams wait meanwhile.
_STARTS_PER_TURN = 4

#: How long a turn may delay a consumer that has an event, in seconds.
_LONGEST_DELAY = 0.001

#: The longest wait for the selector, in seconds. It refuses waits of more than 24 days.
_LONGEST_POLL = 3600.0


def can_share() -> bool:
    """Return whether this process has a selector for many sockets, and the usual sockets.

    Greenlet libraries replace both, and make threads cheap. Windows has only ``select``, which
    waits for at most 512 sockets.
    """
    selector: Any = selectors.DefaultSelector
    is_usual = selector.__module__ == "selectors" and selector is not selectors.SelectSelector
    return is_usual and not has_greenlets()


def _must_end(stream: SharedStream | ParkedStream) -> bool:
    """Return whether a stream must not wait for its turn, because it must end."""
    deadline = stream.owner.total_deadline
    is_late = deadline is not None and deadline <= SYSTEM_CLOCK.monotonic()
    return is_late or stream.owner.is_ending()


def no_thread() -> None:
    """Stand in for a dead weak reference to a thread."""


class SharedReader:
    """Reads the open streams of a client on one thread. Thread-safe."""

    def __init__(self) -> None:
        self._start_over()
        disown_in_child(self)

    def _start_over(self) -> None:
        self._lock = threading.RLock()
        self._idlers = WaitList(self._lock)
        self._thread: threading.Thread | None = None
        #: The thread that last left its loop, as long as it is running.
        self._ending: Callable[[], threading.Thread | None] = no_thread
        self._count = 0
        self._poller: Poller | None = None
        #: The streams that the poller waits for, by descriptor.
        self._streams: dict[int, SharedStream] = {}
        self._wake_receiver: socket.socket | None = None
        self._wake_sender: socket.socket | None = None
        self._is_waking = False
        self._poked: deque[SharedStream | ParkedStream] = deque()
        #: The streams that have more to read than the selector reports.
        self._unread: list[SharedStream] = []
        self._timers = Timers[SharedStream | ParkedStream]()
        self._launches = Launches(self._lock)
        #: The functions that wake consumers, which the thread calls in this turn. So several events
        #: wake the consumer of merged streams only once, and woken consumers do not compete with
        #: the rest of the turn for the interpreter's lock.
        self.wakes: dict[Callable[[], object], None] = {}
        #: Whether the last start of a thread failed.
        self._lacks_threads = False

    # For any thread.

    def follow(self, make_stream: Callable[[], SharedStream | ParkedStream]) -> bool:
        """Take over a stream: read it, or wait until it may reconnect. Does not block.

        Args:
            make_stream: Creates the stream. Called once the shared thread runs.

        Returns:
            False if the shared thread cannot be started.
        """
        with self._lock:
            if not self._is_running():
                return False
            try:
                stream = make_stream()
                self._count_one_more()
            except BaseException:
                self._wake()  # a thread without streams then ends
                raise
        self.poke(stream)
        return True

    def _count_one_more(self) -> None:
        """Requires the lock."""
        self._count += 1
        self._idlers.wake_all()  # they need not wait: the thread does not end

    def end_turn(self) -> None:
        """Let another thread start after an attempt. Never blocks."""
        self._launches.done()
        if self._launches.waiting:
            self._wake()

    def poke(self, stream: SharedStream | ParkedStream) -> None:
        """Let the shared thread check a stream. Never blocks."""
        self._poked.append(stream)
        if not self._is_waking:
            self._is_waking = True
            try:
                self._wake()
            except BaseException:  # a signal handler has raised it
                self._is_waking = False
                raise

    def _wake(self) -> None:
        sender = self._wake_sender
        if sender is not None:
            with contextlib.suppress(OSError):  # it may have just been closed
                sender.send(b"\0")

    def is_current(self) -> bool:
        """Return whether this is called on the shared thread."""
        thread = self._thread
        return thread is not None and thread.ident == threading.get_ident()

    def join_if_idle(self, deadline: Deadline) -> None:
        """Wait until the thread has ended, unless it has streams to read."""
        thread = self._thread

        def is_due() -> bool:
            return thread is None or self._count > 0 or self._thread is not thread

        while not is_due() and not deadline.has_passed:
            self._idlers.wait(is_due, deadline.moment)
        ending = self._ending()
        if ending is not None and ending.ident != threading.get_ident():
            ending.join(deadline.seconds_left())

    def disown(self) -> None:
        """Leave the streams to the parent in a forked child, whichever locks were held."""
        poller, self._poller = self._poller, None
        if poller is not None:
            close_copy(poller)
        self._close()  # the other copies of the child
        self._start_over()

    def _is_running(self) -> bool:
        """Start the thread unless it runs. Return False if that fails. Requires the lock."""
        if self._thread is not None:
            return True
        try:
            self._poller = new_poller()
            self._wake_receiver, self._wake_sender = socket.socketpair()
            for end in (self._wake_receiver, self._wake_sender):
                end.settimeout(0.0)
            self._poller.register(self._wake_receiver.fileno(), READABLE)
            self._is_waking = False  # no wake-up is pending for this thread
            thread = threading.Thread(target=self._run, name="sse-client:reader", daemon=True)
            thread.start()
        except (OSError, RuntimeError):  # too many descriptors or threads
            self._close()
            return False
        self._thread = thread
        return True

    def _close(self) -> None:
        closing, self._poller = self._poller, None
        receiver, self._wake_receiver = self._wake_receiver, None
        sender, self._wake_sender = self._wake_sender, None
        for each in (closing, receiver, sender):
            if each is not None:
                each.close()

    # The shared thread.

    def _run(self) -> None:
        while True:
            try:
                while self._count:
                    self._turn()
            except Exception:  # noqa: BLE001  # a fault in one stream must not end the others
                details = (*sys.exc_info(), threading.current_thread())
                threading.excepthook(threading.ExceptHookArgs(details))
            with self._lock:
                if not self._count:
                    self._ending = weakref.ref(threading.current_thread())
                    self._thread = None
                    self._close()
                    self._idlers.wake_all()
                    return

    def _turn(self) -> None:
        """Wait until there is work, and do it for each stream concerned."""
        poller, receiver = self._poller, self._wake_receiver
        assert poller is not None, "the thread runs"
        assert receiver is not None, "the thread runs"
        timers, launches = self._timers, self._launches
        is_busy = self._unread or self._poked or timers.heap or launches.waiting
        ready = poller.poll(self._timeout() if is_busy else None)
        wakes, wake_by = self.wakes, SYSTEM_CLOCK.monotonic() + _LONGEST_DELAY
        try:
            for descriptor, _ in ready:
                if wakes and SYSTEM_CLOCK.monotonic() >= wake_by:
                    self._wake_consumers()
                    wake_by = SYSTEM_CLOCK.monotonic() + _LONGEST_DELAY
                stream = self._streams.get(descriptor)
                if stream is not None:
                    self._read(stream)
                else:
                    with contextlib.suppress(BlockingIOError):  # a spurious wake-up is harmless
                        receiver.recv(4096)
                    self._is_waking = False
        finally:
            if wakes:
                self._wake_consumers()
        if self._unread or self._poked or timers.heap or launches.waiting:
            self._finish_turn()

    def _wake_consumers(self) -> None:
        for wake in list(self.wakes):
            del self.wakes[wake]  # before the call, so that an error loses none of the others
            wake()

    def _finish_turn(self) -> None:
        """Do everything except reading from descriptors that are ready."""
        if self._unread:
            unread, self._unread = self._unread, []
            for stream in unread:
                if stream.phase is Phase.READING:
                    self._read(stream)
                    self._wake_consumers()
        while self._poked:
            self._look_at_poked(self._poked.popleft())
        if self._timers.heap:
            self._look_at_late()
        if self._launches.waiting:
            self._launch()

    def _timeout(self) -> float:
        """Return how long to wait for the selector if there is more to do than to read."""
        if self._unread or self._poked:
            return 0.0
        moments = (self._launches.due, self._timers.next_moment)
        due = min(moment for moment in moments if moment is not None)
        return min(max(0.0, due - SYSTEM_CLOCK.monotonic()), _LONGEST_POLL)

    def _look_at_poked(self, stream: SharedStream | ParkedStream) -> None:
        if (
            isinstance(stream, SharedStream)
            and stream.phase is Phase.NEW
            and self._register(stream)
        ):
            self._read(stream)  # bytes that arrived with the header
        self._look(stream)

    def _look_at_late(self) -> None:
        now = SYSTEM_CLOCK.monotonic()
        while (stream := self._timers.take(now)) is not None:
            self._look(stream)

    def _read(self, stream: SharedStream) -> None:
        """Read the bytes of a stream that have arrived."""
        try:
            progress = stream.read()
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends this stream alone
            self._leave(stream, error)
            return
        if progress is not Progress.USUAL:
            self._go_on(stream, progress)

    def _look(self, stream: SharedStream | ParkedStream) -> None:
        """Check a stream for anything due other than reading."""
        if stream.phase is Phase.QUEUED:
            if _must_end(stream):
                self._launches.discard(stream)
                self._queue(stream)
            return
        if isinstance(stream, ParkedStream):
            if stream.phase is Phase.PARKED:
                self._look_at_parked(stream)
            return
        if stream.phase not in _OPEN:
            return
        try:
            progress = stream.look()
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends this stream alone
            self._leave(stream, error)
            return
        self._wake_consumers()
        self._go_on(stream, progress)

    def _go_on(self, stream: SharedStream, progress: Progress) -> None:
        """Let the selector wait for a stream only while it has room, and set its timer."""
        if progress is Progress.ENDED:
            self._leave(stream, None)
            return
        if stream.is_blocked:
            if stream.phase is Phase.READING:
                self._unregister(stream, Phase.BLOCKED)
        elif stream.phase is Phase.BLOCKED and not self._register(stream):
            return
        if stream.phase is Phase.READING and stream.has_more():
            self._unread.append(stream)
        deadline = stream.deadline
        if deadline is not None and (stream.timer is None or deadline < stream.timer.moment):
            # Deadlines usually move later. The old timer then only checks the stream too early.
            self._timers.set(stream, deadline)

    def _look_at_parked(self, stream: ParkedStream) -> None:
        if not stream.owner.is_wanted() or stream.due <= SYSTEM_CLOCK.monotonic():
            self._queue(stream)
        elif stream.timer is None:
            self._timers.set(stream, stream.due)

    def _register(self, stream: SharedStream) -> bool:
        """Let the selector wait for a stream. If it cannot, the stream has lost its connection."""
        assert self._poller is not None, "the thread runs"
        try:
            self._poller.register(stream.fileno, READABLE)
        except OSError as cause:  # a limit of the system
            message = f"the selector cannot wait for the connection to {stream.owner.name}"
            error = StreamInterruptedError(message)
            error.__cause__ = cause
            self._leave(stream, error)
            return False
        stream.phase = Phase.READING
        self._streams[stream.fileno] = stream
        return True

    def _unregister(self, stream: SharedStream, phase: Phase) -> None:
        assert self._poller is not None, "the thread runs"
        stream.phase = phase
        del self._streams[stream.fileno]
        self._poller.unregister(stream.fileno)

    def _leave(self, stream: SharedStream, error: Exception | None) -> None:
        self._wake_consumers()  # closing takes a while
        if stream.phase is Phase.READING:
            self._unregister(stream, Phase.QUEUED)
        try:
            stream.owner.take_back(stream.reception, error)
        finally:
            self._queue(stream)

    # Handing a stream back to its owner.

    def _queue(self, stream: SharedStream | ParkedStream) -> None:
        """Let a stream wait for a thread, unless it must end."""
        stream.phase = Phase.QUEUED
        self._timers.cancel(stream)
        if not (_must_end(stream) and self._resume(stream, has_turn=False)):
            self._launches.add(stream)
            self._limit_wait(stream)

    def _limit_wait(self, stream: SharedStream | ParkedStream) -> None:
        """Check a stream that waits for a thread when its total time has passed."""
        deadline = stream.owner.total_deadline
        if deadline is not None and not _must_end(stream):
            self._timers.set(stream, deadline)

    def _launch(self) -> None:
        """Start the threads that may start now."""
        for _ in range(_STARTS_PER_TURN):
            stream = self._launches.take(now := SYSTEM_CLOCK.monotonic())
            if stream is None:
                break
            if not self._resume(stream, has_turn=True):
                self._launches.put_back(stream, now)
                self._limit_wait(stream)
                self._warn(stream.owner.name)
        if not self._launches.waiting:
            self._lacks_threads = False

    def _warn(self, name: str) -> None:
        if not self._lacks_threads:
            self._lacks_threads = True
            logger.warning(
                "%s: no thread can be started: streams that lost their connection wait for one",
                name,
                extra=record_fields(name),
            )

    def _resume(self, stream: SharedStream | ParkedStream, *, has_turn: bool) -> bool:
        """Hand a stream back to its owner. Return False if no thread can be started for it now."""
        self._timers.cancel(stream)
        with self._lock:
            self._count -= 1
        stream.phase = Phase.LEFT
        if stream.owner.resume(has_turn=has_turn):
            return True
        stream.phase = Phase.QUEUED
        with self._lock:
            self._count_one_more()
        return False
