"""The SSE plugin, and every option that a stream can be given."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, cast, get_args

from sse_client.channel.bounds import DEFAULT_CAPACITY, DEFAULT_CAPACITY_BYTES, Overflow
from sse_client.channel.incoming import IncomingChannel
from sse_client.clock import SYSTEM_CLOCK
from sse_client.cursors.file import CursorStore  # noqa: TC001  # documentation resolves annotations
from sse_client.cursors.keeper import PositionKeeper
from sse_client.event_stream.buffer import BufferPolicy
from sse_client.event_stream.events import ServerSentEvent, is_extra
from sse_client.event_stream.parser import DEFAULT_MAX_EVENT_SIZE, EventStreamParser
from sse_client.http.content_type import DEFAULT_CONTENT_TYPES, ContentTypes
from sse_client.http.pending_request import PendingRequest
from sse_client.http.response_check import ERROR_BODY_TIMEOUT, MAX_ERROR_BODY, ResponseRules
from sse_client.plugins.checks import Checks
from sse_client.session.hooks import Hooks, is_event_id
from sse_client.session.options import DEFAULT_CURSOR_EXPIRED_STATUSES, StreamOptions
from sse_client.session.reader import StreamReader
from sse_client.session.reconnection import (
    DEFAULT_RETRY_STATUSES,
    Reconnect,
    ReconnectionPolicy,
    RetryIf,
)
from sse_client.session.sse_session import SSESession
from sse_client.session.time_limits import TimeLimits
from sse_client.typed.channel import TypedChannel
from sse_client.typed.decoding import Deserialize, Deserializer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sse_client.clock import Clock
    from sse_client.http.request import RequestArguments
    from sse_client.http.stream_connection import StreamConnection

Duration = float | timedelta
OpenHook = Callable[[SSESession], object]
DisconnectHook = Callable[[SSESession, Exception | None, float | None], object]
ExpiredHook = Callable[[SSESession], "str | None"]
CommentHook = Callable[[SSESession, str], object]
EndOfStream = str | Callable[[ServerSentEvent], object]

RequestHook = Callable[[SSESession, PendingRequest], object]
ErrorEvent = str | Callable[[ServerSentEvent], object]
CountsAsEvent = Callable[[ServerSentEvent], object]

#: The safe methods, which may be repeated automatically (RFC 9110, section 9.2.2; RFC 10008).
_REPEATED_METHODS = frozenset({"GET", "HEAD", "QUERY"})


@dataclass(frozen=True, slots=True)
class SSEConfig:
    """The options of a stream, for ``client.install(SSE, ...)`` and for each ``client.sse(...)``.

    Durations are seconds, or ``timedelta``.

    Args:
        reconnection_time: How long to wait before the first attempt of an outage. A server's
            ``retry`` replaces it (WHATWG HTML, section 9.2.3).
        max_reconnection_attempts: How many attempts may fail in a row before it gives up with
            ``ReconnectionExhaustedError``; None for any number, 0 to never reconnect.
        reconnect: ``"always"``, also when the server ends the stream; ``"on_error"``, only when it
            breaks; ``"never"``. None means always for GET, HEAD and QUERY, and never for other
            methods. A proxy can make a break look like an end, so prefer ``end_of_stream`` where
            the server sends a mark.
        reconnection_backoff: The factor by which the wait grows with each failed attempt.
        max_reconnection_time: What it grows to at most.
        reconnection_jitter: The part of the wait that is added to it at most, by chance.
        reconnection_deadline: Gives up once an outage has lasted so long; None for never.
        retry_statuses: The statuses that are worth another attempt. ``Retry-After`` is respected.
        retry_if: ``retry_if(error, attempt)`` decides whether an error is worth another attempt;
            ``attempt`` is the number of that attempt in its outage, from 1. It returns True, False,
            the wait before the attempt (seconds or ``timedelta``), or None to apply the other
            options. It can also retry the first connection, but never repeats a request that has
            been accepted and that ``reconnect`` does not repeat. The limits of attempts and time
            still hold. It is called on the reader thread; what it raises ends the session.
        retry_first_connection: Whether to try again when the very first connection fails, instead
            of raising at once: with any method, until the first response is accepted.
        reset_after: An outage is over once an event or an event ID has arrived, or the connection
            has lasted this long. From the third consecutive connection that breaks within this
            time, such connections count as failed attempts even if events arrived.
        show_comment_events: Whether to deliver blocks that have only comments.
        show_retry_events: Whether to deliver blocks that have only a ``retry``.
        types: Of which type the data of events is: one for all, or a mapping from names of events
            to types. Data is decoded when a consumer takes its event, on that thread; the event is
            then a ``TypedServerSentEvent``. What has no type comes as a plain
            ``ServerSentEvent``: events with other names, and, where ``show_comment_events`` or
            ``show_retry_events`` is on, those of comments or of a retry alone. Give these two
            where ``types`` is given: a type checker sees no ``ServerSentEvent`` in what
            ``client.sse(types=T)`` gives, even if the plugin was installed with them. ``str``
            leaves the data as it is. Data that is not of the type raises ``DeserializationError``
            in place of the event, and the next call goes on with the next one.
        deserialize: How data is decoded: a function of your own, ``deserialize(type, data)``, or
            ``"pydantic"``, ``"msgspec"`` or ``"json"`` (what plain JSON can do is said at
            ``json_decoder``). None is the first of these that is installed and can do it.
        max_event_size: The most bytes that one event may take.
        capacity: The most events that ``incoming`` holds.
        capacity_bytes: The most bytes of the stream that it holds.
        overflow: What happens when it is full: ``"block"`` lets the server feel it,
            ``"drop_oldest"`` and ``"drop_newest"`` lose events, ``"error"`` ends the session.
        first_event_timeout: How long the first event of a connection may take; it replaces
            ``event_timeout`` until then. None means ``event_timeout``.
        event_timeout: How long no event may come before the connection counts as lost, although it
            is alive; None for any time. The header of a response must be complete within
            ``first_event_timeout``, or else ``event_timeout``, and within the read part of
            ``timeout``; without any of them, within 300 seconds. The time that consumers and hooks
            take does not count.
        total_timeout: How long the whole stream may take, counted from the call of ``sse``, with
            all its connections and waits. Then ``TotalTimeoutError`` is raised after the events
            that have arrived. None for any time.
        counts_as_event: A function that is called with each event and selects those that reset
            ``first_event_timeout`` and ``event_timeout``, so that ``event: ping`` does not. None
            selects all. It is called on the reader thread; what it raises ends the session.
        end_of_stream: The data, or a test, of the event that ends the session cleanly; that event
            is not delivered. ``""`` is an event whose data is empty, never one of comments or of a
            retry alone. If it is given, an end without that event is a break, however clean it
            looks: it raises ``StreamInterruptedError`` unless the session reconnects.
        error_event: The name, or a test, of the event by which the server reports an error. It is
            not delivered: ``ErrorEventError``, which carries it, is raised after all earlier
            events, and the session ends, unless ``retry_if`` decides otherwise.
        content_types: The content types that are accepted as an event stream: a collection of
            names, in which None admits a missing type; or a function that is called with the name
            in lower case, or with None, and decides. Parameters are ignored. Of several types in a
            header the last valid one counts.
        max_error_body: The maximum size of an error's ``body``, in bytes.
        error_body_timeout: How long reading that body may take.
        buffer_policy: What an error's ``buffer`` shows of what was read before it.
        last_event_id: The ID after which the stream is to begin.
        cursor: Where the position is kept, so that a new process goes on behind the last event that
            was processed: ``FileCursor``, ``SQLiteCursor``, or a store of your own. An ID that was
            saved wins over ``last_event_id``. It is in use from ``client.sse`` until the session
            is closed, or has ended and all its events are acknowledged; each session needs its own.
        auto_acknowledge: Whether a thread that comes back to ``incoming`` for the next event has
            processed the one it got before. The position is saved ahead of the next event, on that
            thread. With False, ``session.acknowledge(event)`` alone says so: for events that are
            handed on to other threads. Each event that is not acknowledged is kept in memory, and
            holds the position: also that of a thread that ends without coming back.
        cursor_expired_statuses: The statuses with which the server refuses a last event ID; they
            mean that only where one was sent.
        on_request: ``on_request(session, request)``: an attempt is about to be made. The hook may
            change the request (method, URL, headers, body); ``Last-Event-ID`` is already set. What
            it raises fails the attempt, as in ``Plugin.on_request``.
        on_open: ``on_open(session)``: a connection has been opened.
        on_disconnect: ``on_disconnect(session, error, delay)``: a connection was lost or an attempt
            failed, with ``error`` (None: the stream ended); the next comes after ``delay``
            seconds, or never if that is None. A stream that ends cleanly for good is told to
            ``on_close`` alone.
        on_comment: ``on_comment(session, text)``: a comment line has arrived, such as a heartbeat.
            It is called as soon as the line is complete, possibly before earlier events of the
            same read are in ``incoming``.
        on_cursor_expired: ``on_cursor_expired(session)``: the server has refused
            ``session.last_event_id``. It returns the ID after which to go on, ``""`` to start
            afresh, or None to give up with ``CursorExpiredError``, as without a hook. The next
            attempt is made at once. It is asked up to three times until a connection is open; the
            refused ID again, or a hook that raises, gives up, too.
        on_close: ``on_close(session)``: the session has ended. Nobody calls it for one abandoned.

    The hooks are called on the reader thread; one that raises is logged. What they do keeps the
    stream waiting.

    Raises:
        TypeError, ValueError: An option is of the wrong kind, or out of its range.
        ImportError: What ``deserialize`` names is not installed.
    """

    reconnection_time: Duration = 3.0
    max_reconnection_attempts: int | None = None
    reconnect: Reconnect | None = None
    reconnection_backoff: float = 2.0
    max_reconnection_time: Duration = 30.0
    reconnection_jitter: float = 0.25
    reconnection_deadline: Duration | None = None
    retry_statuses: Collection[int] = DEFAULT_RETRY_STATUSES
    retry_if: RetryIf | None = None
    retry_first_connection: bool = False
    reset_after: Duration = 5.0
    show_comment_events: bool = False
    show_retry_events: bool = False
    types: object = None
    deserialize: Deserialize | None = None
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE
    capacity: int = DEFAULT_CAPACITY
    capacity_bytes: int = DEFAULT_CAPACITY_BYTES
    overflow: Overflow = "block"
    first_event_timeout: Duration | None = None
    event_timeout: Duration | None = None
    total_timeout: Duration | None = None
    counts_as_event: CountsAsEvent | None = None
    end_of_stream: EndOfStream | None = None
    error_event: ErrorEvent | None = None
    content_types: ContentTypes = DEFAULT_CONTENT_TYPES
    max_error_body: int = MAX_ERROR_BODY
    error_body_timeout: Duration = ERROR_BODY_TIMEOUT
    buffer_policy: BufferPolicy = field(default_factory=BufferPolicy.off)
    last_event_id: str = ""
    cursor: CursorStore | None = None
    auto_acknowledge: bool = True
    cursor_expired_statuses: Collection[int] = DEFAULT_CURSOR_EXPIRED_STATUSES
    on_request: RequestHook | None = None
    on_open: OpenHook | None = None
    on_disconnect: DisconnectHook | None = None
    on_comment: CommentHook | None = None
    on_cursor_expired: ExpiredHook | None = None
    on_close: OpenHook | None = None

    def __post_init__(self) -> None:
        """Check each option, and turn each duration into seconds."""
        check = Checks(self)
        check.duration("reconnection_time")
        check.integer("max_reconnection_attempts", least=0, optional=True)
        check.choice("reconnect", get_args(Reconnect), optional=True)
        check.number("reconnection_backoff", least=1.0)
        check.duration("max_reconnection_time")
        check.number("reconnection_jitter", least=0.0)
        check.duration("reconnection_deadline", optional=True)
        check.statuses("retry_statuses")
        check.kind("retry_first_connection", bool)
        check.duration("reset_after")
        check.kind("show_comment_events", bool)
        check.kind("show_retry_events", bool)
        check.types("types", "deserialize")
        check.integer("max_event_size", least=1)
        check.integer("capacity", least=1)
        check.integer("capacity_bytes", least=1)
        check.choice("overflow", get_args(Overflow))
        for timeout in ("first_event_timeout", "event_timeout", "total_timeout"):
            check.duration(timeout, optional=True, above_zero=True)
        check.content_types("content_types")
        check.integer("max_error_body", least=0)
        check.duration("error_body_timeout")
        check.kind("buffer_policy", BufferPolicy)
        check.kind("last_event_id", str)
        if not is_event_id(self.last_event_id):
            raise ValueError("last_event_id must not hold a null or a line break")
        check.cursor("cursor")
        check.kind("auto_acknowledge", bool)
        check.statuses("cursor_expired_statuses")
        for function in (
            "retry_if",
            "counts_as_event",
            *(hook.name for hook in dataclasses.fields(Hooks)),
        ):
            check.function(function)
        for event in ("end_of_stream", "error_event"):
            if not isinstance(getattr(self, event), str):
                check.function(event)

    def replace(self, options: Mapping[str, Any]) -> SSEConfig:
        """Return the same with some options set anew.

        Raises:
            TypeError: There is no option of that name, or it is of the wrong kind.
            ValueError: An option is out of its range.
        """
        _refuse_unknown(options)
        return dataclasses.replace(self, **options)

    def stream_options(self, method: str, clock: Clock = SYSTEM_CLOCK) -> StreamOptions:
        """Return the options for a stream of this HTTP method, as its reader takes them."""
        names = {field.name for field in dataclasses.fields(ReconnectionPolicy)}
        chosen = {name: getattr(self, name) for name in names}
        chosen["retry_statuses"] = frozenset(self.retry_statuses)
        if self.reconnect is None:
            chosen["reconnect"] = "always" if method.upper() in _REPEATED_METHODS else "never"

        def new_parser(last_event_id: str, on_comment: Callable[[str], None]) -> EventStreamParser:
            return EventStreamParser(
                last_event_id=last_event_id,
                show_comment_events=self.show_comment_events,
                show_retry_events=self.show_retry_events,
                max_event_size=self.max_event_size,
                on_comment=on_comment,
            )

        return StreamOptions(
            policy=ReconnectionPolicy(**chosen),
            new_parser=new_parser,
            last_event_id=self.last_event_id,
            limits=TimeLimits(
                first_event=cast("float | None", self.first_event_timeout),
                event=cast("float | None", self.event_timeout),
                total=cast("float | None", self.total_timeout),
                counts_as_event=self.counts_as_event,
            ),
            end_of_stream=self._is_end
            if isinstance(self.end_of_stream, str)
            else self.end_of_stream,
            end_mark=repr(self.end_of_stream) if isinstance(self.end_of_stream, str) else "",
            error_event=self._is_error if isinstance(self.error_event, str) else self.error_event,
            response_rules=ResponseRules(
                self.content_types, self.max_error_body, cast("float", self.error_body_timeout)
            ),
            cursor_expired_statuses=frozenset(self.cursor_expired_statuses),
            buffer_policy=self.buffer_policy,
            clock=clock,
        )

    def _is_error(self, event: ServerSentEvent) -> bool:
        return event.event == self.error_event

    def _is_end(self, event: ServerSentEvent) -> bool:
        return event.data == self.end_of_stream and not is_extra(
            event,
            show_comment_events=self.show_comment_events,
            show_retry_events=self.show_retry_events,
        )


class DataOptions(TypedDict, total=False):
    """The options of ``SSEConfig`` with which all events have data, for type checkers."""

    reconnection_time: Duration
    max_reconnection_attempts: int | None
    reconnect: Reconnect | None
    reconnection_backoff: float
    max_reconnection_time: Duration
    reconnection_jitter: float
    reconnection_deadline: Duration | None
    retry_statuses: Collection[int]
    retry_if: RetryIf | None
    retry_first_connection: bool
    reset_after: Duration
    deserialize: Deserialize | None
    max_event_size: int
    capacity: int
    capacity_bytes: int
    overflow: Overflow
    first_event_timeout: Duration | None
    event_timeout: Duration | None
    total_timeout: Duration | None
    counts_as_event: CountsAsEvent | None
    end_of_stream: EndOfStream | None
    error_event: ErrorEvent | None
    content_types: ContentTypes
    max_error_body: int
    error_body_timeout: Duration
    buffer_policy: BufferPolicy
    last_event_id: str
    cursor: CursorStore | None
    auto_acknowledge: bool
    cursor_expired_statuses: Collection[int]
    on_request: RequestHook | None
    on_open: OpenHook | None
    on_disconnect: DisconnectHook | None
    on_comment: CommentHook | None
    on_cursor_expired: ExpiredHook | None
    on_close: OpenHook | None


class SSEOptions(DataOptions, total=False):
    """All options of ``SSEConfig``, for type checkers."""

    show_comment_events: bool
    show_retry_events: bool
    types: object


if TYPE_CHECKING:

    class DataArguments(RequestArguments, DataOptions, total=False):
        """The arguments of a stream of events that all have data, for type checkers."""

        scheme: str
        host: str | None
        port: int | None
        path: str
        method: str

    class StreamArguments(DataArguments, total=False):
        """The arguments of a stream, for type checkers."""

        show_comment_events: bool
        show_retry_events: bool


class SSE:
    """The plugin that lets a client follow event streams: ``client.install(SSE, ...)``.

    Args:
        **options: What ``SSEConfig`` takes: the client's defaults for each stream.

    Raises:
        TypeError, ValueError: As ``SSEConfig``; an unknown option is refused by name.
    """

    def __init__(self, **options: Unpack[SSEOptions]) -> None:
        given = dict(options)
        _refuse_unknown(given)
        self.config = SSEConfig(**options)

    def new_session(
        self,
        connect: Callable[[], StreamConnection],
        *,
        method: str,
        name: str,
        options: Mapping[str, Any],
        has_one_body: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> tuple[SSESession[Any], StreamReader]:
        """Make a session that is still to be started, and its reader."""
        config = self.config.replace(options)
        stream = config.stream_options(method, clock)
        repeats = stream.policy.reconnect != "never" or config.retry_first_connection
        reconnects = repeats and config.max_reconnection_attempts != 0
        if has_one_body and reconnects:
            raise ValueError(
                "data can be read only once, but this stream reconnects: "
                "give a function that returns it anew, or reconnect='never'"
            )
        deserializer = Deserializer(
            config.types,
            config.deserialize,
            show_comment_events=config.show_comment_events,
            show_retry_events=config.show_retry_events,
        )
        bounds = (config.capacity, config.capacity_bytes, config.overflow)
        channel: IncomingChannel[Any] = (
            TypedChannel(deserializer.typed, *bounds)
            if deserializer.is_typed
            else IncomingChannel(*bounds)
        )
        if config.cursor is not None:
            channel.keep_position(
                PositionKeeper(config.cursor, auto_acknowledge=config.auto_acknowledge)
            )
        reader = StreamReader(connect, channel, stream, name)
        hooks = Hooks(
            **{each.name: getattr(config, each.name) for each in dataclasses.fields(Hooks)}
        )
        return SSESession(reader, channel, hooks, deserializer), reader


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(SSEConfig)]
    for name in options:
        if name not in known:
            similar = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {similar[0]!r}?" if similar else ""
            raise TypeError(f"SSE has no option {name!r}{hint}")
