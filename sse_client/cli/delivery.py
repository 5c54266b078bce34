"""Shows each event, or runs a command for it, up to the maximum number of events.

Each stream has its own thread. ``_turn`` serialises them, so that the output of events does not
mix. It is held while an event is written or its command runs, so a slow reader delays all streams.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sse_client.cli.execution import run_command
from sse_client.cli.formats import Presenter
from sse_client.cli.json_text import MISSING
from sse_client.cli.output import show
from sse_client.event_stream.events import is_extra

if TYPE_CHECKING:
    import argparse
    import contextlib
    from collections.abc import Callable

    from sse_client import ServerSentEvent
    from sse_client.cli.formats import Look


class Delivery:
    """Delivers the events of all streams.

    Args:
        arguments: The parsed options.
        look: How events are shown.
        paused: Returns a context in which the terminal may be written to.
        close: Closes all streams. Called after the last event.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        look: Look,
        paused: Callable[[], contextlib.AbstractContextManager[None]],
        close: Callable[[], object],
    ) -> None:
        self._wanted = frozenset(arguments.event)
        self._shows_comments = arguments.filter_comments == "off"
        self._limit: int | None = arguments.max_events
        self._command: list[str] | None = arguments.exec
        self._look = look
        self._paused = paused
        self._close = close
        self._turn = threading.Lock()
        self._count = 0

    def stream(self, name: str) -> Callable[[ServerSentEvent], bool]:
        """Return a function that delivers a stream's event, and returns whether it was the last.

        Args:
            name: The name of the stream, if there are several.
        """
        presenter = Presenter(self._look, name)

        def deliver(event: ServerSentEvent) -> bool:
            with self._turn:
                if self._is_enough():
                    return True
                self._count += self._deliver(event, presenter, name)
                is_last = self._is_enough()
            if is_last and name:
                self._close()  # other streams may be waiting for an event
            return is_last

        return deliver

    def _is_enough(self) -> bool:
        return self._limit is not None and self._count >= self._limit

    def _deliver(self, event: ServerSentEvent, presenter: Presenter, name: str) -> int:
        """Show an event. Return the number of events that this counts as."""
        is_aside = is_extra(
            event, show_comment_events=self._shows_comments, show_retry_events=False
        )
        if not is_aside and self._wanted and event.event not in self._wanted:
            return 0
        if self._command is not None:
            value = MISSING if is_aside else presenter.select(event)
            if value is MISSING:
                return 0
            run_command(self._command, event, value, name)
            return 1
        text = presenter.text(event, is_aside=is_aside)
        if text is None:
            return 0
        with self._paused():
            show(text)
        return not is_aside
