"""Decodes JSON into Python values if neither pydantic nor msgspec is installed.

A type is compiled once, into nested functions. A type that is not supported is refused then. The
functions raise a ``ValueError`` that names the place of a wrong value in the document.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

#: Takes a value from ``json.loads`` and its place in the document.
_Convert = Callable[[Any, str], Any]

_NULL = type(None)

#: The kinds of JSON values, by the Python type that ``json.loads`` returns.
_KINDS: dict[type, str] = {
    _NULL: "null",
    bool: "a bool",
    int: "an int",
    float: "a float",
    str: "a string",
    list: "an array",
    dict: "an object",
}
_SIMPLE_KINDS = frozenset(_KINDS) - {list, dict}

#: What may wrap the type of a TypedDict's field. They are compared by name, because
#: ``typing_extensions`` has its own objects on a Python whose ``typing`` lacks them.
_QUALIFIERS = ("Required", "NotRequired", "ReadOnly")

#: The ISO 8601 suffix for UTC, which Python 3.10 does not parse.
_ZULU = "Z"


def json_decoder(type: object) -> Callable[[str], Any]:
    """Return a function that decodes JSON text as a type. Does not block.

    It supports ``None``, ``bool``, ``int``, ``float`` (also from an int), ``str``, ``list``,
    ``tuple``, ``dict`` with ``str`` keys, ``Any`` and ``object`` (any JSON value), ``Literal``,
    enumerations (by their values), ``datetime`` and ``date`` (as ``isoformat`` writes them, or with
    a ``Z``), ``NewType``, dataclasses and TypedDicts. These may be nested, recursive or optional. A
    union is supported if its members are different kinds of JSON values, as in
    ``int | str | Customer``. No value is converted to another kind: ``"1"`` is not an int. Unknown
    keys are ignored, and so is the metadata of ``Annotated``.

    It does not support sets, bytes, decimals, named tuples, generic classes, classes of other
    libraries, unions of two classes, or unions of a class and a ``dict``.

    Raises:
        TypeError: The type is not supported.
    """
    try:
        convert, _ = _Compiler().compile(type)
    except RecursionError as error:
        raise _cannot(type, "it contains itself, but is not a class") from error

    def decode(data: str) -> Any:  # noqa: ANN401  # of the type asked for
        return convert(json.loads(data, parse_constant=_refuse_constant), "")

    return decode


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class _Compiler:
    """Compiles a type and the types in it: each class once, so that it may contain itself."""

    def __init__(self) -> None:
        self._classes: dict[type, _Convert] = {}

    def compile(self, wanted: object) -> tuple[_Convert, frozenset[type]]:
        """Return a function that converts a value, and the kinds of JSON value that it accepts."""
        wanted = _unwrapped(wanted)
        if wanted is Any or wanted is object:
            return lambda value, _: value, frozenset(_KINDS)
        if isinstance(wanted, type) and wanted in _KINDS and wanted not in {list, dict}:
            return _simple(wanted)
        if wanted is datetime or wanted is date:
            return _moment(wanted), frozenset({str})
        if isinstance(wanted, enum.EnumMeta):
            members: list[Any] = list(wanted)
            return _one_of({(type(each.value), each.value): each for each in members}, wanted)
        return self._compound(wanted)

    def _compound(self, wanted: object) -> tuple[_Convert, frozenset[type]]:
        origin, arguments = get_origin(wanted), get_args(wanted)
        if origin is Union or origin is types.UnionType:
            return self._union(arguments, wanted)
        if origin is Literal:
            return _one_of({(type(each), each): each for each in arguments}, wanted)
        if (origin or wanted) in (list, tuple, dict):
            return self._container(origin or wanted, arguments, wanted)
        return self._class(wanted), frozenset({dict})

    def _union(self, members: Iterable[object], wanted: object) -> tuple[_Convert, frozenset[type]]:
        chosen: dict[type, _Convert] = {}
        for member in members:
            convert, kinds = self.compile(member)
            if member is float and int in members:
                kinds -= {int}
            elif member is int and float in members:
                chosen.pop(int, None)
            if chosen.keys() & kinds:
                raise _cannot(wanted, "its members cannot be distinguished")
            chosen.update(dict.fromkeys(kinds, convert))

        def convert_union(value: Any, path: str) -> Any:  # noqa: ANN401  # any value of JSON
            if type(value) not in chosen:
                raise _wrong(" or ".join(_KINDS[kind] for kind in chosen), value, path)
            return chosen[type(value)](value, path)

        return convert_union, frozenset(chosen)

    def _container(
        self, kind: object, arguments: tuple[Any, ...], wanted: object
    ) -> tuple[_Convert, frozenset[type]]:
        if kind is dict:
            key, item = arguments or (str, Any)
            if _unwrapped(key) is not str:
                raise _cannot(wanted, "the keys of a JSON object are str")
            return _mapping(self.compile(item)[0]), frozenset({dict})
        is_empty = wanted == tuple[()]  # its arguments differ on Python 3.10
        if kind is list or not (arguments or is_empty) or arguments[1:] == (...,):
            convert, _ = self.compile(arguments[0] if arguments else Any)
            return _sequence(list if kind is list else tuple, convert), frozenset({list})
        items = () if is_empty else arguments
        return _row([self.compile(each)[0] for each in items]), frozenset({list})

    def _class(self, wanted: object) -> _Convert:
        is_typed_dict = inspect.isclass(wanted) and hasattr(wanted, "__required_keys__")
        if not inspect.isclass(wanted) or not (is_typed_dict or dataclasses.is_dataclass(wanted)):
            raise _cannot(wanted)
        if wanted not in self._classes:

            def convert_later(value: Any, path: str) -> Any:  # noqa: ANN401  # any value of JSON
                return self._classes[wanted](value, path)

            self._classes[wanted] = convert_later  # for fields that contain the class itself
            fields = _typed_dict_fields if is_typed_dict else _dataclass_fields
            try:
                found = fields(wanted)
            except (NameError, TypeError) as error:
                raise _cannot(wanted, str(error)) from error
            self._classes[wanted] = _record(
                wanted, {name: (self.compile(each)[0], due) for name, (each, due) in found.items()}
            )
        return self._classes[wanted]


def _unwrapped(wanted: object) -> object:
    """Return the type itself, without annotations and aliases."""
    while True:
        if wanted is None:
            return _NULL
        if hasattr(wanted, "__metadata__"):  # Annotated
            wanted = get_args(wanted)[0]
        elif hasattr(wanted, "__supertype__"):  # NewType
            wanted = wanted.__supertype__
        elif type(wanted).__name__ == "TypeAliasType":  # the statement of Python 3.12
            wanted = wanted.__value__  # type: ignore[attr-defined]  # see above
        else:
            return wanted


def _typed_dict_fields(wanted: type) -> dict[str, tuple[object, bool]]:
    """Return the type of each key, and whether the key is required."""
    required: frozenset[str] = wanted.__required_keys__  # type: ignore[attr-defined]  # a TypedDict
    found = {}
    for name, hint in get_type_hints(wanted, include_extras=True).items():
        due, inner = name in required, hint
        while (qualifier := str(get_origin(inner)).rpartition(".")[2]) in _QUALIFIERS:
            # __required_keys__ ignores the qualifier of an annotation that is a string.
            due = {"Required": True, "NotRequired": False}.get(qualifier, due)
            inner = get_args(inner)[0]
        found[name] = inner, due
    return found


def _dataclass_fields(wanted: type) -> dict[str, tuple[object, bool]]:
    """Return the type of each field, and whether the field is required."""
    hints = get_type_hints(wanted, include_extras=True)
    if any(isinstance(hint, dataclasses.InitVar) for hint in hints.values()):
        raise TypeError("it has an InitVar")
    missing = dataclasses.MISSING
    return {
        field.name: (
            hints[field.name],
            field.default is missing and field.default_factory is missing,
        )
        for field in dataclasses.fields(wanted)
        if field.init
    }


def _simple(kind: type) -> tuple[_Convert, frozenset[type]]:
    def convert(value: Any, path: str) -> Any:  # noqa: ANN401  # any value of JSON
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise _wrong(_KINDS[kind], value, path)

    return convert, frozenset({int, float} if kind is float else {kind})


def _moment(kind: type[date]) -> _Convert:
    def convert(value: Any, path: str) -> date:  # noqa: ANN401  # any value of JSON
        if type(value) is not str:
            raise _wrong(f"a string with a {kind.__name__}", value, path)
        try:
            return kind.fromisoformat(value[:-1] + "+00:00" if value.endswith(_ZULU) else value)
        except ValueError as error:
            raise ValueError(f"{_place(path)} is not an ISO 8601 {kind.__name__}") from error

    return convert


def _one_of(
    choices: dict[tuple[type, Any], Any], wanted: object
) -> tuple[_Convert, frozenset[type]]:
    kinds = frozenset(kind for kind, _ in choices)
    if not kinds <= _SIMPLE_KINDS:
        raise _cannot(wanted, "its values are not JSON values")

    def convert(value: Any, path: str) -> Any:  # noqa: ANN401  # any value of JSON
        if type(value) not in kinds or (type(value), value) not in choices:
            raise ValueError(f"{_place(path)} is not a value of {_name(wanted)}")
        return choices[type(value), value]

    return convert, kinds


def _sequence(make: Callable[[Iterable[Any]], Any], convert: _Convert) -> _Convert:
    def convert_items(value: Any, path: str) -> Any:  # noqa: ANN401  # any value of JSON
        if type(value) is not list:
            raise _wrong(_KINDS[list], value, path)
        return make([convert(item, f"{path}[{index}]") for index, item in enumerate(value)])

    return convert_items


def _row(converts: list[_Convert]) -> _Convert:
    def convert(value: Any, path: str) -> tuple[Any, ...]:  # noqa: ANN401  # any value of JSON
        if type(value) is not list or len(value) != len(converts):
            raise ValueError(f"{_place(path)} must be an array of length {len(converts)}")
        pairs = enumerate(zip(converts, value, strict=True))
        return tuple(each(item, f"{path}[{index}]") for index, (each, item) in pairs)

    return convert


def _mapping(convert: _Convert) -> _Convert:
    def convert_values(value: Any, path: str) -> dict[str, Any]:  # noqa: ANN401  # any value of JSON
        if type(value) is not dict:
            raise _wrong(_KINDS[dict], value, path)
        return {key: convert(item, f"{path}.{key}") for key, item in value.items()}

    return convert_values


def _record(wanted: type, fields: dict[str, tuple[_Convert, bool]]) -> _Convert:
    def convert(value: Any, path: str) -> Any:  # noqa: ANN401  # any value of JSON
        if type(value) is not dict:
            raise _wrong(f"an object with a {wanted.__name__}", value, path)
        found = {}
        for name, (convert_field, due) in fields.items():
            if name in value:
                found[name] = convert_field(value[name], f"{path}.{name}")
            elif due:
                raise ValueError(f"{_place(path)} lacks {name!r}, which a {wanted.__name__} has")
        return wanted(**found)

    return convert


def _place(path: str) -> str:
    return path.removeprefix(".") or "the document"


def _wrong(due: str, value: object, path: str) -> ValueError:
    return ValueError(f"{_place(path)} must be {due}, not {_KINDS[type(value)]}")


def _name(wanted: object) -> str:
    is_class = isinstance(wanted, type) and get_origin(wanted) is None
    return wanted.__qualname__ if is_class else repr(wanted)  # type: ignore[attr-defined]  # a class


def _cannot(wanted: object, why: str = "") -> TypeError:
    return TypeError(f"plain JSON cannot be decoded as {_name(wanted)}{why and ': '}{why}")
