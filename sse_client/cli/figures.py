"""The figures of a session in words: what ``--stats`` shows. No I/O."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sse_client.cli.output import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client import SSESession

#: Over how long the rate of a live line is taken, in seconds.
_WINDOW = 5.0

#: What is shown of a last event ID, in characters: some are whole documents.
_MAX_ID = 60


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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
