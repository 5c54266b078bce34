"""The values that a stream consists of: immutable, hashable, comparable, and cheap to make.

An event is a tuple underneath, since one is made for every block of a stream and a tuple costs a
fifth of a frozen dataclass. That is a matter of speed only: use the attributes.
"""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable

T_co = TypeVar("T_co", covariant=True)

#: The longest ``retry`` value, in digits, that is taken literally. It is three hundred centuries in
#: milliseconds; longer ones mean no more, and ``int`` refuses the longest.
MAX_RETRY_DIGITS = 18

_MAX_RETRY = 10**MAX_RETRY_DIGITS - 1

# Only its attributes are of use: a tuple without a ``__new__`` of its own is made in half the time.
_Fields = namedtuple("_Fields", ("data", "event", "id", "retry", "comments"))  # noqa: PYI024  # untyped, see above


class _Checked(type):
    """Checks what a user makes an event of. What a parser has read can't be wrong in these ways."""

    if not TYPE_CHECKING:  # pragma: no branch  # for checkers ServerSentEvent.__new__ says the same

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

    Never blocks; immutable, so any number of threads may share one. It is not made to be derived
    from.

    Args:
        data: The payload: the block's data lines, joined with a line feed. Empty for an event that
            has only comments or only a retry.
        event: The event type, ``"message"`` unless the block names another.
        id: The last event ID of the stream when the event was dispatched, ``""`` if there was none.
        retry: The reconnection time in milliseconds, if this very block carried one.
        comments: The block's comment lines, joined with a line feed, or None if it had none.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field holds what the wire format has no way to write: a carriage return, a
            line break in ``event`` or ``id``, a null in ``id``, a lone surrogate, a negative
            ``retry``.
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
        """Return what a copy is made of."""
        return (tuple(self),)

    def __replace__(self, **changes: object) -> ServerSentEvent:
        """Return another event with these fields changed: for ``copy.replace`` of Python 3.13."""
        fields: dict[str, Any] = dict(zip(self.__match_args__, self, strict=True))
        return ServerSentEvent(**{**fields, **changes})

    def __repr__(self) -> str:
        """Name the fields."""
        fields = zip(_Fields._fields, self, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def json(self) -> Any:  # noqa: ANN401  # as json.loads
        """Decode the data as JSON. Does not block.

        Returns:
            What ``json.loads`` makes of ``data``.

        Raises:
            ValueError: The data is not JSON (it is a ``json.JSONDecodeError``).
        """
        return json.loads(self.data)

    def __eq__(self, other: object) -> bool:
        """Compare with another event; a plain tuple is never equal to one."""
        if type(self) is type(other):
            return tuple.__eq__(self, other)
        return NotImplemented if not isinstance(other, tuple) else False

    def __ne__(self, other: object) -> bool:
        """Negate ``==``, which a tuple would not do by itself."""
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = tuple.__hash__

    def __str__(self) -> str:
        """Write the event in the wire format (WHATWG HTML, section 9.2.5), blank line included.

        Parsing that gives the event back. One that carries only comments or a retry is written
        without a data line, so that it stays what it is (a parser shows it if asked to); its ID
        then goes ahead in a block of its own.
        """
        data, event, id, retry, comments = self
        has_data = bool(data) or event != "message" or (comments is None and retry is None)
        # Comments beside a retry make neither a comment event nor a retry event.
        has_data = has_data or (comments is not None and retry is not None)
        lines = []
        if event != "message":
            # Joined with +, since formatting a member of a str enumeration gives the member's name.
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

    Never blocks. Immutable, as far as its data is; and hashable, comparable and picklable if its
    data is. Of two events those fields are compared that a ``ServerSentEvent`` has, too.

    Args:
        data: The decoded payload.
        event: The event type.
        id: The last event ID of the stream when the event was dispatched.
        retry: The reconnection time in milliseconds, if this very block carried one.
        comments: The block's comment lines, joined with a line feed, or None if it had none.
        source: The event as it was received, its data still text; None for one of your own making.
    """

    data: T_co
    event: str = "message"
    id: str = ""
    retry: int | None = None
    comments: str | None = None
    source: ServerSentEvent | None = field(default=None, compare=False, repr=False)


#: Makes an event of its five fields, unchecked: for what a parser has read. It is the plain call of
#: a class, which ``_Checked`` replaces for users. Without the metaclass the fastest way would be
#: ``partial(tuple.__new__, ServerSentEvent)``. With that the whole way of a backlog takes 3 to 5 %
#: more processor time (``benchmarks/whole_way.py``, in turns with this).
new_event: Callable[[tuple[str, str, str, int | None, str | None]], ServerSentEvent] = (
    type.__call__.__get__(ServerSentEvent)
)


def is_extra(event: ServerSentEvent, *, show_comment_events: bool, show_retry_events: bool) -> bool:
    """Return whether this is an event of only comments or only a retry, if those are shown.

    An event that has data, but empty data, looks the same.
    """
    if event.data or event.event != "message":
        return False
    if event.retry is None:
        return show_comment_events and event.comments is not None
    return show_retry_events and event.comments is None
