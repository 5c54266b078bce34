"""The HTML tables that show values and sessions in a notebook. All text is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sse_client.errors import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The maximum length of one cell, in characters. A notebook stores what it shows, so an event of
#: 16 MiB would stay in the file.
MAX_SHOWN = 2000

#: The style of a cell: it keeps line breaks, and breaks long words.
_STYLE = "text-align: left; white-space: pre-wrap; overflow-wrap: anywhere"


def html_table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return an HTML table with a caption and a name and a value in each row.

    Rows whose value is None are left out.
    """
    cells = [
        f'<tr><th style="text-align: left">{_shown(name)}</th>'
        f'<td style="{_STYLE}">{_shown(value)}</td></tr>'
        for name, value in rows
        if value is not None
    ]
    return f"<table><caption>{_shown(title)}</caption>{''.join(cells)}</table>"


def _shown(value: object) -> str:
    from html import escape  # noqa: PLC0415  # its table of entities is large, and few need it

    text = value if isinstance(value, str) else repr(value)
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}\N{HORIZONTAL ELLIPSIS} ({len(text)} characters)"
    # Line feeds and tabs are kept, because a cell shows them.
    parts = re.split("([\n\t])", text)
    return escape("".join(part if part in "\n\t" else escape_controls(part) for part in parts))
