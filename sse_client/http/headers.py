"""The request headers that each attempt to open a stream sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from requests.structures import CaseInsensitiveDict

from sse_client.http.niquests import default_headers

if TYPE_CHECKING:
    import requests

#: The longest Last-Event-ID that is sent. Servers refuse larger headers, and then every attempt.
_MAX_LAST_EVENT_ID = 64 * 1024

_CONTROLS = re.compile(rb"[\x00-\x08\n-\x1f\x7f]")

_STREAM_HEADERS = {
    "Accept": "text/event-stream",
    "Cache-Control": "no-store",
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


def _header_value(last_event_id: str) -> bytes | None:
    """Return the ID as a header's bytes, None if it is not fit to be one.

    Blanks around it are left out: to the server they would be padding in any case.
    """
    value = last_event_id.encode("utf-8", "replace").strip(b" \t")
    is_fit = value and len(value) <= _MAX_LAST_EVENT_ID and not _CONTROLS.search(value)
    return value if is_fit else None
