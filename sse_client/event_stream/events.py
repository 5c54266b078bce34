"""The events of a stream: immutable, hashable, comparable, and cheap to create.

An event is implemented as a tuple, because a tuple costs a fifth of a frozen dataclass and each
block of a stream creates an event. Use the attributes, not the indexes.
"""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from sse_client.event_stream.notebook import html_table

if TYPE_CHECKING:
    from collections.abc import Callable

T_co = TypeVar("T_co", covariant=True)

#: The longest ``retry`` value, in digits, that is taken literally. Longer ones count as the largest
#: value of this length. They have no practical meaning, and ``int`` refuses very long ones.
MAX_RETRY_DIGITS = 18

_MAX_RETRY = 10**MAX_RETRY_DIGITS - 1

# Only its attributes are used. A tuple without its own ``__new__`` is created in half the time.
_Fields = namedtuple("_Fields", ("data", "event", "id", "retry", "comments"))  # noqa: PYI024  # untyped, see above


class _Checked(type):
    """Checks the arguments of users. The parser needs no such check, and bypasses it."""

    if not TYPE_CHECKING:  # pragma: no branch  # type checkers see ServerSentEvent.__new__

        def __call__(
            cls,
            data: str = "",
            event: str = "message",
            id: str = "",
            retry: int | None = None,
            comments: str | None = None,
        ) -> ServerSentEvent:
            """Check the fields and make the event."""
            texts: dict[str, object] = {"data": data, "event": event, "id": id}
            if comments is not None:
                texts["comments"] = comments
            for name, value in texts.items():
                if not isinstance(value, str):
                    raise TypeError(f"{name} must be a str, not {type(value).__name__}")
                if "\r" in value or ("\n" in value and name in {"event", "id"}):
                    raise ValueError(f"{name} cannot hold this line break: {value[:80]!r}")
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise ValueError(
                        f"{name} cannot hold a lone surrogate: {value[:80]!r}"
                    ) from error
            if "\0" in id:
                raise ValueError(f"id cannot hold a null: {id[:80]!r}")
            if retry is not None:
                if type(retry) is not int:
                    raise TypeError(f"retry must be an int or None, not {type(retry).__name__}")
                if not 0 <= retry <= _MAX_RETRY:
                    raise ValueError(
                        f"retry must be from 0 to {_MAX_RETRY} milliseconds, not {retry}"
                    )
            return super().__call__((data, event or "message", id, retry, comments))


