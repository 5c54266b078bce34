"""Server-Sent Events for Python: blocking, thread-based, on requests and urllib3.

Example:
    >>> client = HttpClient().install(SSE, reconnection_time=2.0)
    >>> with client.sse("http://127.0.0.1:8080/events") as session:  # doctest: +SKIP
    ...     for event in session.incoming:
    ...         print(event.id, event.event, event.data)
"""

from __future__ import annotations

from sse_client.channel.incoming import ChannelClosed, IncomingChannel
from sse_client.client import HttpClient
from sse_client.cursors.file import CursorStore, FileCursor
from sse_client.cursors.sqlite import SQLiteCursor
from sse_client.errors import (
    ChannelOverflowError,
    ConnectionFailedError,
    CursorError,
    CursorExpiredError,
    DeserializationError,
    DuplicatePluginError,
    ErrorEventError,
    EventTooLargeError,
    IdleTimeoutError,
    PluginNotInstalledError,
    ReconnectionExhaustedError,
    SessionClosedError,
    SSEClientError,
    StreamInterruptedError,
    TotalTimeoutError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.event_stream.buffer import BufferPolicy
from sse_client.event_stream.events import ServerSentEvent, TypedServerSentEvent
from sse_client.event_stream.parser import (
    EventStreamParser,
    parse_event_batches,
    parse_event_stream,
)
from sse_client.plugins.bearer_auth import BearerAuth
from sse_client.plugins.default_request import DefaultRequest
from sse_client.plugins.registry import Plugin
from sse_client.plugins.sse import SSE
from sse_client.plugins.sse_config import SSEConfig
from sse_client.plugins.telemetry import Telemetry
from sse_client.session.merging import MergedSessions, SessionFailedError, merge
from sse_client.session.observers import StreamInfo, StreamObserver
from sse_client.session.sse_session import SSESession, iter_events
from sse_client.session.state import ReadyState
from sse_client.session.statistics import Statistics
from sse_client.version import __version__

__all__ = [
    "SSE",
    "BearerAuth",
    "BufferPolicy",
    "ChannelClosed",
    "ChannelOverflowError",
    "ConnectionFailedError",
    "CursorError",
    "CursorExpiredError",
    "CursorStore",
    "DefaultRequest",
    "DeserializationError",
    "DuplicatePluginError",
    "ErrorEventError",
    "EventStreamParser",
    "EventTooLargeError",
    "FileCursor",
    "HttpClient",
    "IdleTimeoutError",
    "IncomingChannel",
    "MergedSessions",
    "Plugin",
    "PluginNotInstalledError",
    "ReadyState",
    "ReconnectionExhaustedError",
    "SQLiteCursor",
    "SSEClientError",
    "SSEConfig",
    "SSESession",
    "ServerSentEvent",
    "SessionClosedError",
    "SessionFailedError",
    "Statistics",
    "StreamInfo",
    "StreamInterruptedError",
    "StreamObserver",
    "Telemetry",
    "TotalTimeoutError",
    "TypedServerSentEvent",
    "UnexpectedContentTypeError",
    "UnexpectedStatusError",
    "__version__",
    "iter_events",
    "merge",
    "parse_event_batches",
    "parse_event_stream",
]
