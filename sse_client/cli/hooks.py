"""Combines several sets of hooks for one session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def combine(sets: Iterable[Mapping[str, Callable[..., object]]]) -> dict[str, Any]:
    """Return one set of hooks. Each calls all hooks of its name in order."""
    found: dict[str, list[Callable[..., object]]] = {}
    for each in sets:
        for name, hook in each.items():
            found.setdefault(name, []).append(hook)
    return {name: _all_of(hooks) for name, hooks in found.items()}


def _all_of(hooks: list[Callable[..., object]]) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        for hook in hooks:
            hook(*arguments)

    return call
