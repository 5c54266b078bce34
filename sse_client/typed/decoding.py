"""Decodes the text of an event into a value of the requested type.

pydantic and msgspec are imported only when they are needed.
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

#: Decodes the text of an event.
Decode = Callable[[str], Any]

Library = Literal["pydantic", "msgspec", "json"]

#: The user's function, ``deserialize(type, data)``, or a library's name.
Deserialize = Callable[[Any, str], Any] | Library

#: Bounds the memory of a program that creates types and passes them to ``session.deserialize``.
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
        raise TypeError(f"pydantic cannot decode {wanted!r}: {why}") from error


def _msgspec_decoder(wanted: object) -> Decode:
    try:
        import msgspec  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise _missing("msgspec") from error
    decoder = msgspec.json.Decoder(cast("type[Any]", wanted))
    if _has_custom_type(msgspec.inspect.type_info(wanted), msgspec.inspect.CustomType):
        raise TypeError(f"msgspec cannot decode {wanted!r}: it does not support this class")
    return decoder.decode


def _has_custom_type(info: object, custom: type) -> bool:
    """Return whether the type contains a class that msgspec does not know."""
    found, seen = [info], set[int]()
    while found:
        each = found.pop()
        if isinstance(each, custom):
            return True
        if isinstance(each, tuple):
            found += each
        elif hasattr(each, "__struct_fields__") and id(each) not in seen:
            seen.add(id(each))  # a class may contain itself
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
    """Return a decoder of the first installed library that supports this type."""
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
    """Return a decoder for this type, as ``SSEConfig.deserialize`` selects it.

    Raises:
        TypeError: The type cannot be decoded.
        ImportError: The requested library is not installed.
    """
    if isinstance(wanted, str | bytes):
        raise TypeError(f"give the type itself, not its name: {wanted!r}")
    if callable(deserialize):
        own = deserialize
        return lambda data: own(wanted, data)
    try:
        return _cached_decoder(wanted, deserialize)
    except TypeError:
        return _new_decoder(wanted, deserialize)  # the type may only lack a hash


class Deserializer:
    """Decodes events and texts as the options ``types`` and ``deserialize`` say. Thread-safe.

    Args:
        types: A type for each event name, one type for all events, or None.
        deserialize: How to decode.
        show_comment_events, show_retry_events: Whether there are such events without data.

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
        #: The decoder for all names, if there is one type for all.
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

        Any other object was put into the channel by the user, and is returned unchanged.

        Raises:
            DeserializationError: The data is not of the requested type.
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
        """Decode the data as this type.

        Raises:
            DeserializationError: The data is not of this type.
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
