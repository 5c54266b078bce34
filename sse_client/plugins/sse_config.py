"""The options of the ``SSE`` plugin: their meanings, defaults and valid values."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, cast, get_args

from sse_client.channel.bounds import DEFAULT_CAPACITY, DEFAULT_CAPACITY_BYTES, Overflow
from sse_client.clock import SYSTEM_CLOCK
from sse_client.cursors.file import CursorStore  # noqa: TC001  # documentation resolves annotations
from sse_client.event_stream.buffer import BufferPolicy
from sse_client.event_stream.events import ServerSentEvent, is_extra
from sse_client.event_stream.parser import DEFAULT_MAX_EVENT_SIZE, EventStreamParser
from sse_client.http.content_type import DEFAULT_CONTENT_TYPES, ContentTypes
from sse_client.http.pending_request import PendingRequest
from sse_client.http.response_check import ERROR_BODY_TIMEOUT, MAX_ERROR_BODY, ResponseRules
from sse_client.plugins.checks import Checks
from sse_client.session.hooks import Hooks, is_event_id
from sse_client.session.options import DEFAULT_CURSOR_EXPIRED_STATUSES, StreamOptions
from sse_client.session.reconnection import (
    DEFAULT_RETRY_STATUSES,
    Reconnect,
    ReconnectionPolicy,
    RetryIf,
)
from sse_client.session.sse_session import SSESession
from sse_client.session.time_limits import TimeLimits
from sse_client.typed.decoding import Deserialize  # noqa: TC001  # documentation resolves it

if TYPE_CHECKING:
    from sse_client.clock import Clock
    from sse_client.http.request import RequestArguments

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

    Durations are seconds (int or float) or ``timedelta``.

    Args:
        reconnection_time: The wait before the first attempt of an outage. A server's ``retry``
            replaces it (WHATWG HTML, section 9.2.3).
        max_reconnection_attempts: The number of consecutive failed attempts after which the session
            gives up with ``ReconnectionExhaustedError``. None means no limit, and 0 never
            reconnects.
        reconnect: ``"always"`` reconnects even if the server ends the stream, ``"on_error"`` only
            if it breaks, and ``"never"`` never. None means always for GET, HEAD and QUERY, and
            never for other methods. A proxy can make a break look like an end, so prefer
            ``end_of_stream`` if the server marks the end.
        reconnection_backoff: The factor by which the wait grows with each failed attempt.
        max_reconnection_time: The maximum of the growing wait.
        reconnection_jitter: The maximum random part that is added to a wait, as a fraction of it.
        reconnection_deadline: The duration of an outage after which the session gives up. None
            means no limit.
        retry_statuses: The statuses that are worth another attempt. ``Retry-After`` is respected.
        retry_if: ``retry_if(error, attempt)`` decides whether an error is worth another attempt.
            ``attempt`` is the number of that attempt in its outage, from 1. It returns True, False,
            the wait before the attempt (seconds or ``timedelta``), or None to apply the other
            options. It can also retry the first connection, but it never repeats an accepted
            request that ``reconnect`` does not repeat. The limits of attempts and time still apply.
            It is called on the reader thread. If it raises an error, the session ends.
        own_thread: Whether an open stream has its own thread. By default the open streams of a
            client share one thread. A stream has its own thread in any case if reading it calls a
            function (``on_comment``, or a function for ``end_of_stream``, ``error_event`` or
            ``counts_as_event``), if a plugin such as ``Telemetry`` observes it, if its content is
            encoded, or if its connection comes from niquests.
        retry_first_connection: Whether to retry if the very first connection fails, instead of
            raising its error at once. This applies to any method, until the first response is
            accepted.
        reset_after: An outage is over once an event or an event ID has arrived, or the connection
            has lasted this long. From the third consecutive connection that breaks within this
            time, such connections count as failed attempts even if events arrived.
        show_comment_events: Whether to deliver blocks that contain only comments.
        show_retry_events: Whether to deliver blocks that contain only a ``retry``.
        types: The type of the events' data: one type for all events, or a mapping from event names
            to types. The consumer's thread decodes the data when it takes the event, which is then
            a ``TypedServerSentEvent``. An event without a type is a plain ``ServerSentEvent``: one
            with another name, or one with only comments or only a retry (``show_comment_events``,
            ``show_retry_events``). Pass these two options together with ``types``: if only the
            plugin has them, a type checker does not know that ``client.sse(types=T)`` may deliver a
            ``ServerSentEvent``. ``str`` leaves the data unchanged. If the data is not of the type,
            ``DeserializationError`` is raised instead of the event, and the next call continues
            with the next event.
        deserialize: How data is decoded: your own function ``deserialize(type, data)``, or
            ``"pydantic"``, ``"msgspec"`` or ``"json"`` (``json_decoder`` lists the types that plain
            JSON supports). None selects the first of these that is installed and supports the type.
        max_event_size: The maximum size of an event, in bytes.
        capacity: The maximum number of events in ``incoming``.
        capacity_bytes: The maximum number of bytes in ``incoming``.
        overflow: What happens when ``incoming`` is full: ``"block"`` stops reading, so that
            backpressure reaches the server. ``"drop_oldest"`` and ``"drop_newest"`` drop events.
            ``"error"`` ends the session.
        first_event_timeout: The maximum time until the first event of a connection. Until then it
            replaces ``event_timeout``. None means ``event_timeout``.
        event_timeout: The maximum time without an event before the connection counts as lost, even
            if heartbeats arrive. None means no limit. The header of a response must be complete
            within ``first_event_timeout`` (or ``event_timeout`` if that is None) and within the
            read part of ``timeout``, or within 300 seconds if none of these is set. The time that
            consumers and hooks take does not count.
        total_timeout: The maximum time of the whole stream, from the call to ``sse``, including all
            connections and waits. Afterwards ``TotalTimeoutError`` is raised after the events that
            have arrived. None means no limit.
        counts_as_event: A function that is called with each event and selects those that reset
            ``first_event_timeout`` and ``event_timeout``, so that ``event: ping`` does not. None
            selects all events. It is called on the reader thread. If it raises an error, the
            session ends.
        end_of_stream: The data of the event that ends the session cleanly, or a function that
            recognises that event. The event is not delivered. ``""`` matches an event with empty
            data, but never one with only comments or only a retry. If this option is set, an end
            without that event is a break, however clean it looks: it raises
            ``StreamInterruptedError`` unless the session reconnects.
        error_event: The name of the event with which the server reports an error, or a function
            that recognises that event. The event is not delivered. ``ErrorEventError``, which
            carries it, is raised after all earlier events, and the session ends, unless
            ``retry_if`` decides otherwise.
        content_types: The content types that are accepted as an event stream: a collection of
            names, in which None admits a missing type, or a function that is called with the name
            in lower case or None and decides. Parameters are ignored. If a header has several
            types, the last valid one counts.
        max_error_body: The maximum size of an error's ``body``, in bytes.
        error_body_timeout: The maximum time to read that body.
        buffer_policy: Which of the bytes read before an error its ``buffer`` shows.
        last_event_id: The ID after which the stream begins.
        cursor: Stores the position, so that a new process continues after the last processed event:
            ``FileCursor``, ``SQLiteCursor``, or your own store. A saved ID takes precedence over
            ``last_event_id``. The cursor is in use from ``client.sse`` until the session is closed,
            or has ended and all its events are acknowledged. Each session needs its own cursor.
        auto_acknowledge: Whether an event counts as processed when its thread asks ``incoming`` for
            the next one. The position is then saved before the next event, on that thread. With
            False, only ``session.acknowledge(event)`` counts, for events that are passed to other
            threads. Each unacknowledged event is kept in memory, and the position does not pass it.
            This includes the last event of a thread that ends without asking for another.
        cursor_expired_statuses: The statuses with which the server refuses a last event ID. They
            have this meaning only if an ID was sent.
        on_request: ``on_request(session, request)``: an attempt is about to be made. The hook may
            change the request (method, URL, headers, body). ``Last-Event-ID`` is already set. If
            the hook raises an error, the attempt fails, as in ``Plugin.on_request``.
        on_open: ``on_open(session)``: a connection has been opened.
        on_disconnect: ``on_disconnect(session, error, delay)``: a connection was lost or an attempt
            failed. ``error`` is None if the stream ended. The next attempt follows after ``delay``
            seconds, or never if that is None. If the session itself ends cleanly, only ``on_close``
            is called.
        on_comment: ``on_comment(session, text)``: a comment line has arrived, such as a heartbeat.
            It is called as soon as the line is complete, possibly before earlier events of the
            same read are in ``incoming``.
        on_cursor_expired: ``on_cursor_expired(session)``: the server has refused
            ``session.last_event_id``. The hook returns the ID after which to continue, ``""`` to
            start from the beginning, or None to give up with ``CursorExpiredError``, as without a
            hook. The next attempt follows at once. The hook is called at most three times until a
            connection is open. The session also gives up if the hook returns the refused ID or
            raises an error.
        on_close: ``on_close(session)``: the session has ended. It is not called for an abandoned
            session.

    The hooks are called on the reader thread, and the stream waits for them. An error that a hook
    raises is logged. Hooks run in a copy of the context (``contextvars``) in which ``sse`` was
    called. So do plugins, callable values, ``retry_if`` and the other functions. There is one copy
    for an attempt and its connection, and one for each call between attempts.

    Raises:
        TypeError, ValueError: An option has a wrong type or value.
        ImportError: The library that ``deserialize`` names is not installed.
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
    own_thread: bool = False
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
        check.kind("own_thread", bool)
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
            raise ValueError("last_event_id must not contain a null or a line break")
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
        """Return a copy with some options replaced.

        Raises:
            TypeError: There is no option of that name, or its value has the wrong type.
            ValueError: The value of an option is out of range.
        """
        refuse_unknown(options)
        return dataclasses.replace(self, **options)

    def stream_options(self, method: str, clock: Clock = SYSTEM_CLOCK) -> StreamOptions:
        """Return the options of the reader of a stream with this HTTP method."""
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
            may_share=self._may_share(clock),
        )

    def _may_share(self, clock: Clock) -> bool:
        """Return whether reading uses the system's clock and calls nothing that may block."""
        called = (self.counts_as_event, self.end_of_stream, self.error_event)
        return not self.own_thread and clock is SYSTEM_CLOCK and not any(map(callable, called))

    def _is_error(self, event: ServerSentEvent) -> bool:
        return event.event == self.error_event

    def _is_end(self, event: ServerSentEvent) -> bool:
        return event.data == self.end_of_stream and not is_extra(
            event,
            show_comment_events=self.show_comment_events,
            show_retry_events=self.show_retry_events,
        )


class DataOptions(TypedDict, total=False):
    """The options of ``SSEConfig`` that keep data in all events, for type checkers."""

    reconnection_time: Duration
    max_reconnection_attempts: int | None
    reconnect: Reconnect | None
    reconnection_backoff: float
    max_reconnection_time: Duration
    reconnection_jitter: float
    reconnection_deadline: Duration | None
    retry_statuses: Collection[int]
    retry_if: RetryIf | None
    own_thread: bool
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
        """The arguments of a stream whose events all have data, for type checkers."""

        scheme: str
        host: str | None
        port: int | None
        path: str
        method: str

    class StreamArguments(DataArguments, total=False):
        """The arguments of a stream, for type checkers."""

        show_comment_events: bool
        show_retry_events: bool


def refuse_unknown(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an unknown option, and name a similar one."""
    known = [field.name for field in dataclasses.fields(SSEConfig)]
    for name in options:
        if name not in known:
            similar = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {similar[0]!r}?" if similar else ""
            raise TypeError(f"SSE has no option {name!r}{hint}")
