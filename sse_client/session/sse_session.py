"""The session: what a user holds of a stream that a reader thread follows."""

from __future__ import annotations

import dataclasses
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Generic, NoReturn

from sse_client.errors import SessionClosedError
from sse_client.event_stream.events import ServerSentEvent, TypedServerSentEvent
from sse_client.event_stream.parser import EventStreamParser, parse_event_stream
from sse_client.http.content_type import DEFAULT_CONTENT_TYPES, ContentTypes
from sse_client.http.response_check import ResponseRules, check_response, read_chunks
from sse_client.process import CLOSE_TIMEOUT
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
    """Held by the session and by its channel: when both are gone, nobody wants the stream."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        """Stop the reader without waiting: this may run on any thread, in any state."""
        if is_exiting():
            return  # all have been stopped, and what the modules held may be gone
        try:
            if self._reader.state is not ReadyState.CLOSED:
                message = f"unclosed SSE session to {self._reader.name}"
                warnings.warn(message, ResourceWarning, stacklevel=2)
        finally:  # also where warnings are errors
            self._reader.abandon()


class SSESession(Generic[E_co]):
    """An open event stream, followed by a thread of its own until it ends or is closed.

    Comes from ``client.sse(...)``. All methods are thread-safe. A session is a context manager that
    closes itself at the end of the block. One that is dropped without being closed closes itself,
    with a ``ResourceWarning``; holding ``incoming`` is enough to keep it.

    Attributes:
        incoming: The events: a ``queue.Queue`` that can be iterated.
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
        reader.hooks = HookCaller(hooks, _finder(self, reader, hooks, deserializer))

    def __repr__(self) -> str:
        """Name the host and the state."""
        return f"<SSESession {self._reader.name} {self.state.name}>"

    @property
    def state(self) -> ReadyState:
        """``CONNECTING``, ``OPEN`` or ``CLOSED`` (WHATWG HTML, section 9.2.2, readyState)."""
        return self._reader.state

    @property
    def response(self) -> requests.Response | None:
        """The response of the current connection, or of the last one; None before the first."""
        return self._reader.response

    @property
    def last_event_id(self) -> str:
        """The last event ID received, which the next connection will ask to go on after."""
        return self._reader.last_event_id

    @property
    def error(self) -> Exception | None:
        """Why the session ended, None if it has not, or cleanly."""
        return self._reader.error

    @property
    def statistics(self) -> Statistics:
        """The figures up to now, as a copy."""
        return dataclasses.replace(self._reader.statistics)

    def acknowledge(self, event: ServerSentEvent | TypedServerSentEvent[object]) -> None:
        """Say that an event has been processed: the ``cursor`` need not remember it.

        The position moves only over an unbroken run of acknowledged events, in the order in which
        ``incoming`` handed them out, and is saved before this returns; so it blocks for the cursor.
        An equal event is as good as the event itself, such as one that came back from another
        process; of several equal ones the oldest is acknowledged. It can be called on any thread,
        also for an event that its consumer would acknowledge by coming back for the next one, and
        after ``close``. Without a ``cursor`` nothing happens.

        Args:
            event: An event that came from ``incoming``, or the ``event`` of a
                ``DeserializationError``.

        Raises:
            ValueError: It did not, or was acknowledged already.
            CursorError: The position could not be saved. The event counts as processed, and the
                next save covers it.
            SessionClosedError: The session was opened by the process from which this was forked.
        """
        given: object = event
        if isinstance(given, TypedServerSentEvent):
            if given.source is None:
                raise ValueError("this event cannot be acknowledged: it did not come from a stream")
            given = given.source
        if not isinstance(given, ServerSentEvent):
            raise TypeError(f"event must be a ServerSentEvent, not {type(given).__name__}")
        if self.incoming.keeper is not None:
            self.incoming.keeper.acknowledge(given)

    def deserialize(self, type: TypeForm[T], data: str) -> T:
        """Decode text as a value of a type, in the way of the option ``deserialize``.

        Does not block. For events that come untyped: ``session.deserialize(Customer, event.data)``.

        Args:
            type: What ``types`` takes, too.
            data: The data of an event.

        Raises:
            DeserializationError: The data is not of the type.
            TypeError: Nothing that is installed can decode this type.
            ImportError: What ``deserialize`` names is not installed.
        """
        return self._deserializer.decode(type, data)

    def reconnect(self) -> None:
        """Drop the connection and open the next one now, without a wait. Does not block.

        What was received stays in ``incoming``; the new connection goes on after it.

        Raises:
            SessionClosedError: The session has ended.
        """
        self._reader.reconnect()

    def close(self, timeout: float = CLOSE_TIMEOUT, *, drain: bool = False) -> None:
        """End the session: abort the connection, wake the consumers, wait for the thread.

        Can be called any number of times, from any thread, and from the session's own hooks (then
        it does not wait). No event is delivered after it (WHATWG HTML, section 9.2.2, ``close()``).

        Args:
            timeout: How long to wait for the thread and the ``cursor``, in seconds. The thread ends
                at once, unless it is in the system's resolver: then it ends silently when that
                returns. A cursor that blocks in ``save`` or ``close`` goes on doing so after that,
                on the thread of the consumer that saves or on a daemon thread, and stays in use
                until it returns.
            drain: Let the consumers take what has arrived, instead of dropping it. A ``cursor`` is
                then closed once they have acknowledged all of it.
        """
        self._reader.stop(drain=drain)
        self._reader.join(timeout)
        if not drain or not self._reader.is_current():  # which ends it once all is delivered
            self.incoming.end()

    def load_position(self) -> None:
        """Begin where the cursor says, if there is one. Blocks for it; before the start."""
        if self.incoming.keeper is not None:
            self._reader.begin_after(self.incoming.keeper.load(self.last_event_id))

    def wait_until_open(self) -> None:
        """Block until the first connection is open, or raise why it never will be."""
        try:
            opening = self._reader.wait_until_settled()
        except BaseException:
            self.close()
            raise
        if opening is not Opening.ACCEPTED:
            error = self._reader.error
            if error is None:
                raise SessionClosedError("the session was closed while it was connecting")
            self._reader.join(CLOSE_TIMEOUT)
            raise error

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, as for another process."""
        raise TypeError(
            "an SSESession cannot be pickled or copied: its thread and its connection belong to "
            "this process; hand over the events, or open a session there"
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


def _finder(
    session: SSESession[Any], reader: StreamReader, hooks: Hooks, deserializer: Deserializer
) -> Callable[[], SSESession[Any] | None]:
    """Return a function that finds the session for its hooks, and keeps nothing alive."""
    weak_session, weak_reader = weakref.ref(session), weakref.ref(reader)
    weak_channel = weakref.ref(session.incoming)

    def find() -> SSESession[Any] | None:
        found, reader, channel = weak_session(), weak_reader(), weak_channel()
        if found is None and reader is not None and channel is not None:
            # The user holds nothing but the channel: then there is another for the same stream.
            return SSESession(reader, channel, hooks, deserializer)
        return found

    return find


def iter_events(
    response: requests.Response,
    *,
    parser: EventStreamParser | None = None,
    content_types: ContentTypes = DEFAULT_CONTENT_TYPES,
) -> Iterator[ServerSentEvent]:
    """Read the events of a streamed response that you already have. No thread, no reconnection.

    Blocks for each event, as long as the response's own read timeout allows. The response stays
    yours to close.

    Example:
        >>> with requests.get(url, stream=True) as response:  # doctest: +SKIP
        ...     for event in iter_events(response):
        ...         print(event.data)

    Args:
        response: A response of requests, asked for with ``stream=True``.
        parser: A new parser with your own options.
        content_types: The content types that are accepted, as the option of that name.

    Yields:
        Each event, as soon as it has arrived.

    Raises:
        UnexpectedStatusError: The status is neither 200 nor 204.
        UnexpectedContentTypeError: It is not an event stream, or is encoded in a way that cannot be
            decoded.
        StreamInterruptedError: It broke off; IdleTimeoutError: its read timeout ran out.
        EventTooLargeError: An event exceeds the parser's ``max_event_size``.
    """
    check_response(response, ResponseRules(content_types))
    yield from parse_event_stream(read_chunks(response), parser=parser)
