"""The templates of ``--format``: text with ``{data}`` and other fields of an event."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

#: The fields that a template may contain.
FIELDS = ("data", "event", "id", "retry", "comments", "time", "name")

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|\\([ntr0\\e])")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", "e": "\x1b"}

#: At the end of a template it suppresses the line feed, as in ``echo``.
_NO_LINE_FEED = "\\c"

Template = Callable[[Mapping[str, str]], str]


def template(text: str) -> Template:
    r"""Return a function that fills in the fields of an event.

    ``{{`` and ``}}`` are braces. ``\n``, ``\t``, ``\r``, ``\0``, ``\e`` and ``\\`` have the same
    meaning as in a shell. A line feed is added, unless the text ends with ``\c``.

    Raises:
        ValueError: A field is unknown, or a brace is unmatched.
    """
    ends_line = not text.endswith(_NO_LINE_FEED)
    text = text.removesuffix(_NO_LINE_FEED)
    pieces: list[tuple[str, str | None]] = []
    begin = 0
    for found in _PIECE.finditer(text):
        pieces.append((text[begin : found.start()], None))
        begin = found.end()
        name, escape = found.groups()
        if escape is not None:
            pieces.append((_ESCAPES[escape], None))
        elif name is not None:
            if name not in FIELDS:
                raise ValueError(f"may have these fields: {', '.join(FIELDS)}")
            pieces.append(("", name))
        elif len(found[0]) > 1:
            pieces.append((found[0][0], None))
        else:
            raise ValueError("has an unmatched brace; {{ and }} are braces")
    pieces.append((text[begin:] + ("\n" if ends_line else ""), None))

    def fill(fields: Mapping[str, str]) -> str:
        return "".join(plain if name is None else fields[name] for plain, name in pieces)

    return fill