@final
class ServerSentEvent(tuple[str, str, str, "int | None", "str | None"], metaclass=_Checked):
    """One event of an event stream, as dispatched (WHATWG HTML, section 9.2.6).

    It is immutable, so any number of threads may share it. Do not subclass it.

    Args:
        data: The payload: the block's data lines, joined with line feeds. Empty if the block had
            only comments or only a retry.
        event: The event type, ``"message"`` unless the block names another.
        id: The last event ID of the stream when the event was dispatched, ``""`` if there was none.
        retry: The reconnection time in milliseconds, if this block had one.
        comments: The block's comment lines, joined with line feeds, or None if it had none.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: The wire format cannot represent a field: a carriage return, a line break in
            ``event`` or ``id``, a null in ``id``, a lone surrogate, a negative ``retry``.
    """

    __slots__ = ()
    __match_args__ = ("data", "event", "id", "retry", "comments")

    if TYPE_CHECKING:

        def __new__(
            cls,
            data: str = "",
            event: str = "message",
            id: str = "",
            retry: int | None = None,
            comments: str | None = None,
        ) -> ServerSentEvent:
            """Check the fields and make the event."""

        @property
        def data(self) -> str:
            """The payload."""

        @property
        def event(self) -> str:
            """The event type."""

        @property
        def id(self) -> str:
            """The last event ID of the stream at this event."""

        @property
        def retry(self) -> int | None:
            """The reconnection time of the block, in milliseconds."""

        @property
        def comments(self) -> str | None:
            """The comment lines of the block."""

    else:
        data, event, id, retry, comments = (getattr(_Fields, name) for name in _Fields._fields)

    def __getnewargs__(self) -> tuple[tuple[object, ...]]:
        """Return the arguments that recreate the event."""
        return (tuple(self),)

    def __replace__(self, **changes: object) -> ServerSentEvent:
        """Return a copy with these fields changed, for ``copy.replace`` of Python 3.13."""
        fields: dict[str, Any] = dict(zip(self.__match_args__, self, strict=True))
        return ServerSentEvent(**{**fields, **changes})

    def __repr__(self) -> str:
        """Show the fields and their names."""
        fields = zip(_Fields._fields, self, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def _repr_html_(self) -> str:
        """Return a table of the fields, for a notebook."""
        return _html_of(self)

    def json(self) -> Any:  # noqa: ANN401  # as json.loads
        """Decode the data as JSON. Does not block.

        Returns:
            The result of ``json.loads(data)``.

        Raises:
            ValueError: The data is not JSON. The error is a ``json.JSONDecodeError``.
        """
        return json.loads(self.data)

    def __eq__(self, other: object) -> bool:
        """Compare with another event. A plain tuple is never equal to an event."""
        if type(self) is type(other):
            return tuple.__eq__(self, other)
        return NotImplemented if not isinstance(other, tuple) else False

    def __ne__(self, other: object) -> bool:
        """Negate ``==``, because a tuple has its own ``!=``."""
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = tuple.__hash__

    def __str__(self) -> str:
        """Write the event in the wire format (WHATWG HTML, section 9.2.5), with its blank line.

        Parsing the text returns an equal event. An event with only comments or only a retry has no
        data line, so that it is parsed as such an event again. Its ID is then written before it, in
        its own block.
        """
        data, event, id, retry, comments = self
        has_data = bool(data) or event != "message" or (comments is None and retry is None)
        # A block with both comments and a retry is neither a comment event nor a retry event.
        has_data = has_data or (comments is not None and retry is not None)
        lines = []
        if event != "message":
            # Not an f-string, which would insert the name of a member of a str enumeration.
            lines.append("event: " + event)
        if id:
            lines.append("id: " + id if has_data else "id: " + id + "\n")
        if retry is not None:
            lines.append(f"retry: {retry}")
        if comments is not None:
            lines.extend(f": {line}" if line else ":" for line in comments.split("\n"))
        if has_data:
            lines.extend(f"data: {line}" if line else "data:" for line in data.split("\n"))
        lines.append("\n")
        return "\n".join(lines)


@final
@dataclass(frozen=True)
class TypedServerSentEvent(Generic[T_co]):
    """An event whose data has been decoded: what a typed session delivers.

    It is immutable, hashable, comparable and picklable if its data is. A comparison ignores
    ``source``.

    Args:
        data: The decoded payload.
        event: The event type.
        id: The last event ID of the stream when the event was dispatched.
        retry: The reconnection time in milliseconds, if this block had one.
        comments: The block's comment lines, joined with line feeds, or None if it had none.
        source: The event as received, with its data as text. None for an event that you created.
    """

    data: T_co
    event: str = "message"
    id: str = ""
    retry: int | None = None
    comments: str | None = None
    source: ServerSentEvent | None = field(default=None, compare=False, repr=False)

    def _repr_html_(self) -> str:
        """Return a table of the fields, for a notebook."""
        return _html_of(self)


def _html_of(event: ServerSentEvent | TypedServerSentEvent[object]) -> str:
    values = {"event": event.event, "id": event.id or None, "data": event.data}
    others = {"retry": event.retry, "comments": event.comments}
    return html_table(type(event).__name__, {**values, **others}.items())


#: Creates an event from a parser's five fields, without checks. It is the plain call of a class,
#: which ``_Checked`` replaces for users. ``partial(tuple.__new__, ServerSentEvent)`` would need no
#: metaclass, but makes reading a backlog cost 3 to 5 % more processor time
#: (``benchmarks/whole_way.py``, runs interleaved).
new_event: Callable[[tuple[str, str, str, int | None, str | None]], ServerSentEvent] = (
    type.__call__.__get__(ServerSentEvent)
)


def is_extra(event: ServerSentEvent, *, show_comment_events: bool, show_retry_events: bool) -> bool:
    """Return whether this event has only comments or only a retry, if those are shown.

    An event whose data is empty looks the same.
    """
    if event.data or event.event != "message":
        return False
    if event.retry is None:
        return show_comment_events and event.comments is not None
    return show_retry_events and event.comments is None
