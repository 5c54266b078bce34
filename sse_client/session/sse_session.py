"""The session: the user's view of a stream that a reader thread follows."""

from __future__ import annotations

import dataclasses
import sys
import warnings
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, NoReturn

from sse_client.errors import SessionClosedError
from sse_client.event_stream.events import ServerSentEvent, TypedServerSentEvent
from sse_client.event_stream.notebook import html_table
from sse_client.event_stream.parser import EventStreamParser, parse_event_stream
from sse_client.http.content_type import DEFAULT_CONTENT_TYPES, ContentTypes
from sse_client.http.response_check import ResponseRules, check_response, read_chunks
from sse_client.process import CLOSE_TIMEOUT, pause_at_exit
from sse_client.session.hooks import HookCaller, Hooks
from sse_client.session.state import Opening, ReadyState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    import requests
    from typing_extensions import TypeForm, TypeVar  # which knows defaults

    from sse_client.channel.incoming import IncomingChannel
    from sse_client.session.reader import StreamReader
    from sse_client.session.statistics import Statistics
    from sse_client.typed.decoding import Deserializer

    T = TypeVar("T")
    E_co = TypeVar("E_co", covariant=True, default=ServerSentEvent)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)


class _Lease:
    """Referenced by the session and its channel. When both are gone, it stops the reader."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        """Stop the reader without waiting, because this may run on any thread at any time."""
        if is_exiting():
            return  # all have been stopped, and the globals of modules may be gone
        try:
            if self._reader.state is not ReadyState.CLOSED:
                message = f"unclosed SSE session to {self._reader.name}"
                warnings.warn(message, ResourceWarning, stacklevel=2)
        finally:  # even if warnings are errors
            self._reader.abandon()


class SSESession(Generic[E_co]):
    """An open event stream, which a background thread follows until it ends or is closed.

    ``client.sse(...)`` returns it. All methods are thread-safe. A session is a context manager that
    closes itself at the end of the block. A session that is dropped without being closed closes
    itself with a ``ResourceWarning``. A reference to ``incoming`` is enough to keep it open.

    Attributes:
        incoming: The events: a ``queue.Queue`` that can be iterated over.
    """

    incoming: IncomingChannel[E_co]

    def __init__(
        self,
        reader: StreamReader,
        channel: IncomingChannel[E_co],
        hooks: Hooks,
        deserializer: Deserializer,
    ) -> None:
        self._reader = reader
        self.incoming = channel
        if channel.owner is None:
            channel.owner = _Lease(reader)
        self._lease = channel.owner
        self._deserializer = deserializer
        stream = reader.stream
        stream.hooks = HookCaller(
            hooks,
            _finder(self, reader, hooks, deserializer),
            stream.context,
            stream.log,
            stream.observers,
        )

    def __repr__(self) -> str:
        """Show the host and the state."""
        return f"<SSESession {self._reader.name} {self.state.name}>"

    def _repr_html_(self) -> str:
        """Return a table of the state and the figures, for a notebook."""
        figures, error = self.statistics, self.error
        rows = {
            "host": self._reader.name,
            "state": self.state.name,
            "error": None if error is None else f"{type(error).__name__}: {error}",
            "events received": figures.events,
            "events waiting": self.incoming.qsize(),
            "last event ID": self.last_event_id or None,
            "connections": figures.connections,
        }
        return html_table(type(self).__name__, rows.items())

    @property
    def state(self) -> ReadyState:
        """``CONNECTING``, ``OPEN`` or ``CLOSED`` (WHATWG HTML, section 9.2.2, readyState)."""
        return self._reader.state

    @property
    def response(self) -> requests.Response | None:
        """The response of the current or the last connection. None before the first.

        Closing it, on any thread, ends the connection as if the server had ended it. The session
        then reconnects if its options allow that. To end the session, call its own ``close``.
        """
        return self._reader.stream.response

    @property
    def last_event_id(self) -> str:
        """The last event ID received. The next connection asks to continue after it."""
        return self._reader.stream.last_event_id

    @property
    def error(self) -> Exception | None:
        """The error that ended the session. None if it has not ended, or ended cleanly."""
        return self._reader.error

    @property
    def statistics(self) -> Statistics:
        """A copy of the current figures."""
        return dataclasses.replace(self._reader.stream.statistics)

    def acknowledge(
        self,
        event: ServerSentEvent
        | TypedServerSentEvent[object]
        | Iterable[ServerSentEvent | TypedServerSentEvent[object]],
    ) -> None:
        """Acknowledge one or more processed events, so that the ``cursor`` can move past them.

        The position moves only over an unbroken run of acknowledged events, in the order in which
        ``incoming`` handed them out. It is saved before this returns, so this blocks for the
        cursor, once for all of the events.

        An equal event has the same effect as the event itself, for example one from another
        process. If there are several equal ones, the oldest is acknowledged. Any thread may call
        this, even after ``close``, and even for an event that its consumer would acknowledge by
        asking for the next one. Without a ``cursor`` it has no effect.

        Args:
            event: An event from ``incoming``, or the ``event`` of a ``DeserializationError``, or an
                iterable of these, such as a batch.

        Raises:
            TypeError: One of them is not an event. None is acknowledged.
            ValueError: One did not come from ``incoming``, or was already acknowledged. The ones
                before it are acknowledged.
            CursorError: The position could not be saved. The events count as processed, and the
                next save covers them.
            SessionClosedError: The session belongs to the parent of this forked process.
        """
        self.incoming.raise_if_disowned()
        events = [event] if isinstance(event, ServerSentEvent | TypedServerSentEvent) else event
        if not isinstance(events, Iterable):
            raise TypeError(f"event must be a ServerSentEvent, not {type(event).__name__}")
        given = [_source_of(each) for each in events]
        if self.incoming.keeper is not None:
            self.incoming.keeper.acknowledge(given)

    def deserialize(self, type: TypeForm[T], data: str) -> T:
        """Decode text as a value of a type, as the option ``deserialize`` selects.

        Does not block. Use it for events without a type:
        ``session.deserialize(Customer, event.data)``.

        Args:
            type: Any type that ``types`` accepts.
            data: The data of an event.

        Raises:
            DeserializationError: The data is not of the type.
            TypeError: No installed library supports this type.
            ImportError: The library that ``deserialize`` names is not installed.
        """
        return self._deserializer.decode(type, data)

    def reconnect(self) -> None:
        """Drop the connection and open the next one now. Does not block.

        The events received stay in ``incoming``. The new connection continues after them.

        Raises:
            SessionClosedError: The session has ended.
        """
        self._reader.reconnect()

    def close(self, timeout: float = CLOSE_TIMEOUT, *, drain: bool = False) -> None:
        """End the session: abort the connection, wake the consumers, wait for the thread.

        Can be called any number of times, from any thread, and from the session's own hooks, where
        it does not wait. No event is delivered after it (WHATWG HTML, section 9.2.2, ``close()``).

        Args:
            timeout: How long to wait for the thread and the ``cursor``, in seconds. The thread ends
                at once, unless it is in the system's resolver. In that case it ends silently when
                the resolver returns. A cursor that blocks in ``save`` or ``close`` continues on the
                thread of the consumer that saves or on a daemon thread, and stays in use until it
                returns.
            drain: Let the consumers take the events that have arrived, instead of dropping them. A
                ``cursor`` is then closed once they have acknowledged all events.
        """
        self._reader.stop(drain=drain)
        self._reader.join(timeout)
        if not drain or not self._reader.is_current():  # the reader ends it after the last event
            self.incoming.end()

    def wait_until_closed(self, timeout: float) -> None:
        """Wait for the thread of a closed session and its ``cursor``, as ``close`` does."""
        self._reader.join(timeout)

    def load_position(self) -> None:
        """Load the position from any cursor. Blocks. Call this before the start."""
        if self.incoming.keeper is not None:
            self._reader.stream.begin_after(self.incoming.keeper.load(self.last_event_id))

    def start(self) -> None:
        """Start the thread that opens the stream and follows it. Does not block."""
        self._reader.start()

    def give_up(self, error: BaseException, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close a session that could not be opened because of an error."""
        self.close(timeout)
        self._reader.report_unstarted(error)

    def wait_until_open(self) -> None:
        """Block until the first connection is open. Raise the error if it fails."""
        try:
            opening = self._reader.wait_until_settled()
        except BaseException:
            self.close()
            raise
        if opening is not Opening.ACCEPTED:
            if self._reader.error is not None:
                self._reader.join(CLOSE_TIMEOUT)
            else:
                pause_at_exit()
            raise self._never_opened()

    async def until_open(self) -> None:
        """Suspend the task until the first connection is open. Raise the error if it fails."""
        if await self._reader.until_settled() is not Opening.ACCEPTED:
            raise self._never_opened()

    def _never_opened(self) -> Exception:
        closed = SessionClosedError("the session was closed while it was connecting")
        return self._reader.error or closed

    async def aclose(self, timeout: float = CLOSE_TIMEOUT, *, drain: bool = False) -> None:
        """Do the same as ``close``, without blocking the event loop.

        The stream is stopped at once, even if the task is cancelled. The wait for the thread and
        the ``cursor`` uses a thread of the loop's executor.
        """
        import asyncio  # noqa: PLC0415  # whoever gets here has it

        self._reader.stop(drain=drain)
        await asyncio.to_thread(self.close, timeout, drain=drain)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError(
            "an SSESession cannot be pickled or copied: its thread and its connection belong to "
            "this process; pass on the events instead, or open a session there"
        )

    def __enter__(self) -> SSESession[E_co]:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session."""
        self.close()

    async def __aenter__(self) -> SSESession[E_co]:
        """Return the session."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session, without blocking the event loop."""
        await self.aclose()


