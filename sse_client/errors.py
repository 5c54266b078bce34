"""The errors, all below one root.

SSEClientError                        every error of this package
├── PluginNotInstalledError           client.plugin(P), client.sse(...) without the plugin
├── DuplicatePluginError              client.install(P) a second time
├── ConnectionFailedError             no response: DNS, connect, TLS or proxy failed, or cut off
├── UnexpectedStatusError             a response, but neither 200 nor 204
│   └── CursorExpiredError            the server no longer knows the last event ID
├── UnexpectedContentTypeError        a response, but not an event stream
├── StreamInterruptedError            the stream broke off instead of ending
│   └── IdleTimeoutError              nothing arrived for longer than allowed
├── TotalTimeoutError                 the stream lasted longer than total_timeout
├── ErrorEventError                   the server reported an error inside the stream
├── EventTooLargeError                an event beyond max_event_size
├── ChannelOverflowError              the channel was full, and overflow="error"
├── ReconnectionExhaustedError        gave up reconnecting; the last cause is chained
├── DeserializationError              the data of an event is not of the requested type
├── SessionFailedError                one of several merged sessions failed (in session.merging)
├── CursorError                       the position of a stream cannot be read, saved or locked
└── SessionClosedError                the session was closed while sse() was still opening it

``ChannelClosed`` (in ``channel.incoming``) is also below the root: a consumer gets it once no more
events will arrive. A wrong argument is a plain TypeError or ValueError. No message contains the
query or the user info of a URL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests

    from sse_client.event_stream.events import ServerSentEvent


#: Characters that control a terminal or a log: C0, DEL, C1, Unicode line ends, and those that
#: change the direction of text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _escaped(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode("ascii")


def escape_controls(text: str) -> str:
    """Return a text, perhaps from a server, with its control characters escaped."""
    return _CONTROLS.sub(_escaped, text)


class SSEClientError(Exception):
    """The root of all errors of this package.

    Attributes:
        response: The ``requests.Response`` that the error is about, or None. The ``content`` of a
            refused response is its ``body``.
        buffer: The bytes read before the error, as far as the session's ``buffer_policy`` kept
            them. Empty without such a policy.
    """

    def __init__(self, message: str, *, response: requests.Response | None = None) -> None:
        # A message may quote a server, and may be printed to a terminal or a log.
        super().__init__(escape_controls(message))
        self.response = response
        self.buffer = b""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the response, because a stream cannot move to another process."""
        state = {**self.__dict__, "response": None}
        return _rebuild, (type(self), self.args), state


def _rebuild(kind: type[SSEClientError], args: tuple[Any, ...]) -> SSEClientError:
    error = kind.__new__(kind)
    error.args = args
    return error


class PluginNotInstalledError(SSEClientError):
    """The client lacks a required plugin: call ``client.install(...)`` first."""


class DuplicatePluginError(SSEClientError):
    """A plugin was installed a second time into the same client."""


