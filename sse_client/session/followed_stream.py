"""Follows a stream over its connections, their losses and the waits between them, to its end.

A stream has no thread of its own. One thread at a time runs it. Meanwhile that thread owns the
parser, the reconnection, the expiry, the delivery and the diagnostic buffer. ``reader`` explains
which thread that is.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sse_client.channel.incoming import ChannelClosed, IncomingChannel
from sse_client.clock import Deadline
from sse_client.errors import (
    ConnectionFailedError,
    ErrorEventError,
    SSEClientError,
    StreamInterruptedError,
    TotalTimeoutError,
)
from sse_client.event_stream.buffer import DiagnosticBuffer
from sse_client.http.aborting import ConnectionAborted
from sse_client.session.caller_context import CallerContext
from sse_client.session.delivery import Delivery
from sse_client.session.expiry import CursorExpiry
from sse_client.session.greenlets import Turns, has_greenlets
from sse_client.session.observers import Observers
from sse_client.session.reception import Reception
from sse_client.session.reconnection import Reconnection
from sse_client.session.session_log import SessionLog
from sse_client.session.state import Opening, Request, StreamState
from sse_client.session.statistics import Statistics
from sse_client.session.time_limits import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from sse_client.http.stream_body import StreamBody
    from sse_client.http.stream_connection import StreamConnection
    from sse_client.session.hooks import HookCaller
    from sse_client.session.options import StreamOptions

_NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a connection.

    Attributes:
        has_ended: Whether the stream has ended with it.
        loss: The error of the connection, or None if it just ended or was aborted.
    """

    has_ended: bool = False
    loss: Exception | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait before the next attempt.

    Attributes:
        deadline: The moment of the next attempt.
        loss: The error of the connection. Kept only if a ``total_timeout`` may end the wait.
    """

    deadline: Deadline
    loss: Exception | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream has ended, perhaps with an error."""

    error: Exception | None


class Driver(Protocol):
    """Runs a stream on a thread. It may hand the stream to the shared reader."""

    def share(self, connection: StreamConnection, body: StreamBody, reception: Reception) -> bool:
        """Let the shared reader read the connection from now on. Return False if it cannot."""

    def park(self, wait: Wait) -> bool:
        """Let the shared reader wait before the next attempt. Return False if it cannot."""

    def end_turn(self) -> None:
        """Let another stream start its attempt. Called after each attempt to connect."""


