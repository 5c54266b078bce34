"""Distinguishes errors of the user's functions from those of requests, which calls them.

Errors of requests are not shown, because they may quote a secret. The user's errors are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class OwnErrors:
    """Records the last ValueError of a user's function. Not thread-safe."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: ValueError | None = None

    def noted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and records its errors."""
        if _is_of_requests(function):
            return function

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except ValueError as error:
                self._last = error
                raise

        return call

    def noted_iterator(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """Return an iterator over the same items that records its errors."""
        try:
            yield from iterator
        except ValueError as error:
            self._last = error
            raise

    def take(self, error: ValueError) -> bool:
        """Return whether a user's function raised this error, and forget it."""
        last, self._last = self._last, None
        return error is last


def _is_of_requests(function: object) -> bool:
    """Return whether this function belongs to requests, such as an auth or its hook."""
    module = getattr(function, "__module__", None) or ""
    return module.partition(".")[0] in {"requests", "niquests"}
