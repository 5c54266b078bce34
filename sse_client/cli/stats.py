"""``--stats``: shows the figures of a running session on standard error.

On a terminal this is one live line, drawn with rich if that is installed. A file or a pipe gets one
line for each connection that is opened or lost, and one at the end, so that the log of a quiet
stream stays short.

A separate thread draws, so that the stream never waits for standard error. The reader thread only
notifies it. ``_drawing`` is held while the terminal is written to, also by the main thread while it
prints an event.
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

#: The period over which the rate of a live line is measured, in seconds.
_WINDOW = 5.0

#: From this rate on, it is shown without a fraction.
_WHOLE = 100

#: The maximum length of a displayed last event ID, in characters. Some IDs are whole documents.
_MAX_ID = 60

#: Below this width, in columns, the pieces of a live line are shortened.
_NARROW = 80

#: How often a live line is drawn, in seconds.
_PERIOD = 0.25

#: How long the end waits for a blocked standard error, in seconds.
_PATIENCE = 1.0

#: Moves the cursor to the first column, and erases the line (ECMA-48, EL).
_ERASE = "\r\x1b[K"

_SEPARATOR = "  "
_STYLES = {"state": "green", "lost": "yellow", "events": "bold", "id": "cyan"}


class Part(NamedTuple):
    """A piece of the line: its subject, its text, and its text on a narrow terminal."""

    about: str
    text: str
    short: str = ""


def texts_of(parts: Sequence[Part], columns: int) -> list[tuple[str, str]]:
    """Return the subject and the text of each piece for a terminal of this width."""
    is_narrow = columns < _NARROW
    return [(part.about, part.short if is_narrow and part.short else part.text) for part in parts]


class Figures:
    """The figures of a session, for display.

    The reader thread calls ``opened`` and ``lost``. Another thread calls ``parts``. They need no
    lock, because they only set and read references.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._session: SSESession | None = None
        self._state = "connecting"
        self._reason = ""
        # The time of the next attempt.
        self._due: float | None = None
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])

    def opened(self, session: SSESession) -> None:
        """Record that a connection is open."""
        self._session = session
        self._due = None
        self._state, self._reason = "open", ""

    def lost(self, session: SSESession, error: Exception | None, delay: float | None) -> None:
        """Record that a connection was lost, and the wait before the next attempt."""
        self._session = session
        self._due = None if delay is None else self._clock() + delay
        self._state = "giving up"
        self._reason = "it ended" if error is None else one_line(str(error))

    def parts(self, *, is_final: bool = False) -> list[Part]:
        """Return the pieces of the line.

        Args:
            is_final: Whether this is the last line, which shows the rate of the whole run.
        """
        session = self._session
        if session is None:
            return [Part("state", "not connected" if is_final else self._state)]
        figures = session.statistics
        rate = self._rate(figures.events, is_final=is_final)
        parts = [
            Part("events", _count(figures.events, "event")),
            Part("rate", f"{rate:.0f}/s" if rate >= _WHOLE else f"{rate:.3g}/s"),
            Part("state", "done") if is_final else self._state_part(),
        ]
        # Long pieces come last, because the line is cut at the terminal's width.
        again = max(0, figures.connections - 1)
        reconnections = _count(again, "reconnection")
        parts.append(Part("reconnections", reconnections, f"{again:,} reconn."))
        if figures.comments:
            parts.append(Part("comments", _count(figures.comments, "comment")))
        if session.last_event_id:
            shown = one_line(session.last_event_id)
            cut = f"{shown[: _MAX_ID - 1]}…" if len(shown) > _MAX_ID else shown
            parts.append(Part("id", f"last ID {cut}"))
        if self._reason and not is_final:
            parts.append(Part("lost", f"({self._reason})"))
        return parts

    def _state_part(self) -> Part:
        due = self._due
        if due is None:
            return Part("lost" if self._reason else "state", self._state)
        left = max(0.0, due - self._clock())
        return Part("lost", f"reconnecting in {left:.1f} s", f"retry {left:.1f} s")

    def _rate(self, events: int, *, is_final: bool) -> float:
        now = self._clock()
        since, before = (self._began, 0) if is_final else self._samples[0]
        if not is_final:
            self._samples.append((now, events))
            while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW:
                self._samples.popleft()
        return (events - before) / (now - since) if now > since else 0.0


class Painter(Protocol):
    """Writes the pieces of a line to a terminal, cut to its width, without a line end."""

    def __call__(self, parts: Sequence[Part], /) -> None:
        """Write the pieces."""


class Display:
    """Shows the figures of one session. It is a context manager.

    Args:
        stream: Standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._figures = Figures()
        self._is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._paint = (_rich_painter(stream) or _plain_painter(stream)) if self._is_live else None
        # The pieces of log lines at the time of their events. None is the end.
        self._bell: queue.SimpleQueue[Sequence[Part] | None] = queue.SimpleQueue()
        self._drawing = threading.Lock()
        self._thread = threading.Thread(target=self._draw_all, name="sse-client:stats", daemon=True)

    def hooks(self) -> dict[str, Any]:
        """Return the hooks that keep the figures up to date."""
        return {"on_open": self._opened, "on_disconnect": self._lost}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let the caller write complete lines to the terminal."""
        if not (self._is_live and sys.stdout.isatty()):
            yield
            return
        with self._drawing:
            self._write(_ERASE)
            yield

    def __enter__(self) -> Display:
        """Start drawing."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Draw the final figures."""
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
        with contextlib.suppress(OSError):  # the terminal may have gone
            self._stream.write(text)
            self._stream.flush()


class NoDisplay:
    """Replaces the display if none is requested."""

    def hooks(self) -> dict[str, Any]:
        """Return no hooks."""
        return {}

    def paused(self) -> contextlib.nullcontext[None]:
        """Return a context that does nothing."""
        return contextlib.nullcontext()


@contextlib.contextmanager
def displayed(*, wanted: bool) -> Iterator[Display | NoDisplay]:
    """Show the figures of a session until the end of the block, if requested."""
    if not wanted:
        yield NoDisplay()
        return
    with Display(sys.stderr) as display:
        yield display


def _plain_painter(stream: TextIO) -> Painter:
    def paint(parts: Sequence[Part], /) -> None:
        width = os.get_terminal_size(stream.fileno()).columns or 80
        line = _SEPARATOR.join(text for _, text in texts_of(parts, width))
        stream.write(line[: width - 1])
        stream.flush()

    return paint


def _rich_painter(stream: TextIO) -> Painter | None:
    """Return a painter with colours, or None if rich is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415  # an extra, and slow to import
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return None
    console = Console(file=stream, highlight=False)

    def paint(parts: Sequence[Part], /) -> None:
        texts = texts_of(parts, console.width)
        pieces = [(text, _STYLES.get(about, "")) for about, text in texts]
        text = Text(_SEPARATOR, no_wrap=True, overflow="ellipsis", end="").join(
            Text.assemble(piece) for piece in pieces
        )
        console.print(text, end="", width=max(1, console.width - 1), no_wrap=True)

    return paint


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
