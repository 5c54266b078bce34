"""The picture of the first page: a stream that breaks and is resumed, as a sequence diagram.

The directive ``stream-picture`` puts it into a page, as SVG within the page: it takes the colours
of the text, whatever the theme. It is narrow enough for a phone.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_WIDTH, _HEIGHT = 360, 330
_TOP = 34

#: The lifelines of the diagram, and their positions.
_SERVER, _CLIENT, _PROGRAM = 52, 196, 318
_LINES = {_SERVER: "server", _CLIENT: "sse_client", _PROGRAM: "your code"}

#: The arrows: the vertical position, the two ends, and the text above.
_ARROWS = (
    (62, _CLIENT, _SERVER, "GET /events"),
    (92, _SERVER, _CLIENT, "id: 1"),
    (92, _CLIENT, _PROGRAM, "event 1"),
    (122, _SERVER, _CLIENT, "id: 2"),
    (122, _CLIENT, _PROGRAM, "event 2"),
    (232, _CLIENT, _SERVER, "Last-Event-ID: 2"),
    (262, _SERVER, _CLIENT, "id: 3"),
    (262, _CLIENT, _PROGRAM, "event 3"),
    (292, _SERVER, _CLIENT, "id: 4"),
    (292, _CLIENT, _PROGRAM, "event 4"),
)

#: The positions of the break of the connection, and of the text about the wait.
_BREAK, _WAIT = 156, 190

_HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"
  font-family="inherit" font-size="13" fill="currentColor" stroke="none">
<title>A stream breaks. sse_client waits, and asks for the events after event 2.</title>
<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
  orient="auto"><path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>"""


def draw() -> str:
    """Return the picture as SVG."""
    parts = [_HEAD]
    for x, name in _LINES.items():
        parts.append(_text(x, 18, name, weight="bold"))
        parts.append(
            f'<path d="M{x} {_TOP - 8}V{_HEIGHT - 8}" stroke="currentColor" stroke-dasharray="2 4"'
            ' opacity="0.5"/>'
        )
    for y, begin, end, text in _ARROWS:
        step = 4 if begin < end else -4
        parts.append(
            f'<path d="M{begin + step} {y}H{end - step}" stroke="currentColor" stroke-width="1.5"'
            ' marker-end="url(#arrow)"/>'
        )
        parts.append(_text((begin + end) // 2, y - 6, text))
    middle = (_SERVER + _CLIENT) // 2
    parts.append(
        f'<path class="break" d="M{middle - 8} {_BREAK - 8}l16 16m0 -16l-16 16" stroke-width="3"/>'
    )
    beside = (_CLIENT + _PROGRAM) // 2
    parts.append(_text(beside, _BREAK + 5, "connection lost"))
    parts.append(_text(beside, _WAIT + 5, "waits, reconnects"))
    return "\n".join([*parts, "</svg>"])


def _text(x: int, y: int, text: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="middle" font-weight="{weight}">{escape(text)}</text>'
    )


class _StreamPicture(SphinxDirective):
    """Puts the picture in the place of the directive."""

    def run(self) -> list[nodes.Node]:
        """Return it as HTML. The page says the same in words."""
        html = f'<div class="stream-picture">{draw()}</div>'
        return [nodes.raw("", html, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("stream-picture", _StreamPicture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
