"""The figures of a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """The figures of a session up to now.

    Attributes:
        events: Events that were received, dropped ones included.
        bytes: Bytes of the stream, after content decoding.
        comments: Comment lines.
        connections: Connections that were opened.
        attempts: Attempts to connect, failed ones included.
        dropped: Events that the channel dropped because it was full.
    """

    events: int = 0
    bytes: int = 0
    comments: int = 0
    connections: int = 0
    attempts: int = 0
    dropped: int = 0
