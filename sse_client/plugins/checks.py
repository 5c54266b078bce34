"""Checks the options of a configuration. Each error names its option."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, get_args

from sse_client.cursors.file import CursorStore
from sse_client.http.content_type import extract_mime_type
from sse_client.typed.decoding import Deserializer, Library


class Checks:
    """Checks the fields of a configuration by their names."""

    def __init__(self, config: object) -> None:
        self._config = config

    def _value(self, name: str) -> Any:  # noqa: ANN401  # its type is checked
        return getattr(self._config, name)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self._config, name, value)  # it is frozen, but still being created

    def kind(self, name: str, kind: type) -> None:
        """Refuse a value that is not an instance of a class."""
        if not isinstance(self._value(name), kind):
            raise self._wrong_kind(name, f"a {kind.__name__}")

    def cursor(self, name: str) -> None:
        """Refuse a value that is not a cursor."""
        value = self._value(name)
        # A class also has the methods.
        if value is not None and (isinstance(value, type) or not isinstance(value, CursorStore)):
            raise self._wrong_kind(name, "a CursorStore (load, save, close) or None")

    def types(self, name: str, how: str) -> None:
        """Refuse types that cannot be decoded in the requested way."""
        deserialize = self._value(how)
        if isinstance(deserialize, str):
            self.choice(how, get_args(Library))
        else:
            self.function(how)
        value = self._value(name)
        if isinstance(value, Mapping):
            for event in value:
                if not isinstance(event, str):
                    raise TypeError(f"{name} must have event names as keys, not {event!r}")
                if not event:
                    raise ValueError(f"{name} must not have an empty name: no event has one")
        try:
            Deserializer(value, deserialize)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from error

    def function(self, name: str) -> None:
        """Refuse a value that is not callable."""
        if self._value(name) is not None and not callable(self._value(name)):
            raise self._wrong_kind(name, "a callable or None")

    def choice(self, name: str, choices: tuple[str, ...], *, optional: bool = False) -> None:
        """Refuse a value that is not one of the choices."""
        value = self._value(name)
        if value not in choices and not (optional and value is None):
            listed = ", ".join(map(repr, choices))
            raise ValueError(f"{name} must be one of {listed}, not {value!r}")

    def integer(self, name: str, *, least: int, optional: bool = False) -> None:
        """Refuse a value that is not an int or too small."""
        value = self._value(name)
        if optional and value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong_kind(name, "an int" + " or None" * optional)
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")

    def number(self, name: str, *, least: float) -> None:
        """Refuse a value that is not a finite number or too small. Turn an int into a float."""
        value = self._value(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong_kind(name, "a number")
        number = _as_float(value)
        if not (number >= least and math.isfinite(number)):
            raise ValueError(f"{name} must be a finite number of at least {least:g}, not {value}")
        self._set(name, number)

    def duration(self, name: str, *, optional: bool = False, above_zero: bool = False) -> None:
        """Refuse a value that is not a duration. Turn it into seconds."""
        value = self._value(name)
        if optional and value is None:
            return
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong_kind(
                name, "seconds (a number) or a timedelta" + " or None" * optional
            )
        seconds = _as_float(value)
        if not (math.isfinite(seconds) and seconds >= 0) or (above_zero and not seconds):
            least = "above 0" if above_zero else "of 0 or more"
            raise ValueError(f"{name} must be a finite duration {least} seconds, not {value}")
        self._set(name, seconds)

    def content_types(self, name: str) -> None:
        """Refuse a value that is neither a collection of content types and None nor a function."""
        value = self._value(name)
        if callable(value):
            return
        if isinstance(value, str | bytes) or not isinstance(value, Collection):
            raise self._wrong_kind(name, "a collection of content types, or a function")
        for each in value:
            if each is not None and not (isinstance(each, str) and extract_mime_type(each)):
                raise ValueError(
                    f"{name} must contain content types such as 'text/plain', not {each!r}"
                )

    def statuses(self, name: str) -> None:
        """Refuse a value that is not a collection of HTTP statuses."""
        value = self._value(name)
        if isinstance(value, str | bytes) or not isinstance(value, Collection):
            raise self._wrong_kind(name, "a collection of HTTP statuses")
        for status in value:
            if not isinstance(status, int) or status not in range(100, 600):
                raise ValueError(f"{name} must contain HTTP statuses, not {status!r}")

    def _wrong_kind(self, name: str, wanted: str) -> TypeError:
        return TypeError(f"{name} must be {wanted}, not {type(self._value(name)).__name__}")


def _as_float(value: float) -> float:
    """Return a number as a float, so that arithmetic with it never raises OverflowError."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
