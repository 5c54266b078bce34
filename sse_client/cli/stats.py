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
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TextIO

from sse_client.cli.output import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sse_client import SSESession

#: Over how long the rate of a live line is taken, in seconds.
_WINDOW = 5.0

#: What is shown of a last event ID, in characters: some are whole documents.
_MAX_ID = 60

#: How often a live line is drawn, in seconds.
_PERIOD = 0.25

#: How long the end waits for a standard error that takes nothing, in seconds.
_PATIENCE = 1.0

#: Where the cursor goes to the first column, and the line is erased (ECMA-48, EL).
_ERASE = "\r\x1b[K"

_SEPARATOR = "  "
_STYLES = {"state": "green", "lost": "yellow", "events": "bold", "id": "cyan"}


class Part(NamedTuple):
    """A piece of the line, and what it is about."""

    about: str
    text: str


class Figures:
    """What is known of a session, for whoever draws it.

    Threads: the reader's calls ``opened`` and ``lost``, another one ``parts``; each of them only
    sets or reads references.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._session: SSESession | None = None
        self._state = Part("state", "connecting")
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])

    def opened(self, session: SSESession) -> None:
        """Take note that a connection is open."""
        self._session = session
        self._state = Part("state", "open")

    def lost(self, session: SSESession, error: Exception | None, delay: float | None) -> None:
        """Take note that a connection was lost, and when the next one comes."""
        self._session = session
        why = "it ended" if error is None else one_line(str(error))
        what = "giving up" if delay is None else f"reconnecting in {delay:.3g} s"
        self._state = Part("lost", f"{what} ({why})")

    def parts(self, *, is_final: bool = False) -> list[Part]:
        """Return the pieces of the line.

        Args:
            is_final: Whether this is the last one: its rate is the one from the beginning on.
        """
        session = self._session
        if session is None:
            return [Part("state", "not connected") if is_final else self._state]
        figures = session.statistics
        rate = self._rate(figures.events, is_final=is_final)
        parts = [
            Part("events", _count(figures.events, "event")),
            Part("rate", f"{rate:.3g}/s"),
            Part("state", "done") if is_final else self._state,
        ]
        if figures.comments:
            parts.append(Part("comments", _count(figures.comments, "comment")))
        if session.last_event_id:
            shown = one_line(session.last_event_id)
            cut = f"{shown[: _MAX_ID - 1]}…" if len(shown) > _MAX_ID else shown
            parts.append(Part("id", f"last ID {cut}"))
        again = max(0, figures.connections - 1)
        return [*parts, Part("reconnections", _count(again, "reconnection"))]

    def _rate(self, events: int, *, is_final: bool) -> float:
        now = self._clock()
        since, before = (self._began, 0) if is_final else self._samples[0]
        if not is_final:
            self._samples.append((now, events))
            while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW:
                self._samples.popleft()
        return (events - before) / (now - since) if now > since else 0.0


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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
