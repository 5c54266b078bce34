"""Output for a terminal: text without control characters, and colours if requested."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters that control a terminal: C0 except for tab and line feed, DEL, C1, Unicode line ends,
#: and those that change the direction of text.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def escape_controls(text: str) -> str:
    r"""Replace each control character with its Python escape sequence, such as ``\x1b``."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def escape_json_controls(text: str) -> str:
    r"""Escape control characters in JSON text (``\u009b``), which does not change its value."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # it is a stand-in for a file, or closed
        return False


def has_colours(
    stream: TextIO, choice: str | None = None, environment: Mapping[str, str] = os.environ
) -> bool:
    """Return whether to use colours.

    Args:
        stream: The stream of the text.
        choice: ``always`` or ``never``. Otherwise the terminal and ``NO_COLOR``
            (https://no-color.org) decide.
        environment: The environment.
    """
    if choice in {"always", "never"}:
        return choice == "always"
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return is_terminal(stream)
