"""``--stats``: the figures of a session on standard error, while it goes on.

On a terminal that is one live line, drawn with rich if that is installed. Into a file or a pipe
goes a line whenever a connection was opened or lost, and one at the end: a log of a quiet stream
stays short.

Threads: a thread of its own draws, so that standard error never keeps the stream waiting; the
reader's only rings. ``_drawing`` is held while something is written to the terminal: the main
thread holds it while it prints an event.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from sse_client.cli.figures import Figures, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sse_client import SSESession

#: How often a live line is drawn, in seconds.
_PERIOD = 0.25

#: How long the end waits for a standard error that takes nothing, in seconds.
_PATIENCE = 1.0

#: Where the cursor goes to the first column, and the line is erased (ECMA-48, EL).
_ERASE = "\r\x1b[K"

_SEPARATOR = "  "
_STYLES = {"state": "green", "lost": "yellow", "events": "bold", "id": "cyan"}


class Painter(Protocol):
    """What writes the pieces of a line to a terminal, cut to its width, without a line end."""

    def __call__(self, parts: Sequence[Part], /) -> None:
        """Write them."""


class Display:
    """Shows the figures of one session. A context manager.

    Args:
        stream: Standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._figures = Figures()
        self._is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._paint = (_rich_painter(stream) or _plain_painter(stream)) if self._is_live else None
        # None is the end; else what a log says, as it was when the bell was rung.
        self._bell: queue.SimpleQueue[Sequence[Part] | None] = queue.SimpleQueue()
        self._drawing = threading.Lock()
        self._thread = threading.Thread(target=self._draw_all, name="sse-client:stats", daemon=True)

    def hooks(self) -> dict[str, Any]:
        """Return the hooks that keep the figures up to date."""
        return {"on_open": self._opened, "on_disconnect": self._lost}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody else, who writes whole lines."""
        if not (self._is_live and sys.stdout.isatty()):
            yield
            return
        with self._drawing:
            self._write(_ERASE)
            yield

    def __enter__(self) -> Display:
        """Begin to draw."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Draw the figures of the end."""
        self._bell.put(None)
        self._thread.join(_PATIENCE)

    def _opened(self, session: SSESession) -> None:
        self._figures.opened(session)
        self._bell.put(self._figures.parts())

    def _lost(self, session: SSESession, error: Exception | None, delay: float | None) -> None:
        self._figures.lost(session, error, delay)
        self._bell.put(self._figures.parts())

    def _draw_all(self) -> None:
        while True:
            parts: Sequence[Part] | None = ()
            with contextlib.suppress(queue.Empty):
                parts = self._bell.get(timeout=_PERIOD if self._is_live else None)
            if parts is None:
                self._draw_last()
                return
            if self._paint is None:
                self._log(parts)
            else:
                with self._drawing, contextlib.suppress(OSError):
                    self._write(_ERASE)
                    self._paint(self._figures.parts())

    def _draw_last(self) -> None:
        with self._drawing:
            if self._is_live:
                self._write(_ERASE)
            self._log(self._figures.parts(is_final=True))

    def _log(self, parts: Sequence[Part]) -> None:
        self._write(f"sse-client: {_SEPARATOR.join(part.text for part in parts)}\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that has gone
            self._stream.write(text)
            self._stream.flush()


class NoDisplay:
    """Stands for a display that nobody asked for."""

    def hooks(self) -> dict[str, Any]:
        """Return none."""
        return {}

    def paused(self) -> contextlib.nullcontext[None]:
        """Return what does nothing."""
        return contextlib.nullcontext()


@contextlib.contextmanager
def displayed(*, wanted: bool) -> Iterator[Display | NoDisplay]:
    """Show the figures of a session, if that is wanted, until the end of the block."""
    if not wanted:
        yield NoDisplay()
        return
    with Display(sys.stderr) as display:
        yield display


def _plain_painter(stream: TextIO) -> Painter:
    def paint(parts: Sequence[Part], /) -> None:
        width = os.get_terminal_size(stream.fileno()).columns or 80
        stream.write(_SEPARATOR.join(part.text for part in parts)[: width - 1])
        stream.flush()

    return paint


def _rich_painter(stream: TextIO) -> Painter | None:
    """Return what draws in colours, None where rich is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415  # an extra, and slow to import
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return None
    console = Console(file=stream, highlight=False)

    def paint(parts: Sequence[Part], /) -> None:
        pieces = [(part.text, _STYLES.get(part.about, "")) for part in parts]
        text = Text(_SEPARATOR, no_wrap=True, overflow="ellipsis", end="").join(
            Text.assemble(piece) for piece in pieces
        )
        console.print(text, end="", width=max(1, console.width - 1), no_wrap=True)

    return paint
