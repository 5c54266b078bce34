"""From the text of an event to a value of the type that the user asked for.

What is not part of Python (pydantic, msgspec) is imported once it is wanted, and never before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from sse_client.errors import DeserializationError
from sse_client.event_stream.events import ServerSentEvent, TypedServerSentEvent, is_extra
from sse_client.typed.plain_json import json_decoder

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

#: Makes a value of a type from the text of an event.
Decode = Callable[[str], Any]

Library = Literal["pydantic", "msgspec", "json"]

#: A function of the user's own, ``deserialize(type, data)``, or one of the ready-made ones.
Deserialize = Callable[[Any, str], Any] | Library

#: For a program that calls ``session.deserialize`` with types that it makes as it goes.
_MAX_CACHED = 256


def _pydantic_decoder(wanted: object) -> Decode:
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415  # an extra
        from pydantic.errors import PydanticUserError  # noqa: PLC0415  # the same
    except ImportError as error:
        raise _missing("pydantic") from error
    try:
        return TypeAdapter(cast("type[Any]", wanted)).validate_json
    except PydanticUserError as error:
        why = error.message.splitlines()[0]
        raise TypeError(f"pydantic cannot make {wanted!r}: {why}") from error


def _msgspec_decoder(wanted: object) -> Decode:
    try:
        import msgspec  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise _missing("msgspec") from error
    decoder = msgspec.json.Decoder(cast("type[Any]", wanted))
    if _has_custom_type(msgspec.inspect.type_info(wanted), msgspec.inspect.CustomType):
        raise TypeError(f"msgspec cannot make {wanted!r}: it knows no such class")
    return decoder.decode


def _has_custom_type(info: object, custom: type) -> bool:
    """Return whether there is a class within that the decoder leaves to others."""
    found, seen = [info], set[int]()
    while found:
        each = found.pop()
        if isinstance(each, custom):
            return True
        if isinstance(each, tuple):
            found += each
        elif hasattr(each, "__struct_fields__") and id(each) not in seen:
            seen.add(id(each))  # a class may hold itself
            found += [getattr(each, name) for name in each.__struct_fields__]
    return False


_LIBRARIES: dict[str, Callable[[object], Decode]] = {
    "pydantic": _pydantic_decoder,
    "msgspec": _msgspec_decoder,
    "json": json_decoder,
}


def _missing(name: str) -> ImportError:
    return ImportError(
        f"deserialize={name!r} needs {name}: pip install 'sse-client[{name}]'", name=name
    )


def _first_that_can(wanted: object) -> Decode:
    """Return a decoder of the first library that is installed and can make this type."""
    reasons: list[str] = []
    for library in _LIBRARIES.values():
        try:
            return library(wanted)
        except ImportError as error:
            reasons.append(str(error))
        except TypeError as error:
            reasons.append(str(error))
    raise TypeError(f"no data can be decoded as {wanted!r}: {'; '.join(reasons)}")


def _new_decoder(wanted: object, library: Library | None) -> Decode:
    if wanted is str and library is None:
        return str  # the text as it is
    return _first_that_can(wanted) if library is None else _LIBRARIES[library](wanted)


_cached_decoder = lru_cache(_MAX_CACHED)(_new_decoder)


def decoder_for(wanted: object, deserialize: Deserialize | None) -> Decode:
    """Return what makes a value of this type from text, as ``SSEConfig.deserialize`` says.

    Raises:
        TypeError: The type cannot be decoded.
        ImportError: The library that is asked for is not installed.
    """
    if isinstance(wanted, str | bytes):
        raise TypeError(f"a type must be given itself, not its name: {wanted!r}")
    if callable(deserialize):
        own = deserialize
        return lambda data: own(wanted, data)
    try:
        return _cached_decoder(wanted, deserialize)
    except TypeError:
        return _new_decoder(wanted, deserialize)  # it may just be one that has no hash


class Deserializer:
    """What the options ``types`` and ``deserialize`` make of events and texts. Thread-safe.

    Args:
        types: The types by the names of events, one type for all, or None.
        deserialize: How to decode.
        show_comment_events, show_retry_events: Whether there are such events, which have no data.

    Raises:
        TypeError, ImportError: As ``decoder_for``.
    """

    def __init__(
        self,
        types: object,
        deserialize: Deserialize | None,
        *,
        show_comment_events: bool = False,
        show_retry_events: bool = False,
    ) -> None:
        self._is_extra = partial(
            is_extra,
            show_comment_events=show_comment_events,
            show_retry_events=show_retry_events,
        )
        self._deserialize: Deserialize | None = deserialize
        self._decoders: dict[str, Decode] = {}
        #: For all names, if there is one type for all.
        self._default: Decode | None = None
        if isinstance(types, Mapping):
            self._decoders = {
                name: decoder_for(wanted, deserialize) for name, wanted in types.items()
            }
        elif types is not None:
            self._default = decoder_for(types, deserialize)
        self.is_typed = types is not None

    def typed(
        self, event: ServerSentEvent | TypedServerSentEvent[Any]
    ) -> ServerSentEvent | TypedServerSentEvent[Any]:
        """Return the event with its data decoded, or the event itself if it has no type.

        What is no ``ServerSentEvent`` somebody has put in as it is to come out.

        Raises:
            DeserializationError: The data is not of the type.
        """
        if not isinstance(event, ServerSentEvent):
            return event
        decode = self._decoders.get(event.event, self._default)
        if decode is None or self._is_extra(event):
            return event
        try:
            data = decode(event.data)
        except Exception as error:
            raise DeserializationError(
                f"the data of an event {event.event!r} cannot be decoded: {type(error).__name__}",
                event=event,
            ) from error
        return TypedServerSentEvent(data, event.event, event.id, event.retry, event.comments, event)

    def decode(self, wanted: TypeForm[T], data: str) -> T:
        """Return the data as a value of this type.

        Raises:
            DeserializationError: It is not of the type.
            TypeError, ImportError: As ``decoder_for``.
        """
        given: object = data
        if not isinstance(given, str):
            raise TypeError(f"data must be a str, not {type(given).__name__}")
        decode = decoder_for(wanted, self._deserialize)
        try:
            return cast("T", decode(data))
        except Exception as error:
            raise DeserializationError(
                f"the data cannot be decoded: {type(error).__name__}"
            ) from error
