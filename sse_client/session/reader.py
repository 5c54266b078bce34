"""The reader thread of a session: it connects, parses, delivers and reconnects.

Threads and what they own:

* The reader thread (one a session, daemon: it may be in the system's resolver, which nothing can
  interrupt) runs ``_run``. It owns the parser, the reconnection, the diagnostic buffer and the
  connection, opens and closes them, and tells the listener. It ends when the stream does or
  ``stop`` was called. It holds the channel and the session weakly: abandoning both ends it.
* Consumers touch only the channel. Any thread may call ``stop``, ``join`` and ``reconnect``.

One lock, ``_lock``: it guards the state, the flags of what was asked for, and which connection is
the current one. It is never held across I/O, a hook or a put. It is reentrant, for a finaliser
that stops the reader may run on a thread that holds it; for the same reason the thread is woken by
a doorbell.

Every way out is one path: ``stop`` sets the flag, aborts the connection and rings; the thread
notices at its next step (``_raise_if_stopped``), and ``_finish`` does the rest, whatever the
reason.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING

from sse_client.channel.incoming import ChannelClosed, IncomingChannel
from sse_client.clock import Doorbell
from sse_client.errors import SessionClosedError, SSEClientError
from sse_client.event_stream.buffer import DiagnosticBuffer
from sse_client.event_stream.parser import EventStreamParser, parse_event_batches
from sse_client.http.aborting import ConnectionAborted
from sse_client.process import end_with_process
from sse_client.session.delivery import Delivery, Stopped
from sse_client.session.expiry import CursorExpiry
from sse_client.session.reconnection import Reconnection
from sse_client.session.state import MOVES, Listener, ReadyState, Statistics, StreamOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from sse_client.http.stream_connection import StreamConnection

logger = logging.getLogger("sse_client")

_NO_CONTENT = 204


class StreamReader:
    """A stream that is being followed, and the thread that follows it.

    Args:
        connect: Makes the connection for one attempt.
        channel: Where the events go. Held weakly.
        options: How to follow the stream.
        name: What to call it in a log and the thread's name; no secret.
    """

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
        self.error: Exception | None = None
        self.was_accepted = False
        #: Who is told; the session sets it before the start.
        self.listener = Listener()

        self._connect = connect
        self._channel = weakref.ref(channel)
        self._doorbell = channel.room
        self._is_settled = False  # once the first connection has been accepted, or never will be
        self._settled = Doorbell()
        self._clock = options.clock
        self._delivery = Delivery(channel, self.statistics, options.end_of_stream)
        self._options = options
        self._reconnection = Reconnection(options.policy, self._clock.monotonic, self._clock.random)
        self._buffer = DiagnosticBuffer(options.buffer_policy)
        self._parser: EventStreamParser | None = None
        self._last_event_id = options.last_event_id
        self._last_event_at = 0.0
        self._expiry = CursorExpiry(options.cursor_expired_statuses)

        self._lock = threading.RLock()
        self._state = ReadyState.CONNECTING
        self._reconnecting = False
        self._connection: StreamConnection | None = None
        self._thread = threading.Thread(target=self._run, name=f"sse-client:{name}", daemon=True)

    # For any thread.

    @property
    def state(self) -> ReadyState:
        """The current state."""
        return self._state

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

    def wait_until_settled(self) -> None:
        """Block until the first connection has been accepted, or never will be. For one thread."""
        while not self._is_settled:
            self._settled.wait()

    def begin_after(self, last_event_id: str) -> None:
        """Set the ID after which the first connection is to begin; before the start."""
        self._last_event_id = last_event_id

    def stop(self, *, drain: bool = False) -> None:
        """Tell the thread to end, and abort whatever it waits for. Does not block.

        Args:
            drain: Whether the consumers may still take what has arrived.
        """
        self.abandon(drain=drain)
        channel = self._channel()
        if channel is not None and not drain:
            channel.close()
        self._settle()

    def abandon(self, *, drain: bool = False) -> None:
        """Do the same for a finaliser: nobody waits for the first connection any more."""
        with self._lock:
            if self._state is not ReadyState.CLOSED:
                self._delivery.is_draining = drain
            self._move(ReadyState.CLOSED)
            connection = self._connection
        if connection is not None:
            connection.abort()
        self._doorbell.ring()

    def disown(self) -> None:
        """Leave the stream to the parent process: no shutdown, which would end it there, too."""
        self._lock = threading.RLock()  # may be held by a thread that is no more
        self._connection = None
        self._move(ReadyState.CLOSED)
        self.error = SessionClosedError("the session belongs to another process, which opened it")
        channel = self._channel()
        if channel is not None:
            channel.disown(self.error)

    def _settle(self) -> None:
        self._is_settled = True
        self._settled.ring()

    def join(self, timeout: float) -> None:
        """Wait for ``timeout`` seconds at most until the thread has ended and the cursor is free.

        On the reader thread it does not wait.
        """
        if self._thread is threading.current_thread():
            return
        deadline = time.monotonic() + timeout
        if self._thread.ident is not None:
            self._thread.join(timeout)
        channel = self._channel()
        if channel is not None and channel.keeper is not None:
            channel.keeper.wait_given_back(max(0.0, deadline - time.monotonic()))

    def is_current(self) -> bool:
        """Return whether this is called on the reader thread."""
        return self._thread is threading.current_thread()

    def reconnect(self) -> None:
        """Have the thread drop its connection, or its wait, and open the next now."""
        with self._lock:
            if self._state is ReadyState.CLOSED:
                raise SessionClosedError("a session that has ended cannot reconnect")
            self._reconnecting = True
            connection = self._connection
        if connection is not None:
            connection.abort()
        self._doorbell.ring()

    # The reader thread.

    def _run(self) -> None:
        error: Exception | None = None
        try:
            error = self._follow()
        except (Stopped, ChannelClosed):
            pass
        except BaseException as unforeseen:  # noqa: BLE001  # to the consumer, wherever it came from
            error = SSEClientError(f"the reader thread was ended by {type(unforeseen).__name__}")
            error.__cause__ = unforeseen
        self._finish(error)

    def _follow(self) -> Exception | None:
        """Follow the stream to its end, over any number of connections; return its error."""
        while True:
            loss: Exception | None = None
            try:
                if self._stream_once():
                    return None
            except ConnectionAborted:
                pass
            except (Stopped, ChannelClosed):
                raise  # the user has ended it
            except Exception as error:  # noqa: BLE001  # the policy knows which to retry
                loss = error
            self._raise_if_stopped()
            if self._shall_reconnect_now() or self._goes_on_elsewhere(loss):
                continue
            loss = self._expiry.named(loss, self._last_event_id)
            verdict = self._reconnection.after(loss)
            if loss is not None and isinstance(loss, SSEClientError):
                loss.buffer = self._buffer.snapshot()
            if verdict.delay is None:
                if self.was_accepted and verdict.error is not None:
                    self.listener.disconnected(loss, None)
                    if self._shall_reconnect_now():
                        continue
                return verdict.error
            self._move(ReadyState.CONNECTING)
            logger.info(
                "%s: %s; reconnecting in %.3g s", self.name, loss or "it ended", verdict.delay
            )
            self.listener.disconnected(loss, verdict.delay)
            self._wait(verdict.delay)

    def _goes_on_elsewhere(self, loss: Exception | None) -> bool:
        """Ask after which ID to go on, in place of a refused one; return whether to go on."""
        ask = self.listener.cursor_expired
        chosen = self._expiry.replacement(loss, self._last_event_id, ask)
        self._raise_if_stopped()
        if chosen is None:
            return False
        logger.info("%s: the last event ID was refused; going on with another", self.name)
        self._last_event_id = chosen
        self._move(ReadyState.CONNECTING)
        return True

    def _shall_reconnect_now(self) -> bool:
        """Return whether ``reconnect`` was called, and prepare for it."""
        with self._lock:
            self._raise_if_stopped()
            asked, self._reconnecting = self._reconnecting, False
        if asked:
            self._move(ReadyState.CONNECTING)
        return asked

    def _stream_once(self) -> bool:
        """Open a connection and deliver what comes; return whether this was the last one."""
        connection = self._connect()
        with self._lock:
            self._reconnecting = False  # this is the connection that was asked for
            self._connection = connection
        try:
            self._raise_if_stopped()
            self.statistics.attempts += 1
            response = connection.open(self._last_event_id, self._options.event_timeout)
            self.response = response
            self.was_accepted = True
            if response.status_code == _NO_CONTENT:
                return True
            self._move(ReadyState.OPEN)
            self.statistics.connections += 1
            self._reconnection.opened()
            self._expiry.opened()
            self._settle()
            logger.debug("%s: open", self.name)
            self.listener.opened()
            return self._deliver_all(connection)
        finally:
            with self._lock:
                self._connection = None
            connection.close()

    def _deliver_all(self, connection: StreamConnection) -> bool:
        """Deliver the events of one connection; return whether its end was announced."""
        self._parser = parser = self._options.new_parser(self._last_event_id, self._comment)
        self._buffer.clear()
        self._last_event_at = self._clock.monotonic()
        chunks = connection.chunks(self._options.event_timeout, lambda: self._last_event_at)
        try:
            for batch in parse_event_batches(self._counted(chunks, parser), parser=parser):
                self._reconnection.event_arrived()
                ended = self._delivery.deliver(batch, self._raise_if_stopped)
                # Only from now on: the time that the consumers took is not the server's.
                self._last_event_at = self._clock.monotonic()
                if ended:
                    return True
            return False
        finally:
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
        if self.listener.hears_comments:
            begun = self._clock.monotonic()
            self.listener.commented(text)
            # Nor is the time of a hook the server's.
            self._last_event_at += self._clock.monotonic() - begun

    def _wait(self, delay: float) -> None:
        """Wait before the next attempt, unless it is wanted now or never."""
        deadline = self._clock.monotonic() + delay
        while not self._reconnecting and self._clock.monotonic() < deadline:
            self._raise_if_stopped()
            self._clock.wait_until(self._doorbell, deadline)
        self._raise_if_stopped()

    def _finish(self, error: Exception | None) -> None:
        """End the session, whatever the reason. This is the last that the thread does."""
        with self._lock:
            if self._state is ReadyState.CLOSED:
                error = None  # it was stopped, and what broke then is what stopping broke
            self.error = error
            self._move(ReadyState.CLOSED)
        if isinstance(error, SSEClientError) and not error.buffer:
            error.buffer = self._buffer.snapshot()
        channel = self._channel()
        if channel is not None:
            channel.end(error)
        self._settle()
        logger.debug("%s: closed%s", self.name, f" with {type(error).__name__}" if error else "")
        self.listener.closed()

    def _move(self, state: ReadyState) -> None:
        """Change the state: the one place that does. A closed session stays closed."""
        with self._lock:
            if state is not ReadyState.CLOSED:
                self._raise_if_stopped()
            if state is not self._state:
                assert state in MOVES[self._state], f"{self._state} -> {state}"
                self._state = state

    def _raise_if_stopped(self) -> None:
        if self._state is ReadyState.CLOSED:
            raise Stopped
