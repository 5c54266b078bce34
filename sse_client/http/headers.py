"""The request headers that each attempt to open a stream sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from requests.structures import CaseInsensitiveDict

from sse_client.http.arguments import TOKEN
from sse_client.http.niquests import default_headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import requests

#: The longest Last-Event-ID that is sent. A server would refuse each attempt with a larger header.
_MAX_LAST_EVENT_ID = 64 * 1024

_CONTROLS = re.compile(rb"[\x00-\x08\n-\x1f\x7f]")

_STREAM_HEADERS = {
    "Accept": "text/event-stream",
    # As Fetch sends them for the cache mode no-store, which the specification requires.
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Accept-Encoding": "identity",
}


def set_stream_headers(
    request: requests.Request, session: requests.Session, last_event_id: str
) -> None:
    """Set the headers of each attempt (WHATWG HTML, section 9.2.2) that the user has not set."""
    headers: Any = CaseInsensitiveDict(request.headers or {})
    untouched = default_headers(session)
    for name, value in _STREAM_HEADERS.items():
        if name not in headers and session.headers.get(name) == untouched.get(name):
            headers[name] = value
    # None removes the header that the session would add.
    headers["Last-Event-ID"] = _header_value(last_event_id)
    request.headers = headers


def check_headers(headers: Mapping[Any, Any] | None) -> None:
    """Refuse headers that cannot be sent.

    Raises:
        ValueError: A header cannot be sent. The message names it, but does not show its value.
    """
    check_names(headers)
    error = header_error(headers)
    if error is not None:
        raise error


def header_error(headers: Mapping[Any, Any] | None) -> ValueError | None:
    """Return the error of a header whose value cannot be sent, or None if there is none."""
    for name, value in (headers or {}).items():
        problem = None if value is None else _problem_of_value(value)
        if problem is not None:
            return ValueError(f"the header {name!r} cannot be sent: {problem}")
    return None


def check_names(names: Iterable[Any] | None) -> None:
    """Refuse names of headers that cannot be sent.

    Raises:
        ValueError: A name cannot be sent.
    """
    for name in names or ():
        problem = _problem_of_name(name)
        if problem is not None:
            raise ValueError(f"a header cannot be sent: {problem}")


def _problem_of_name(name: object) -> str | None:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(text, str):
        return f"its name must be a str, not {type(name).__name__}"
    return None if TOKEN.fullmatch(text) else "its name is not a token"


def _problem_of_value(value: object) -> str | None:
    if isinstance(value, str):
        try:
            value = value.encode("latin-1")
        except UnicodeEncodeError:
            return "its value has characters outside Latin-1; encode it as bytes"
    if not isinstance(value, bytes):
        return f"its value must be a str or bytes, not {type(value).__name__}"
    if b"\r" in value or b"\n" in value:
        return "its value has a line break"
    return "its value begins with whitespace" if value[:1].isspace() else None


def problem_of_last_event_id(last_event_id: str) -> str | None:
    """Return why an ID cannot be a header value, or None if it can be or is empty."""
    value = _bytes_of(last_event_id)
    if len(value) > _MAX_LAST_EVENT_ID:
        return f"it has more than {_MAX_LAST_EVENT_ID} bytes"
    if _CONTROLS.search(value):
        return "it has a control character"
    return "it consists of whitespace" if last_event_id and not value else None


def _header_value(last_event_id: str) -> bytes | None:
    """Return the ID as the bytes of a header, or None if it cannot be one."""
    is_fit = last_event_id and problem_of_last_event_id(last_event_id) is None
    return _bytes_of(last_event_id) if is_fit else None


def _bytes_of(last_event_id: str) -> bytes:
    """Return the ID without surrounding whitespace, which a server ignores."""
    return last_event_id.encode("utf-8", "replace").strip(b" \t")
