"""Checks a response. An event stream is accepted, and any other response becomes an error."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError, ReadTimeoutError

from sse_client.clock import SYSTEM_CLOCK, Deadline
from sse_client.errors import (
    IdleTimeoutError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.http.body import READ_SIZE
from sse_client.http.callers_body import chunked_body_of
from sse_client.http.causes import redact_url, stream_interrupted
from sse_client.http.content_type import (
    DEFAULT_CONTENT_TYPES,
    ContentTypes,
    is_event_stream,
    undecodable_encoding,
)
from sse_client.http.niquests import reader_of
from sse_client.http.private_names import content_was_read, set_content
from sse_client.http.response_head import shut_down_connection_of
from sse_client.http.retry_after import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from sse_client.clock import Clock

#: The maximum number of bytes read from a refused response: enough to show the reason.
MAX_ERROR_BODY = 64 * 1024

#: The maximum time to read the body of a refused response, in seconds.
ERROR_BODY_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class ResponseRules:
    """Which responses are accepted, and how much of a refused one is read."""

    content_types: ContentTypes = DEFAULT_CONTENT_TYPES
    max_error_body: int = MAX_ERROR_BODY
    error_body_timeout: float = ERROR_BODY_TIMEOUT


def check_response(
    response: requests.Response,
    rules: ResponseRules,
    read_within: Callable[[float], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Raise an error unless the response is 204 or an event stream (WHATWG HTML, 9.2.3)."""
    status = response.status_code
    if status == 204:
        return
    undecodable = undecodable_encoding(response) if status == 200 else None
    if status == 200 and not undecodable and is_event_stream(response, rules.content_types):
        return
    body, is_truncated = read_body(response, rules, read_within, clock)
    response.close()
    target = redact_url(response.url)
    if status == 200:
        content_type = response.headers.get("Content-Type", "")
        if undecodable:
            message = f"{target} responded with {_encoding_problem(*undecodable)}"
        else:
            shown = content_type or "no content type"
            message = f"{target} responded with {shown}, not with {_wanted(rules.content_types)}"
        raise UnexpectedContentTypeError(
            message,
            response=response,
            content_type=content_type,
            body=body,
            body_is_truncated=is_truncated,
        )
    raise UnexpectedStatusError(
        f"{target} responded with {status} {response.reason or ''}".rstrip(),
        response=response,
        body=body,
        body_is_truncated=is_truncated,
        retry_after=retry_after(response, clock),
    )


def _wanted(content_types: ContentTypes) -> str:
    if callable(content_types):
        return "a type that content_types admits"
    names = " or ".join(sorted(name or "no type" for name in content_types)) or "any"
    return f"{names} (the option content_types admits others)"


def _encoding_problem(encoding: str, package: str | None) -> str:
    problem = f"the content encoding {encoding!r}, which cannot be decoded"
    return f"{problem} without the package {package!r}" if package else problem


def read_body(
    response: requests.Response,
    rules: ResponseRules,
    read_within: Callable[[float], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[bytes, bool]:
    """Read the body within limits of size and time, and set it as the response's content.

    Returns:
        The bytes read, and whether there are more.
    """
    limit = rules.max_error_body
    if content_was_read(response):
        content = response.content or b""
        return content[:limit], len(content) > limit
    body = b""
    is_complete = False
    deadline = Deadline.after(rules.error_body_timeout, clock)
    with contextlib.suppress(HTTPError, OSError, ValueError):
        while len(body) <= limit:  # an extra byte shows whether there is more
            left = deadline.seconds_left()
            if not left:
                break
            if read_within is not None:
                read_within(left)
            chunk = reader_of(response.raw, limit + 1 - len(body))()
            if not chunk:
                is_complete = True
                break
            body += chunk
    body = body[:limit]
    if not is_complete:
        shut_down_connection_of(response.raw)
        response.raw.close()  # otherwise its connection returns to the pool in mid-body
    set_content(response, body)
    return body, not is_complete


def read_chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes of a response as they arrive, or all at once if it was already read."""
    if content_was_read(response):
        yield response.content
        return
    try:
        # The response is the caller's, who may read the rest in another way.
        body = chunked_body_of(response.raw)
        if body is not None:
            yield from body.chunks()
        read = reader_of(response.raw, READ_SIZE)
        while chunk := read():
            yield chunk
    except (ReadTimeoutError, TimeoutError) as error:
        target = redact_url(response.url)
        raise IdleTimeoutError(
            f"no bytes arrived from {target} for too long",
            timeout=0.0,
            waited_for="bytes",
            response=response,
        ) from error
    except (HTTPError, HTTPException, OSError) as error:
        raise stream_interrupted(error, response) from error
