"""Runs a stream on the reader thread, or on the shared reader of its client.

The threads of a session, what each owns, and what ends it:

* The reader thread runs ``StreamReader._run``. It owns the ``FollowedStream``: it opens and closes
  the connections, and calls the hooks. It ends when the stream ends, when it is asked to end, or
  when the shared reader takes over. It is a daemon thread because nothing can interrupt the
  system's resolver. It references the channel and the session weakly, so it also ends when nothing
  else references them.
* The shared reader, one per client, owns the stream while it reads the connection and while the
  stream waits to reconnect. Then ``resume`` starts another reader thread. The new thread first
  waits until the previous one has ended. So the stream has only one owner at a time, and ``join``
  needs to wait only for the last thread.
* The thread in ``client.sse`` waits until the first connection is settled. ``StreamState.ask`` ends
  that wait at once. ``StreamState.settle`` ends it no later than the reader thread ends.
* Consumers use only the channel. Their waits end when the channel ends.
* Any thread, finaliser or signal handler may call ``stop``, ``abandon`` and ``reconnect``, and
  ``join`` with a deadline.

The locks:

* ``StreamState`` has the lock of the session. It guards the state, the request, the outcome of the
  first connection, and the current connection. A thread that holds it takes no other lock, so a
  finaliser may take it on a thread that holds any of them.
* ``IncomingChannel._mutex`` guards the queue, its bounds and its end.
* ``PositionKeeper`` has one lock for the progress, and another that is held while the cursor saves.

Except for the last one, no lock is held across I/O, a hook or a put.

There is one path for every end. ``StreamState.ask`` records the request, aborts the connection and
rings the doorbell, which is the channel's ``room``. The thread waits on nothing else, whether for
room or to reconnect. It sees the request at its next step, and ``FollowedStream.finish`` does the
rest.
"""

from __future__ import annotations

import functools
import threading
import weakref
from typing import TYPE_CHECKING

from sse_client.channel.incoming import ChannelClosed
from sse_client.clock import Deadline
from sse_client.errors import SessionClosedError, SSEClientError
from sse_client.http.aborting import ConnectionAborted
from sse_client.process import disown_if_forked, end_with_process, main_thread_has_ended
from sse_client.session.shared_reader import SharedReader, no_thread
from sse_client.session.shared_stream import ParkedStream, SharedStream
from sse_client.session.state import Opening, ReadyState, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Doorbell
    from sse_client.http.stream_body import StreamBody
    from sse_client.http.stream_connection import StreamConnection
    from sse_client.session.followed_stream import FollowedStream, Outcome, Wait
    from sse_client.session.reception import Reception