def _source_of(event: object) -> ServerSentEvent:
    """Return the event of the stream, which may be the source of a decoded event."""
    if isinstance(event, TypedServerSentEvent):
        if event.source is None:
            raise ValueError("this event cannot be acknowledged: it did not come from a stream")
        return event.source
    if not isinstance(event, ServerSentEvent):
        raise TypeError(f"event must be a ServerSentEvent, not {type(event).__name__}")
    return event


def _finder(
    session: SSESession[Any], reader: StreamReader, hooks: Hooks, deserializer: Deserializer
) -> Callable[[], SSESession[Any] | None]:
    """Return a function that finds the session for its hooks, without keeping it alive."""
    weak_session, weak_reader = weakref.ref(session), weakref.ref(reader)
    weak_channel = weakref.ref(session.incoming)

    def find() -> SSESession[Any] | None:
        found, reader, channel = weak_session(), weak_reader(), weak_channel()
        if found is None and reader is not None and channel is not None:
            # The user holds only the channel, so create another session for the same stream.
            return SSESession(reader, channel, hooks, deserializer)
        return found

    return find


def iter_events(
    response: requests.Response,
    *,
    parser: EventStreamParser | None = None,
    content_types: ContentTypes = DEFAULT_CONTENT_TYPES,
) -> Iterator[ServerSentEvent]:
    """Read the events of your own streamed response, without a thread or reconnection.

    Blocks for each event, for at most the response's own read timeout. You have to close the
    response.

    Example:
        >>> with requests.get(url, stream=True) as response:  # doctest: +SKIP
        ...     for event in iter_events(response):
        ...         print(event.data)

    Args:
        response: A ``requests`` response, requested with ``stream=True``.
        parser: A new parser with your own options.
        content_types: The accepted content types, as in the option of that name.

    Yields:
        Each event, as soon as it arrives.

    Raises:
        UnexpectedStatusError: The status is neither 200 nor 204.
        UnexpectedContentTypeError: It is not an event stream, or its encoding cannot be decoded.
        StreamInterruptedError: It broke off.
        IdleTimeoutError: No bytes arrived within its read timeout.
        EventTooLargeError: An event exceeds the parser's ``max_event_size``.
    """
    check_response(response, ResponseRules(content_types))
    yield from parse_event_stream(read_chunks(response), parser=parser)
