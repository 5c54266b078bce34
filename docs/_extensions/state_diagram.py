"""The diagram of a session's states, drawn from the table of transitions in the code.

The directive ``state-diagram`` puts it into a page, as SVG within the page: it takes the colours of
the text, whatever the theme.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from sse_client import ReadyState
from sse_client.session.state import MOVES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_WIDTH, _HEIGHT = 730, 330
_BOX = (150, 48)

#: Where the middle of each state is.
_PLACES = {
    ReadyState.CONNECTING: (130, 70),
    ReadyState.OPEN: (590, 70),
    ReadyState.CLOSED: (360, 280),
}

#: The causes of each transition, in lines; the ends of its arrow; and the position of the lines.
_ARROWS = {
    (ReadyState.CONNECTING, ReadyState.OPEN): (
        ("200 with an event stream: on_open",),
        (205, 58, 515, 58),
        (360, 46),
    ),
    (ReadyState.OPEN, ReadyState.CONNECTING): (
        ("lost, silent for too long, or ended:", "on_disconnect, wait, Last-Event-ID"),
        (515, 84, 205, 84),
        (360, 104),
    ),
    (ReadyState.CONNECTING, ReadyState.CLOSED): (
        ("204, a permanent error,", "gave up, close()"),
        (150, 94, 310, 256),
        (120, 185),
    ),
    (ReadyState.OPEN, ReadyState.CLOSED): (
        ("end_of_stream, not reopened,", "a permanent error, close()"),
        (570, 94, 410, 256),
        (618, 185),
    ),
}

_LINE = 18

_HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"
  font-family="inherit" font-size="14" fill="currentColor" stroke="none">
<title>The states of a session, and the transitions between them</title>
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"
  orient="auto"><path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>"""


def draw() -> str:
    """Return the diagram as SVG.

    Raises:
        ValueError: The code allows other transitions than are drawn here.
    """
    moves = {(before, after) for before, allowed in MOVES.items() for after in allowed}
    if moves != set(_ARROWS):
        raise ValueError(f"the moves are {moves}, and not those that are drawn")
    parts = [_HEAD]
    for lines, arrow, place in _ARROWS.values():
        parts += [_arrow(*arrow), *_text(lines, *place)]
    for state, (x, y) in _PLACES.items():
        parts += [_box(x, y), *_text((state.name,), x, y + 5, weight="bold")]
    return "\n".join([*parts, "</svg>"])


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return (
        f'<path d="M{x1} {y1}L{x2} {y2}" stroke="currentColor" stroke-width="1.5"'
        ' marker-end="url(#head)"/>'
    )


def _box(x: int, y: int) -> str:
    width, height = _BOX
    return (
        f'<rect x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}"'
        ' rx="8" fill="none" stroke="currentColor" stroke-width="2"/>'
    )


def _text(lines: tuple[str, ...], x: int, y: int, weight: str = "normal") -> list[str]:
    return [
        f'<text x="{x}" y="{y + number * _LINE}" text-anchor="middle" font-weight="{weight}">'
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
    ]


class _StateDiagram(SphinxDirective):
    """Puts the diagram in the place of the directive."""

    def run(self) -> list[nodes.Node]:
        """Return it as HTML. Other formats get the transitions in words."""
        html = f'<div class="state-diagram">{draw()}</div>'
        return [nodes.raw("", html, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("state-diagram", _StateDiagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
