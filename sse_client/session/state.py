"""What a stream is followed with, and what is told of it: states, options, figures."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sse_client.clock import SYSTEM_CLOCK
from sse_client.event_stream.buffer import BufferPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Clock
    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.event_stream.parser import EventStreamParser
    from sse_client.session.reconnection import ReconnectionPolicy


#: Gone: "access to the target resource is no longer available" (RFC 9110, section 15.5.11).
DEFAULT_CURSOR_EXPIRED_STATUSES = frozenset({410})


class ReadyState(enum.Enum):
    """The states of a session: the spec's readyState (WHATWG HTML, section 9.2.2)."""

    CONNECTING = 0
    OPEN = 1
    CLOSED = 2


#: The legal moves. All are made by ``StreamReader._move``.
MOVES = {
    ReadyState.CONNECTING: {ReadyState.OPEN, ReadyState.CLOSED},
    ReadyState.OPEN: {ReadyState.CONNECTING, ReadyState.CLOSED},
    ReadyState.CLOSED: set[ReadyState](),
}


class Listener:
    """Who hears what happens to a stream, on the reader thread. This one does nothing."""

    #: Whether ``commented`` is worth a call, and a look at the clock around it.
    hears_comments = False

    def opened(self) -> None:
        """Hear that a connection was opened."""

    def disconnected(self, error: Exception | None, delay: float | None) -> None:
        """Hear that a connection was lost or an attempt failed, and when the next one comes."""

    def commented(self, text: str) -> None:
        """Hear a comment line."""

    def cursor_expired(self) -> str | None:
        """Hear that the last event ID was refused; return after which to go on, None for none."""
        return None

    def closed(self) -> None:
        """Hear that the stream has ended."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a session follows its stream; ``SSEConfig`` documents and checks each."""

    policy: ReconnectionPolicy
    new_parser: Callable[[str, Callable[[str], None]], EventStreamParser]
    last_event_id: str = ""
    event_timeout: float | None = None
    end_of_stream: Callable[[ServerSentEvent], object] | None = None
    cursor_expired_statuses: frozenset[int] = DEFAULT_CURSOR_EXPIRED_STATUSES
    buffer_policy: BufferPolicy = field(default_factory=BufferPolicy.off)
    clock: Clock = SYSTEM_CLOCK


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