class StreamReader:
    """Runs a stream, on a thread or on the shared reader, until it ends.

    Args:
        stream: The stream.
        doorbell: Wakes the thread that runs it.
        shared: Reads the connection once it is open, if possible. If it is None, a thread does.

    Attributes:
        stream: The stream. Only its ``last_event_id`` is for any thread.
        name: The host of the stream.
    """

    def __init__(
        self, stream: FollowedStream, doorbell: Doorbell, shared: SharedReader | None = None
    ) -> None:
        self.stream = stream
        self.name = stream.name
        self._state = stream.state
        self._channel = stream.channel
        self._doorbell = doorbell
        self._shared = shared
        #: Whether this is a forked child's copy, which has no thread. Python may not know that.
        self._is_disowned = False
        #: The outcome of the connection that the shared reader read, or the wait that is over.
        self._outcome: Outcome | Wait | None = None
        #: Whether this thread has a place in ``Launches``, until its attempt is over.
        self._has_turn = False
        #: The connection that the shared reader reads.
        self._connection: StreamConnection | None = None
        #: The thread that was started last. While it runs, ``threading`` keeps it.
        self._thread: Callable[[], threading.Thread | None] = no_thread
        #: The identifier of the thread that works on the stream, or 0.
        self._worker = 0
        self._has_begun = False

    # For any thread.

    @property
    def state(self) -> ReadyState:
        """The current state."""
        disown_if_forked()
        return self._state.ready_state

    @property
    def error(self) -> Exception | None:
        """The error that ended the stream. None if it has not ended, or ended cleanly."""
        disown_if_forked()
        return self._state.error

    def start(self) -> None:
        """Start the thread."""
        end_with_process(self)
        self._state.begin()
        try:
            self._start_thread(None)
        except BaseException:
            self.abandon()
            self._state.finish()
            raise

    def _start_thread(self, outcome: Outcome | Wait | None) -> None:
        thread = threading.Thread(
            target=self._run,
            args=(outcome, self._thread()),
            name=f"sse-client:{self.name}",
            daemon=True,
        )
        previous, self._thread = self._thread, weakref.ref(thread)
        try:
            thread.start()
        except RuntimeError:
            self._thread = previous
            raise

    def report_unstarted(self, error: BaseException) -> None:
        """Report the end of a stream whose thread never began, and so cannot report it."""
        thread = self._thread()
        if not self._has_begun and (thread is None or thread.ident is None):
            self.stream.observers.end(error)

    def wait_until_settled(self) -> Opening:
        """Block until the first connection has been accepted or has failed."""
        return self._state.wait_until_settled()

    async def until_settled(self) -> Opening:
        """Do the same as ``wait_until_settled``, in an asyncio task."""
        return await self._state.until_settled()

    def stop(self, *, drain: bool = False) -> None:
        """Ask the thread to end, and abort its waits. Does not block.

        Args:
            drain: Whether the consumers may still take the events that have arrived.
        """
        disown_if_forked()
        channel = self._channel()
        try:
            if channel is not None and not drain:
                # First, because at the interpreter's exit only the reader thread can close the
                # cursor, and only before it ends.
                channel.close()
        finally:  # also after Ctrl-C
            self._state.ask(Request.DRAIN if drain else Request.STOP)

    def abandon(self) -> None:
        """Ask the thread to end, for a finaliser. No consumer is left."""
        disown_if_forked()
        self._state.ask(Request.STOP)

    def disown(self) -> None:
        """Leave the stream to the parent, without a shutdown, which would end it there, too."""
        error = SessionClosedError("the session belongs to another process, which opened it")
        self._is_disowned = True
        self._doorbell.listener = None  # it would poke the child's new shared reader
        self._state.disown(error)
        self.stream.observers.forget()
        channel = self._channel()
        if channel is not None:
            channel.disown(error)

    def join(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds until the thread has ended and the cursor is free.

        It does not wait on the reader thread or in a forked child.
        """
        if self._is_disowned or self.is_current():
            return
        deadline = Deadline.after(timeout)
        self._state.wait_until_finished(deadline)
        thread = self._thread()
        if thread is not None and thread.ident not in {None, threading.get_ident()} and timeout > 0:
            thread.join(deadline.seconds_left())
        if self._shared is not None and timeout > 0:
            self._shared.join_if_idle(deadline)
        channel = self._channel()
        if channel is not None and channel.keeper is not None:
            channel.keeper.wait_given_back(deadline.seconds_left())

    def is_current(self) -> bool:
        """Return whether this is called on the thread that works on the stream."""
        # Not current_thread(): a finaliser may run on an ending thread that Python has already
        # removed from its list. current_thread() would then add an object that stays forever.
        is_shared = self._shared is not None and self._shared.is_current()
        return is_shared or self._worker == threading.get_ident()

    def reconnect(self) -> None:
        """Ask the thread to drop its connection or its wait, and open the next one now."""
        disown_if_forked()
        self._state.ask(Request.RECONNECT)

    # The reader thread.

    def _run(
        self, outcome: Outcome | Wait | None = None, previous: threading.Thread | None = None
    ) -> None:
        """Follow the stream until it ends or the shared reader takes over.

        Args:
            outcome: What the shared reader hands back: an outcome or a wait.
            previous: The thread that handed the stream to the shared reader. It has nothing
                left to do, but may not have ended yet. ``join`` waits only for the last thread.
        """
        if previous is not None:
            previous.join()
        self._worker = threading.get_ident()
        self._has_begun = True
        error: Exception | None = None
        try:
            ended = self.stream.follow(outcome, self)
            if ended is None:
                return
            error = ended.error
        except (ConnectionAborted, ChannelClosed):
            pass  # the user has ended it
        except BaseException as unforeseen:  # noqa: BLE001  # the consumer gets it in any case
            error = SSEClientError(f"the reader thread failed with {type(unforeseen).__name__}")
            error.__cause__ = unforeseen
        self.end_turn()
        try:
            self.stream.finish(error)
        finally:
            self._worker = 0
            self._state.finish()

    def share(self, connection: StreamConnection, body: StreamBody, reception: Reception) -> bool:
        """Let the shared reader read the connection from now on. Return False if it cannot."""
        shared = self._shared
        may_share = self.stream.options.may_share and not self.stream.hooks.are_called_while_reading
        if shared is None or not may_share or not body.needs_no_thread():
            return False

        def make_stream() -> SharedStream:
            stream = SharedStream(
                body.without_blocking(),
                reception,
                self,
                read_timeout=body.read_timeout,
                no_bytes=body.no_bytes,
                wakes=shared.wakes,
            )
            self._connection = connection
            self._worker = 0
            self._doorbell.listener = functools.partial(shared.poke, stream)
            return stream

        return shared.follow(make_stream)

    def park(self, wait: Wait) -> bool:
        """Let the shared reader wait before the next attempt. Return False if it cannot."""
        shared = self._shared
        if shared is None or not self.stream.options.may_share or wait.deadline.has_passed:
            return False
        if main_thread_has_ended() and not shared.is_current():
            return False  # there may be no thread for it after the wait

        def make_stream() -> ParkedStream:
            stream = ParkedStream(self, wait.deadline.moment)
            self._outcome = wait
            self._worker = 0
            self._doorbell.listener = functools.partial(shared.poke, stream)
            return stream

        self.end_turn()
        return shared.follow(make_stream)

    def end_turn(self) -> None:
        """Give up this thread's place in ``Launches``, if it has one."""
        if self._has_turn:
            self._has_turn = False
            assert self._shared is not None, "only the shared reader gives turns"
            self._shared.end_turn()

    # The shared reader.

    @property
    def total_deadline(self) -> float | None:
        """The moment at which the stream must end, or None. For the shared thread."""
        return self.stream.total_deadline

    def is_wanted(self) -> bool:
        """Return whether to continue the connection or the wait. For the shared thread."""
        return self._state.request is Request.NONE

    def is_ending(self) -> bool:
        """Return whether the stream must end. For the shared thread."""
        return self._state.request >= Request.DRAIN

    def late(self) -> Exception:
        """Return the error of an exceeded time limit. For the shared thread."""
        return self.stream.late()

    def take_back(self, reception: Reception, error: Exception | None) -> None:
        """Close a connection that has ended or failed. For the shared thread."""
        connection, self._connection = self._connection, None
        assert connection is not None, "the connection was shared"
        self._outcome = self.stream.close_connection(connection, reception, error)

    def resume(self, *, has_turn: bool) -> bool:
        """Follow the stream from now on, on another thread if anything may block.

        For the shared thread, after ``take_back`` or ``park``.

        Returns:
            False if no thread can be started now. A later call may succeed.
        """
        listener, self._doorbell.listener = self._doorbell.listener, None
        outcome, self._outcome = self._outcome, None
        is_ending = self.is_ending()
        self._has_turn = has_turn
        if (is_ending or self.stream.ends_after(outcome)) and self.stream.is_silent_at_the_end:
            self._run(outcome)
            return True
        try:
            self._start_thread(outcome)
        except RuntimeError:  # no thread can be started
            if is_ending or main_thread_has_ended():
                self._run(outcome)
                return True
            self._has_turn = False
            self._outcome = outcome
            self._doorbell.listener = listener
            if listener is not None and self._state.request is not Request.NONE:
                listener()  # it came while there was no listener
            return False
        return True
