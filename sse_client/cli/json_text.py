"""JSON text: indented and coloured for a terminal, and values that a path selects.

Indenting rearranges the tokens of the text, so that numbers and keys stay as the server sent them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from sse_client.cli.terminal import escape_json_controls

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+', re.DOTALL)

_INDENT = "  "

_RESET = "\x1b[0m"
_KEY = "\x1b[36m"
_STRING = "\x1b[32m"
_NUMBER = "\x1b[33m"
_WORD = "\x1b[35m"

#: A step of a path: ``.name``, ``[0]`` or ``["any name"]``.
_STEP = re.compile(r"""\.?([^.\[\]"]+)|\[([0-9]+)\]|\["((?:[^"\\]|\\.)*)"\]""")


class Missing(NamedTuple):
    """Means that an event has nothing at a path."""


#: The only instance.
MISSING = Missing()

Selector = Callable[[str], object]

#: Returns a value as JSON in one line. Creating the encoder takes longer than using it.
in_one_line = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def indent(text: str, *, has_colours: bool) -> str | None:
    """Return JSON with one element per line, or None if the text is not an object or array.

    Args:
        text: Any text.
        has_colours: Whether to add colours.
    """
    if text.lstrip()[:1] not in {"{", "["} or not is_json(text):
        return None
    return "".join(_laid_out(_TOKEN.findall(text), has_colours=has_colours, is_indented=True))


def colour(text: str) -> str:
    """Add colours to a line of JSON."""
    return "".join(_laid_out(_TOKEN.findall(text), has_colours=True, is_indented=False))


def is_json(text: str) -> bool:
    """Return whether a text is a JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _laid_out(tokens: list[str], *, has_colours: bool, is_indented: bool) -> list[str]:
    pieces: list[str] = []
    depth = 0
    for number, part in enumerate(tokens):
        following = tokens[number + 1] if number + 1 < len(tokens) else ""
        before = tokens[number - 1] if number else ""
        if part in {"]", "}"}:
            depth -= 1
            if is_indented and before not in {"[", "{"}:
                pieces.append("\n" + _INDENT * depth)
        pieces.append(_painted(part, is_key=following == ":") if has_colours else _safe(part))
        if part in {"[", "{"}:
            depth += 1
        if not is_indented:
            continue
        if part == ":":
            pieces.append(" ")
        elif part == "," or (part in {"[", "{"} and following not in {"]", "}"}):
            pieces.append("\n" + _INDENT * depth)
    return pieces


def _safe(part: str) -> str:
    return escape_json_controls(part)


def _painted(part: str, *, is_key: bool) -> str:
    if part in set("[]{}:,"):
        return part
    if part.startswith('"'):
        shade = _KEY if is_key else _STRING
    else:
        shade = _WORD if part in {"true", "false", "null"} else _NUMBER
    return f"{shade}{_safe(part)}{_RESET}"


def selector(path: str) -> Selector:
    """Return a function that selects a value from JSON text, or returns ``MISSING``.

    Args:
        path: Names and numbers, such as ``choices[0].delta.content``.

    Raises:
        ValueError: ``path`` is not a path.
    """
    steps: list[str | int] = []
    rest = path[1:] if path.startswith(("$", ".")) and path != "." else path
    while rest:
        found = _STEP.match(rest)
        if found is None:
            raise ValueError("must be a path such as choices[0].delta.content")
        name, index, quoted = found.groups()
        if quoted is not None:
            steps.append(json.loads(f'"{quoted}"'))
        else:
            steps.append(int(index) if index is not None else name)
        rest = rest[found.end() :]
    if not steps:
        raise ValueError("must be a path such as choices[0].delta.content")

    def select(text: str) -> object:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return MISSING
        for step in steps:
            value = _step_into(value, step)
        return MISSING if value is None else value

    return select


def _step_into(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return value.get(str(step), MISSING)
    if isinstance(value, list):
        index = int(step) if str(step).isdecimal() else -1
        return value[index] if 0 <= index < len(value) else MISSING
    return MISSING


def as_text(value: object) -> str:
    """Return a selected value as text: a string unchanged, and anything else as JSON."""
    if isinstance(value, str):
        return value
    return in_one_line(value)
