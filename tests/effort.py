"""Scales the number of random examples: all with ``--ci``, otherwise a part of them."""

from __future__ import annotations

_is_whole = False


def set_effort(*, whole: bool) -> None:
    """Set the effort. Call this before the tests are imported."""
    global _is_whole  # noqa: PLW0603  # one per process
    _is_whole = whole


def examples(count: int) -> int:
    """Return how many of ``count`` examples to create."""
    return count if _is_whole else count // 5
