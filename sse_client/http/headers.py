"""The request headers that each attempt to open a stream sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from requests.structures import CaseInsensitiveDict

from sse_client.http.niquests import default_headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import requests

#: The longest Last-Event-ID that is sent. Servers refuse larger headers, and then every attempt.
_MAX_LAST_EVENT_ID = 64 * 1024

#: A token (RFC 9110, section 5.6.2).
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_CONTROLS = re.compile(rb"[\x00-\x08\n-\x1f\x7f]")

_STREAM_HEADERS = {
    "Accept": "text/event-stream",
    # What Fetch sends for the cache mode no-store, which the specification asks for.
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Accept-Encoding": "identity",
}


def set_stream_headers(
    request: requests.Request, session: requests.Session, last_event_id: str
) -> None:
    """Set what each attempt sends (WHATWG HTML, section 9.2.2), but for what the user has set."""
    headers: Any = CaseInsensitiveDict(request.headers or {})
    untouched = default_headers(session)
    for name, value in _STREAM_HEADERS.items():
        if name not in headers and session.headers.get(name) == untouched.get(name):
            headers[name] = value
    # None takes out one that the session would add.
    headers["Last-Event-ID"] = _header_value(last_event_id)
    request.headers = headers


def check_headers(headers: Mapping[Any, Any] | None) -> None:
    """Refuse a header that cannot be sent, by its name.

    Raises:
        ValueError: There is one. The message has no value: it may be secret.
    """
    check_names(headers)
    error = header_error(headers)
    if error is not None:
        raise error


def header_error(headers: Mapping[Any, Any] | None) -> ValueError | None:
    """Return the error of a header whose value cannot be sent, None if there is none."""
    for name, value in (headers or {}).items():
        problem = None if value is None else _problem_of_value(value)
        if problem is not None:
            return ValueError(f"the header {name!r} cannot be sent: {problem}")
    return None


def check_names(names: Iterable[Any] | None) -> None:
    """Refuse the name of a header that cannot be sent.

    Raises:
        ValueError: There is one.
    """
    for name in names or ():
        problem = _problem_of_name(name)
        if problem is not None:
            raise ValueError(f"a header cannot be sent: {problem}")


def _problem_of_name(name: object) -> str | None:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(text, str):
        return f"its name must be a str, not {type(name).__name__}"
    return None if _NAME.fullmatch(text) else "its name is not a token"


def _problem_of_value(value: object) -> str | None:
    if isinstance(value, str):
        try:
            value = value.encode("latin-1")
        except UnicodeEncodeError:
            return "its value has characters beyond Latin-1; encode it as bytes"
    if not isinstance(value, bytes):
        return f"its value must be a str or bytes, not {type(value).__name__}"
    if b"\r" in value or b"\n" in value:
        return "its value has a line break"
    return "its value begins with a blank" if value[:1].isspace() else None


def _header_value(last_event_id: str) -> bytes | None:
    """Return the ID as a header's bytes, None if it is not fit to be one.

    Blanks around it are left out: to the server they would be padding in any case.
    """
    value = last_event_id.encode("utf-8", "replace").strip(b" \t")
    is_fit = value and len(value) <= _MAX_LAST_EVENT_ID and not _CONTROLS.search(value)
    return value if is_fit else None