class ConnectionFailedError(SSEClientError):
    """No response arrived: name resolution, connecting, TLS or a proxy failed, or it took too long.

    Attributes:
        permanent: Whether another attempt is pointless, as with a certificate that is not trusted.
        was_sent: Whether the request may have reached the server. If False, even a POST can be
            repeated safely.
    """

    def __init__(self, message: str, *, permanent: bool = False, was_sent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.was_sent = was_sent


class UnexpectedStatusError(SSEClientError):
    """The server responded with a status other than 200 and 204.

    Attributes:
        status_code: The HTTP status.
        body: The beginning of the body, at most ``max_error_body`` bytes (default 64 KiB).
        body_is_truncated: Whether the body is longer than that, or did not arrive in time.
        retry_after: The wait that ``Retry-After`` asks for, in seconds, or None.
    """

    response: requests.Response

    def __init__(
        self,
        message: str,
        *,
        response: requests.Response,
        body: bytes = b"",
        body_is_truncated: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, response=response)
        self.status_code = response.status_code
        self.body = body
        self.body_is_truncated = body_is_truncated
        self.retry_after = retry_after


class CursorExpiredError(UnexpectedStatusError):
    """The server cannot continue after the last event ID. Most servers respond with a 410.

    Attributes:
        last_event_id: The ID that was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        response: requests.Response,
        body: bytes = b"",
        body_is_truncated: bool = False,
        retry_after: float | None = None,
        last_event_id: str,
    ) -> None:
        super().__init__(
            message,
            response=response,
            body=body,
            body_is_truncated=body_is_truncated,
            retry_after=retry_after,
        )
        self.last_event_id = last_event_id


class UnexpectedContentTypeError(SSEClientError):
    """The server responded with 200, but not with an event stream that can be read.

    Either its content type is not one of ``content_types``, or its content encoding cannot be
    decoded.

    Attributes:
        content_type: The Content-Type header, ``""`` if there was none.
        body: The beginning of the body, at most ``max_error_body`` bytes (default 64 KiB). It is
            still encoded if its content encoding cannot be decoded.
        body_is_truncated: Whether the body is longer than that, or did not arrive in time.
    """

    response: requests.Response

    def __init__(
        self,
        message: str,
        *,
        response: requests.Response,
        content_type: str,
        body: bytes = b"",
        body_is_truncated: bool = False,
    ) -> None:
        super().__init__(message, response=response)
        self.content_type = content_type
        self.body = body
        self.body_is_truncated = body_is_truncated


class StreamInterruptedError(SSEClientError):
    """The stream broke off instead of ending."""


class IdleTimeoutError(StreamInterruptedError):
    """Nothing arrived for longer than allowed, so the connection was considered lost.

    Attributes:
        timeout: The exceeded limit, in seconds.
        waited_for: ``"bytes"`` (the read part of ``timeout``) or ``"event"`` (``event_timeout``).
    """

    def __init__(
        self,
        message: str,
        *,
        timeout: float,
        waited_for: str,
        response: requests.Response | None = None,
    ) -> None:
        super().__init__(message, response=response)
        self.timeout = timeout
        self.waited_for = waited_for


class TotalTimeoutError(SSEClientError):
    """The stream lasted longer than ``total_timeout``, including connecting and waiting.

    Attributes:
        timeout: The limit, in seconds.
    """

    def __init__(
        self, message: str, *, timeout: float, response: requests.Response | None = None
    ) -> None:
        super().__init__(message, response=response)
        self.timeout = timeout


class ErrorEventError(SSEClientError):
    """The server reported an error inside the stream, with an event that ``error_event`` selects.

    Attributes:
        event: That event. Its data is the server's explanation.
    """

    def __init__(
        self, message: str, *, event: ServerSentEvent, response: requests.Response | None = None
    ) -> None:
        super().__init__(message, response=response)
        self.event = event


class EventTooLargeError(SSEClientError):
    """An event of the stream is larger than ``max_event_size``.

    Attributes:
        limit: The limit, in bytes.
        events: The events that the same chunk completed before the large one.
    """

    def __init__(self, message: str, *, limit: int, events: Sequence[ServerSentEvent] = ()) -> None:
        super().__init__(message)
        self.limit = limit
        self.events = tuple(events)


class ChannelOverflowError(SSEClientError):
    """The channel was full and ``overflow="error"``: the consumer did not keep up.

    Attributes:
        capacity: The maximum number of events in the channel.
        capacity_bytes: The maximum number of bytes in the channel.
    """

    def __init__(self, message: str, *, capacity: int, capacity_bytes: int) -> None:
        super().__init__(message)
        self.capacity = capacity
        self.capacity_bytes = capacity_bytes


class ReconnectionExhaustedError(SSEClientError):
    """The connection was lost, and the session gave up reconnecting.

    Attributes:
        attempts: The number of consecutive failed attempts.
        last_cause: The error of the last attempt (also chained), or None if the stream just ended.
    """

    def __init__(
        self, message: str, *, attempts: int, last_cause: SSEClientError | None = None
    ) -> None:
        super().__init__(message, response=last_cause.response if last_cause else None)
        self.attempts = attempts
        self.last_cause = last_cause


class SessionClosedError(SSEClientError):
    """The session or its client is closed.

    It is raised by ``request()`` and ``sse()`` of a closed client, by an ``sse()`` call during
    which the client is closed, and by ``reconnect()`` of a session that has ended. In a forked
    child, a session that the parent opened also raises it.
    """


class DeserializationError(SSEClientError):
    """The data of an event is not of the requested type. The cause is chained.

    The stream continues: the next ``next()`` or ``get()`` returns the next event.

    Attributes:
        event: The event as received, or None if ``session.deserialize`` was called with data.
    """

    def __init__(self, message: str, *, event: ServerSentEvent | None = None) -> None:
        super().__init__(message)
        self.event = event


class CursorError(SSEClientError):
    """The position of a stream cannot be read or saved, or another cursor is using it.

    Attributes:
        path: The file that holds the position, or None if it is not in a file.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path
