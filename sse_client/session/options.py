"""The options of a stream, as the reader uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sse_client.clock import SYSTEM_CLOCK
from sse_client.event_stream.buffer import BufferPolicy
from sse_client.http.response_check import ResponseRules
from sse_client.session.time_limits import TimeLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.clock import Clock
    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.event_stream.parser import EventStreamParser
    from sse_client.session.reconnection import ReconnectionPolicy


#: Gone: "access to the target resource is no longer available" (RFC 9110, section 15.5.11).
DEFAULT_CURSOR_EXPIRED_STATUSES = frozenset({410})


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a session follows its stream. ``SSEConfig`` documents and checks each option."""

    policy: ReconnectionPolicy
    new_parser: Callable[[str, Callable[[str], None]], EventStreamParser]
    last_event_id: str = ""
    limits: TimeLimits = field(default_factory=TimeLimits)
    end_of_stream: Callable[[ServerSentEvent], object] | None = None
    end_mark: str = ""
    error_event: Callable[[ServerSentEvent], object] | None = None
    response_rules: ResponseRules = field(default_factory=ResponseRules)
    cursor_expired_statuses: frozenset[int] = DEFAULT_CURSOR_EXPIRED_STATUSES
    buffer_policy: BufferPolicy = field(default_factory=BufferPolicy.off)
    clock: Clock = SYSTEM_CLOCK
    #: Whether reading the stream calls no user's function, so that it may share a thread.
    may_share: bool = False
