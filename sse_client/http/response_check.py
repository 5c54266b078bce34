"""Whether a response is an event stream, and what is read and reported of one that is not."""

from __future__ import annotations

import contextlib
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError, ReadTimeoutError

from sse_client.clock import SYSTEM_CLOCK, Deadline
from sse_client.errors import (
    IdleTimeoutError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.http.body import READ_SIZE
from sse_client.http.causes import redact_url, stream_interrupted
from sse_client.http.niquests import reader_of
from sse_client.http.private_names import content_was_read, set_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from sse_client.clock import Clock

#: How much of a refused response's body is read: enough to see the reason.
MAX_ERROR_BODY = 64 * 1024

#: How long the body of a refused response may take, in seconds, before what came is enough.
_ERROR_BODY_TIMEOUT = 2.0


def check_response(
    response: requests.Response,
    read_within: Callable[[float], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Raise unless the response is 204, or 200 with an event stream (WHATWG HTML, 9.2.3)."""
    status = response.status_code
    content_type = response.headers.get("Content-Type", "")
    is_event_stream = content_type.partition(";")[0].strip().lower() == "text/event-stream"
    if status == 204 or (status == 200 and is_event_stream):
        return
    body = read_body(response, read_within, clock)
    response.close()
    target = redact_url(response.url)
    if status == 200:
        shown = content_type or "no content type"
        raise UnexpectedContentTypeError(
            f"{target} responded with {shown}, not with text/event-stream",
            response=response,
            content_type=content_type,
            body=body,
        )
    raise UnexpectedStatusError(
        f"{target} responded with {status} {response.reason or ''}".rstrip(),
        response=response,
        body=body,
        retry_after=_retry_after(response, clock),
    )


def read_body(
    response: requests.Response,
    read_within: Callable[[float], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> bytes:
    """Read a bounded part of the body, in a bounded time, and make it the response's content."""
    if content_was_read(response):
        return (response.content or b"")[:MAX_ERROR_BODY]
    body = b""
    is_whole = False
    deadline = Deadline.after(_ERROR_BODY_TIMEOUT, clock)
    with contextlib.suppress(HTTPError, OSError, ValueError):
        while len(body) < MAX_ERROR_BODY:
            left = deadline.seconds_left()
            if not left:
                break
            if read_within is not None:
                read_within(left)
            chunk = reader_of(response.raw, MAX_ERROR_BODY - len(body))()
            if not chunk:
                is_whole = True
                break
            body += chunk
    if not is_whole:
        response.raw.close()  # or its connection would go back to the pool in mid-body
    set_content(response, body)
    return body


def _retry_after(response: requests.Response, clock: Clock) -> float | None:
    """Read Retry-After, in seconds or as a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:18])
    when = _seconds_of(value)
    if when is None:
        return None
    # Against the server's own clock, if it tells: ours may be wrong.
    now = _seconds_of(response.headers.get("Date", ""))
    return max(0.0, when - (clock.time() if now is None else now))


def _seconds_of(http_date: str) -> float | None:
    """Read a date of HTTP, which is always in GMT (RFC 9110, section 5.6.7)."""
    try:
        date = parsedate_to_datetime(http_date)
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def read_chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield what arrives of a response, as soon as it does; all at once if it was read before."""
    if content_was_read(response):
        yield response.content
        return
    try:
        # As urllib3 reads it: the response is the caller's, who may read on in another way.
        read = reader_of(response.raw, READ_SIZE)
        while chunk := read():
            yield chunk
    except ReadTimeoutError as error:
        target = redact_url(response.url)
        raise IdleTimeoutError(
            f"no bytes came from {target} for too long",
            timeout=0.0,
            waited_for="bytes",
            response=response,
        ) from error
    except (HTTPError, OSError) as error:
        raise stream_interrupted(error, response) from error