class FollowedStream:
    """A stream and its progress. For one thread at a time, unless a method says otherwise.

    Args:
        connect: Creates the connection for one attempt.
        channel: Receives the events. Referenced weakly.
        options: How to follow the stream.
        name: The stream's name in the log and in the thread's name, without secrets.

    Attributes:
        hooks: The hooks. The session sets them before the start.
        response: The last response. None before the first one.
        channel: Returns the channel, or None if nothing else references it.
        state: The state of the stream, and the requests of other threads.
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

        #: The user's code runs in copies of this: one for each attempt or call between attempts.
        self.context = CallerContext()

        self._connect = connect
        self.channel = weakref.ref(channel)
        self._doorbell = channel.room
        self.state = StreamState(self._doorbell)
        self._clock = options.clock
        self.log = SessionLog(name, self.state, self._clock)
        self.observers = Observers(self.context, self.log)
        self._timekeeper = Timekeeper(options.limits, self._clock, name)
        self._delivery = Delivery(
            channel,
            self.state,
            self.statistics,
            self._timekeeper,
            self._clock,
            is_end=options.end_of_stream,
            is_error=options.error_event,
        )
        self.options = options
        self._reconnection = Reconnection(options.policy, self._clock.monotonic, self._clock.random)
        self._buffer = DiagnosticBuffer(options.buffer_policy)
        self._reception: Reception | None = None
        self._last_event_id = options.last_event_id
        self._expiry = CursorExpiry(options.cursor_expired_statuses)

    @property
    def last_event_id(self) -> str:
        """The last event ID that was received. For any thread."""
        reception = self._reception
        return self._last_event_id if reception is None else reception.parser.last_event_id

    def begin_after(self, last_event_id: str) -> None:
        """Set the ID after which the first connection begins. Call this before the start."""
        self._last_event_id = last_event_id

    def follow(self, outcome: Outcome | Wait | None, driver: Driver) -> Ended | None:
        """Follow the stream to its end, over any number of connections.

        Args:
            outcome: What the shared reader hands back: an outcome or a wait. None at the start.
            driver: Offers the stream to the shared reader.

        Returns:
            The end of the stream, or None if the shared reader has taken over.
        """
        while True:
            if outcome is None:
                outcome = self.context.run(self._attempt, driver)
                if outcome is None:
                    return None
            if isinstance(outcome, Wait):
                wait, outcome = outcome, None  # the wait is over
            else:
                step, outcome = self._after(outcome), None
                if step is None:
                    continue
                if isinstance(step, Ended):
                    return step
                if driver.park(step):
                    return None
                self._wait(step.deadline)
                wait = step
            self.statistics.delay = None
            self.state.raise_if_stopped()
            if self._timekeeper.total_left == 0.0:
                return Ended(self._total_timeout(wait.loss))

    def _after(self, outcome: Outcome) -> Ended | Wait | None:
        """Return what follows a connection. None means another attempt at once."""
        if outcome.has_ended:
            return Ended(None)
        if isinstance(outcome.loss, ChannelClosed):
            raise outcome.loss
        loss = self._blamed(outcome.loss)
        if self.state.take_reconnect() or self._replaces_refused_id(loss):
            self.hooks.retrying(loss)
            return None
        loss = self._expiry.named(loss, self._last_event_id)
        verdict = self.context.run(self._reconnection.after, loss)
        if loss is not None and isinstance(loss, SSEClientError):
            loss.buffer = self._buffer.snapshot()
        if verdict.delay is None:
            if self.state.opening is Opening.ACCEPTED and verdict.error is not None:
                self.hooks.disconnected(loss, None)
                if self.state.take_reconnect():
                    return None
            return Ended(verdict.error)
        self.state.connecting()
        self.log.failed(loss, verdict)
        self.hooks.disconnected(loss, verdict.delay)
        self.statistics.delay = verdict.delay
        deadline = Deadline.after(verdict.delay, self._clock)
        total = self._timekeeper.total_deadline
        if total is not None and total < deadline.moment:
            deadline = Deadline(total, self._clock)
        # Only that limit needs the loss, whose traceback would take memory during the wait.
        return Wait(deadline, loss if total is not None else None)

    def _attempt(self, driver: Driver) -> Outcome | None:
        """Open a connection, and follow it unless the shared reader does. Return its outcome."""
        connection = self._connect()
        self.state.use(connection)
        is_shared = False
        try:
            try:
                response = self._open(connection)
            finally:
                driver.end_turn()
            if response.status_code == _NO_CONTENT:
                return Outcome(has_ended=True)
            body, reception = connection.body(), self._new_reception()
            is_shared = driver.share(connection, body, reception)
            return None if is_shared else self._receive_all(body, reception)
        except Exception as error:  # noqa: BLE001  # the policy knows which to retry
            return self._outcome_of(error)
        finally:
            if not is_shared:
                self._leave(connection)

    def _open(self, connection: StreamConnection) -> requests.Response:
        """Open a connection, and return its accepted response."""
        self.state.raise_if_stopped()
        self.statistics.attempts += 1
        self.log.sending(self._last_event_id)
        self.response = response = connection.open(
            self._last_event_id,
            self.options.response_rules,
            header_timeout=self.options.limits.header,
            time_left=self._timekeeper.total_left,
            on_request=self.hooks.requesting,
        )
        self.hooks.responded(response)
        if response.status_code != _NO_CONTENT:
            self.state.opened()
            self.statistics.connections += 1
            self.statistics.reconnections = self.statistics.connections - 1
            self._reconnection.opened()
            self._expiry.opened()
            self.state.settle(Opening.ACCEPTED)
            self.log.opened()
            self.hooks.opened()
        return response

    def _leave(self, connection: StreamConnection) -> None:
        """Close a connection, and keep the state of its parser."""
        self.state.leave()
        connection.close()
        reception, self._reception = self._reception, None
        if reception is not None:
            parser = reception.parser
            if reception.has_progressed or parser.last_event_id != self._last_event_id:
                self._reconnection.progressed()  # also after a block with only an ID
            self._last_event_id = parser.last_event_id
            if parser.reconnection_time is not None:
                self._reconnection.set_server_time(parser.reconnection_time)

    def _new_reception(self) -> Reception:
        self._reception = reception = Reception(
            self.options.new_parser(self._last_event_id, self._comment),
            self._delivery,
            self._timekeeper,
            self._buffer,
            self.statistics,
            self._clock,
            on_first_event=self.hooks.received_first,
        )
        return reception

    def _receive_all(self, body: StreamBody, reception: Reception) -> Outcome:
        """Receive everything from one connection, on this thread. Blocks."""
        turns = Turns() if has_greenlets() else None
        for chunk in body.chunks(self._timekeeper):
            reception.receive(chunk)
            while reception.is_blocked:
                self._wait_for_room()
                reception.put_rest()
            if reception.has_ended:
                return Outcome(has_ended=True)
            if turns is not None:
                turns.end_if_long()
        return Outcome(loss=self._missing_mark())

    def _wait_for_room(self) -> None:
        deadline = self._timekeeper.total_deadline
        if deadline is None:
            self._doorbell.wait()
        else:
            self._clock.wait_until(self._doorbell, deadline)

    def _wait(self, deadline: Deadline) -> None:
        """Wait before the next attempt, unless a request ends the wait. Blocks."""
        while self.state.request is Request.NONE and not deadline.has_passed:
            self._clock.wait_until(self._doorbell, deadline.moment)

    def close_connection(
        self, connection: StreamConnection, reception: Reception, error: Exception | None
    ) -> Outcome:
        """Close a connection that the shared reader has read, and return its outcome."""
        self._leave(connection)
        if error is not None:
            return self._outcome_of(error)
        if reception.has_ended:
            return Outcome(has_ended=True)
        return Outcome(loss=self._missing_mark())

    def _outcome_of(self, error: Exception) -> Outcome:
        """Return the outcome of an attempt that raised an error."""
        if isinstance(error, ConnectionAborted):
            return Outcome()  # the request decides whether to reconnect or to end
        if isinstance(error, ErrorEventError):
            error.response = self.response
        return Outcome(loss=error)

    def _blamed(self, loss: Exception | None) -> Exception | None:
        """Return the loss, or a TotalTimeoutError if the limit of the whole stream caused it."""
        may_be_cut_short = isinstance(loss, ConnectionFailedError | StreamInterruptedError)
        if may_be_cut_short and self._timekeeper.total_left == 0.0:
            return self._total_timeout(loss)
        return loss

    def late(self) -> Exception:
        """Return the error of an exceeded time limit."""
        assert self.response is not None, "the connection is open"
        return self._timekeeper.error(self.response)

    def _missing_mark(self) -> StreamInterruptedError | None:
        """Return the error of an end without its mark, or None if no mark is expected."""
        if self.options.end_of_stream is None:
            return None
        mark = f" {self.options.end_mark}" if self.options.end_mark else ""
        return StreamInterruptedError(
            f"the stream of {self.name} ended without its mark{mark}", response=self.response
        )

    def _total_timeout(self, loss: Exception | None) -> TotalTimeoutError:
        """Return the error of a stream that has lasted too long, caused by the loss."""
        error = self._timekeeper.total_error(self.response)
        error.__cause__ = loss
        return error

    def _replaces_refused_id(self, loss: Exception | None) -> bool:
        """Ask the hook for an ID to replace a refused one. Return whether there is one."""
        ask = self.hooks.cursor_expired
        chosen = self._expiry.replacement(loss, self._last_event_id, ask)
        self.state.raise_if_stopped()
        if chosen is None:
            return False
        self.log.replaced_id()
        self._last_event_id = chosen
        self.state.connecting()
        return True

    def _comment(self, text: str) -> None:
        self.statistics.comments += 1
        if self.hooks.has_comment_hook:
            began = self._clock.monotonic()
            self.hooks.commented(text)
            self._timekeeper.pause(self._clock.monotonic() - began)

    @property
    def total_deadline(self) -> float | None:
        """The moment, on the clock's ``monotonic``, at which the stream must end, or None."""
        return self._timekeeper.total_deadline

    def ends_after(self, outcome: Outcome | Wait | None) -> bool:
        """Return whether this is a wait after which the stream has lasted too long."""
        return isinstance(outcome, Wait) and self._timekeeper.total_left == 0.0

    @property
    def is_silent_at_the_end(self) -> bool:
        """Whether an end now would run no user code and would not block."""
        channel = self.channel()
        return self.hooks.are_silent_at_the_end and (channel is None or channel.keeper is None)

    def finish(self, error: Exception | None) -> None:
        """End the session for any reason. This is the last step."""
        error = self.state.end(error)
        if isinstance(error, SSEClientError) and not error.buffer:
            error.buffer = self._buffer.snapshot()
        channel = self.channel()
        if channel is not None:
            channel.end(error, may_block=True)
        # Without an error it was a 204, because a request to end has already settled it.
        self.state.settle(Opening.ACCEPTED if error is None else Opening.FAILED)
        self.log.closed(error)
        self.hooks.closed(error)
