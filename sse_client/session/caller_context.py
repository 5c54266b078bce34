"""Runs the user's code on another thread in the caller's context (``contextvars``)."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class CallerContext:
    """The context (``contextvars``) in which ``sse`` was called, for use on any thread.

    Each call runs in its own copy, so that no variables set there persist.
    """

    __slots__ = ("_context",)

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in a copy of the context, and return its result."""
        return self._context.copy().run(function, *args, **kwargs)

    def enter(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the context itself. Later calls see the variables that it sets."""
        return self._context.run(function, *args, **kwargs)
