"""The reader thread of a session: it connects, parses, delivers and reconnects.

The threads of a session, what each owns, and what ends it:

* The reader thread, one per session, runs ``StreamReader._run``. It owns the parser, the
  reconnection, the expiry, the delivery and the diagnostic buffer. It opens and closes the
  connection, and calls the hooks. It ends when the stream does, or when it is asked to. It is a
  daemon, since it may be in the system's resolver, which nothing can interrupt. It holds the
  channel and the session weakly, so abandoning both ends it.
* The thread in ``client.sse`` waits until the first connection is settled. ``StreamState.ask``
  ends that wait at once, ``StreamState.settle`` at the latest when the reader thread ends.
* Consumers touch only the channel. They end when it does.
* Any thread, a finaliser or a signal handler may call ``stop``, ``abandon`` and ``reconnect``, and
  ``join`` with a deadline.

The locks:

* ``StreamState`` has the lock of the session: for the state, the request, the outcome of the first
  connection, and which connection is the current one. A thread that holds it takes no other, so a
  finaliser may take it on a thread that holds any of them.
* ``IncomingChannel.mutex`` guards the queue, its bounds and its end.
* ``PositionKeeper`` has one lock for the progress, and another that is held while the cursor saves.

But for that last one, no lock is held across I/O, a hook or a put.

Every way out is one path. ``StreamState.ask`` notes the request, aborts the connection and rings
the doorbell, which is the channel's ``room``: the thread waits on nothing else, whether for room or
to reconnect. It notices the request at its next step, and ``_finish`` does the rest.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING

from sse_client.channel.incoming import ChannelClosed, IncomingChannel
from sse_client.clock import Deadline
from sse_client.errors import (
    ConnectionFailedError,
    ErrorEventError,
    SessionClosedError,
    SSEClientError,
    StreamInterruptedError,
    TotalTimeoutError,
)
from sse_client.event_stream.buffer import DiagnosticBuffer
from sse_client.event_stream.parser import EventStreamParser, parse_event_batches
from sse_client.http.aborting import ConnectionAborted
from sse_client.process import end_with_process
from sse_client.session.delivery import Delivery
from sse_client.session.expiry import CursorExpiry
from sse_client.session.reconnection import Reconnection
from sse_client.session.state import Opening, ReadyState, Request, StreamState
from sse_client.session.statistics import Statistics
from sse_client.session.time_limits import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from sse_client.http.stream_connection import StreamConnection
    from sse_client.session.hooks import HookCaller
    from sse_client.session.options import StreamOptions

logger = logging.getLogger("sse_client")

_NO_CONTENT = 204


class StreamReader:
    """A stream that is being followed, and the thread that follows it.

    Args:
        connect: Makes the connection for one attempt.
        channel: Where the events go. Held weakly.
        options: How to follow the stream.
        name: What to call it in a log and the thread's name; no secret.

    Attributes:
        hooks: The hooks; the session sets them before the start.
    """

    hooks: HookCaller

    def __init__(
        self,
        connect: Callable[[], StreamConnection],
        channel: IncomingChannel,
        options: StreamOptions,
        name: str,
    ) -> None:
        self.name = name
        self.statistics = Statistics()
        self.response: requests.Response | None = None

        self._connect = connect
        self._channel = weakref.ref(channel)
        self._doorbell = channel.room
        self._state = StreamState(self._doorbell)
        self._clock = options.clock
        self._timekeeper = Timekeeper(options.limits, self._clock, name)
        self._delivery = Delivery(
            channel,
            self._state,
            self.statistics,
            self._timekeeper,
            self._clock,
            is_end=options.end_of_stream,
            is_error=options.error_event,
        )
        self._options = options
        self._reconnection = Reconnection(options.policy, self._clock.monotonic, self._clock.random)
        self._buffer = DiagnosticBuffer(options.buffer_policy)
        self._parser: EventStreamParser | None = None
        self._last_event_id = options.last_event_id
        self._expiry = CursorExpiry(options.cursor_expired_statuses)
        self._thread = threading.Thread(target=self._run, name=f"sse-client:{name}", daemon=True)

    # For any thread.

    @property
    def state(self) -> ReadyState:
        """The current state."""
        return self._state.ready_state

    @property
    def error(self) -> Exception | None:
        """Why the stream ended, None if it has not, or cleanly."""
        return self._state.error

    @property
    def last_event_id(self) -> str:
        """The last event ID that was received."""
        parser = self._parser
        return self._last_event_id if parser is None else parser.last_event_id

    def start(self) -> None:
        """Start the thread."""
        end_with_process(self)
        try:
            self._thread.start()
        except BaseException:
            self.abandon()
            raise

    def wait_until_settled(self) -> Opening:
        """Block until the first connection has been accepted, or never will be. For one thread."""
        return self._state.wait_until_settled()

    def begin_after(self, last_event_id: str) -> None:
        """Set the ID after which the first connection is to begin; before the start."""
        self._last_event_id = last_event_id

    def stop(self, *, drain: bool = False) -> None:
        """Have the thread end, and abort whatever it waits for. Does not block.

        Args:
            drain: Whether the consumers may still take what has arrived.
        """
        self._state.ask(Request.DRAIN if drain else Request.STOP)
        channel = self._channel()
        if channel is not None and not drain:
            channel.close()

    def abandon(self) -> None:
        """Have the thread end, for a finaliser: no consumer is left."""
        self._state.ask(Request.STOP)

    def disown(self) -> None:
        """Leave the stream to the parent process: no shutdown, which would end it there, too."""
        error = SessionClosedError("the session belongs to another process, which opened it")
        self._state.disown(error)
        channel = self._channel()
        if channel is not None:
            channel.disown(error)

    def join(self, timeout: float) -> None:
        """Wait for ``timeout`` seconds at most until the thread has ended and the cursor is free.

        On the reader thread it does not wait.
        """
        if self.is_current():
            return
        deadline = Deadline.after(timeout)
        if self._thread.ident is not None and timeout > 0:  # join() calls current_thread(), too
            self._thread.join(timeout)
        channel = self._channel()
        if channel is not None and channel.keeper is not None:
            channel.keeper.wait_given_back(deadline.seconds_left())

    def is_current(self) -> bool:
        """Return whether this is called on the reader thread."""
        # Not current_thread(): it would permanently list an object for a thread that is ending, on
        # which a finaliser runs after Python has removed the thread from its list.
        return self._thread.ident == threading.get_ident()

    def reconnect(self) -> None:
        """Have the thread drop its connection, or its wait, and open the next now."""
        self._state.ask(Request.RECONNECT)

    # The reader thread.

    def _run(self) -> None:
        error: Exception | None = None
        try:
            error = self._follow()
        except (ConnectionAborted, ChannelClosed):
            pass  # the user has ended it
        except BaseException as unforeseen:  # noqa: BLE001  # to the consumer, wherever it came from
            error = SSEClientError(f"the reader thread was ended by {type(unforeseen).__name__}")
            error.__cause__ = unforeseen
        self._finish(error)

    def _follow(self) -> Exception | None:
        """Follow the stream to its end, over any number of connections; return its error."""
        while True:
            has_ended, loss = self._attempt()
            if has_ended:
                return None
            if self._state.take_reconnect() or self._goes_on_elsewhere(loss):
                continue
            loss = self._expiry.named(loss, self._last_event_id)
            verdict = self._reconnection.after(loss)
            if loss is not None and isinstance(loss, SSEClientError):
                loss.buffer = self._buffer.snapshot()
            if verdict.delay is None:
                if self._state.opening is Opening.ACCEPTED and verdict.error is not None:
                    self.hooks.disconnected(loss, None)
                    if self._state.take_reconnect():
                        continue
                return verdict.error
            self._state.connecting()
            logger.info(
                "%s: %s; reconnecting in %.3g s", self.name, loss or "it ended", verdict.delay
            )
            self.hooks.disconnected(loss, verdict.delay)
            self._wait(verdict.delay)
            if self._timekeeper.total_left == 0.0:
                return self._total_timeout(loss)

    def _attempt(self) -> tuple[bool, Exception | None]:
        """Follow one connection; return whether the stream has ended with it, or what it lost."""
        loss: Exception | None
        try:
            if self._stream_once():
                return True, None
            loss = self._missing_mark()
        except ConnectionAborted:
            loss = None  # to reconnect, unless it is to end
        except ChannelClosed:
            raise
        except Exception as error:  # noqa: BLE001  # the policy knows which to retry
            loss = error
        may_be_cut_short = isinstance(loss, ConnectionFailedError | StreamInterruptedError)
        if may_be_cut_short and self._timekeeper.total_left == 0.0:
            loss = self._total_timeout(loss)
        return False, loss

    def _missing_mark(self) -> StreamInterruptedError | None:
        """Return the error of an end without the mark that announces it, None if there is none."""
        if self._options.end_of_stream is None:
            return None
        mark = f" {self._options.end_mark}" if self._options.end_mark else ""
        return StreamInterruptedError(
            f"the stream of {self.name} ended without its mark{mark}", response=self.response
        )

    def _total_timeout(self, loss: Exception | None) -> TotalTimeoutError:
        """Return the error of a stream that has lasted too long, caused by what stopped it."""
        error = self._timekeeper.total_error(self.response)
        error.__cause__ = loss
        return error

    def _goes_on_elsewhere(self, loss: Exception | None) -> bool:
        """Ask after which ID to go on, in place of a refused one; return whether to go on."""
        ask = self.hooks.cursor_expired
        chosen = self._expiry.replacement(loss, self._last_event_id, ask)
        self._state.raise_if_stopped()
        if chosen is None:
            return False
        logger.info("%s: the last event ID was refused; going on with another", self.name)
        self._last_event_id = chosen
        self._state.connecting()
        return True

    def _stream_once(self) -> bool:
        """Open a connection and deliver what comes; return whether this was the last one."""
        connection = self._connect()
        self._state.use(connection)
        try:
            self._state.raise_if_stopped()
            self.statistics.attempts += 1
            response = connection.open(
                self._last_event_id,
                self._options.response_rules,
                header_timeout=self._options.limits.header,
                time_left=self._timekeeper.total_left,
                on_request=self.hooks.requesting,
            )
            self.response = response
            if response.status_code == _NO_CONTENT:
                return True
            self._state.opened()
            self.statistics.connections += 1
            self._reconnection.opened()
            self._expiry.opened()
            self._state.settle(Opening.ACCEPTED)
            logger.debug("%s: open", self.name)
            self.hooks.opened()
            return self._deliver_all(connection)
        finally:
            self._state.leave()
            connection.close()

    def _deliver_all(self, connection: StreamConnection) -> bool:
        """Deliver the events of one connection; return whether its end was announced."""
        self._parser = parser = self._options.new_parser(self._last_event_id, self._comment)
        self._buffer.clear()
        self._timekeeper.opened()
        chunks = connection.chunks(self._timekeeper)
        try:
            for batch in parse_event_batches(self._counted(chunks, parser), parser=parser):
                self._reconnection.progressed()
                began = self._clock.monotonic()
                if self._delivery.deliver(batch):
                    return True
                self._timekeeper.delivered(batch, began)
        except ErrorEventError as error:
            error.response = self.response
            raise
        else:
            return False
        finally:
            if parser.last_event_id != self._last_event_id:
                self._reconnection.progressed()  # also by a block that has nothing but an ID
            self._last_event_id = parser.last_event_id
            self._parser = None
            if parser.reconnection_time is not None:
                self._reconnection.set_server_time(parser.reconnection_time)

    def _counted(self, chunks: Iterator[bytes], parser: EventStreamParser) -> Iterator[bytes]:
        for chunk in chunks:
            self.statistics.bytes += len(chunk)
            # Heartbeats are nobody's bytes: they are not billed to the event that comes at last.
            self._delivery.undelivered_bytes = parser.unfinished_size + len(chunk)
            self._buffer.add(chunk)
            yield chunk

    def _comment(self, text: str) -> None:
        self.statistics.comments += 1
        if self.hooks.hears_comments:
            began = self._clock.monotonic()
            self.hooks.commented(text)
            self._timekeeper.pause(self._clock.monotonic() - began)

    def _wait(self, delay: float) -> None:
        """Wait before the next attempt, unless it is wanted now or never."""
        deadline = Deadline.after(delay, self._clock)
        total = self._timekeeper.total_deadline
        if total is not None and total < deadline.moment:
            deadline = Deadline(total, self._clock)
        while self._state.request is Request.NONE and not deadline.has_passed:
            self._clock.wait_until(self._doorbell, deadline.moment)
        self._state.raise_if_stopped()

    def _finish(self, error: Exception | None) -> None:
        """End the session, whatever the reason. This is the last that the thread does."""
        error = self._state.end(error)
        if isinstance(error, SSEClientError) and not error.buffer:
            error.buffer = self._buffer.snapshot()
        channel = self._channel()
        if channel is not None:
            channel.end(error, may_block=True)
        # Without an error it was a 204: whoever ended it has settled it, too.
        self._state.settle(Opening.ACCEPTED if error is None else Opening.FAILED)
        logger.debug("%s: closed%s", self.name, f" with {type(error).__name__}" if error else "")
        self.hooks.closed()
