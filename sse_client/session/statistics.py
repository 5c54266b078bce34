"""The figures of a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """The current figures of a session.

    Attributes:
        events: The number of events received, including dropped ones.
        bytes: The number of bytes of the stream, after content decoding.
        comments: The number of comment lines.
        connections: The number of connections opened.
        attempts: The number of attempts to connect, including failed ones.
        dropped: The number of events that the channel dropped because it was full.
        reconnections: The number of connections opened after the first one.
        last_event_at: When the last event arrived, in seconds since 1970 (UTC), like
            ``time.time()``. None before the first event.
        delay: The current wait before the next attempt, in seconds. None unless the session waits.
    """

    events: int = 0
    bytes: int = 0
    comments: int = 0
    connections: int = 0
    attempts: int = 0
    dropped: int = 0
    reconnections: int = 0
    last_event_at: float | None = None
    delay: float | None = None
