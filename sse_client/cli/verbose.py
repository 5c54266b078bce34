"""``-v``: shows the headers of requests and responses, and the connections, on standard error.

Values that may be secrets are hidden: user info, queries, and the values of headers that are not
known to be harmless.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sse_client.cli.output import one_line
from sse_client.cli.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import requests

    from sse_client import SSESession

#: Headers of a request whose values are shown.
_SHOWN = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "cache-control", "connection"),
        *("content-length", "content-type", "host", "last-event-id", "origin", "pragma"),
        *("user-agent",),
    }
)

#: Headers of a response whose values are not shown.
_HIDDEN = frozenset({"set-cookie", "set-cookie2", "authentication-info"})

#: Headers of a response that contain an address.
_ADDRESSES = frozenset({"location", "content-location"})

_HIDDEN_VALUE = "[hidden]"

_VERSIONS = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2", 30: "HTTP/3"}


class Conversation:
    """A plugin that shows the headers, with hooks for a session that show its connections.

    Args:
        proxies: The proxies from the options.
    """

    def __init__(self, *, proxies: Mapping[str, str] | None = None) -> None:
        self._proxies = proxies

    def hooks(self) -> dict[str, Any]:
        """Return the hooks of a session."""
        return {
            "on_request": self._requesting,
            "on_open": self._opened,
            "on_disconnect": self._lost,
            "on_close": self._closed,
        }

    def on_response(self, response: requests.Response) -> None:
        """Show a response and the redirects before it."""
        for each in (*response.history, response):
            _write(_response_lines(each))

    def _requesting(self, _session: SSESession, request: requests.Request) -> None:
        url = str(request.url)
        proxy = proxy_for(url, self._proxies)
        through = f" through the proxy {proxy}" if proxy else ""
        lines = [f"* {request.method} {shown_url(url)}{through}"]
        lines += [f"> {line}" for line in _request_lines(request)]
        _write(lines)

    def _opened(self, session: SSESession) -> None:
        _write([f"* connection {session.statistics.connections} is open"])

    def _lost(self, session: SSESession, error: Exception | None, delay: float | None) -> None:
        after = f" after event {session.last_event_id}" if session.last_event_id else ""
        reason = "the stream ended" if error is None else str(error)
        again = "giving up" if delay is None else f"reconnecting in {delay:.3g} s"
        _write([f"* {reason}{after}; {again}"])

    def _closed(self, session: SSESession) -> None:
        _write(["* the stream has ended" if session.error is None else "* the stream has failed"])


def shown_url(url: str) -> str:
    """Return an address without user info, query and fragment, which may contain secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an address that cannot be parsed)"
    host = parts.netloc.rpartition("@")[2]
    # A Location may be only a path.
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path


def http_version(response: requests.Response) -> str:
    """Return the HTTP version of a response."""
    version = getattr(response.raw, "version", None)
    return _VERSIONS.get(version, f"HTTP version {version}") if version else "HTTP"


def _request_lines(request: requests.Request) -> Iterator[str]:
    parts = urlsplit(str(request.url))
    query = "?[hidden]" if parts.query else ""
    yield f"{request.method} {parts.path or '/'}{query}"
    headers = {"Host": parts.netloc.rpartition("@")[2], **(request.headers or {})}
    if request.auth and "Authorization" not in headers:
        headers["Authorization"] = "Basic"
    for name, value in headers.items():
        if value is not None:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            yield f"{name}: {text if name.lower() in _SHOWN else _HIDDEN_VALUE}"


def _response_lines(response: requests.Response) -> Iterator[str]:
    yield f"< {http_version(response)} {response.status_code} {response.reason or ''}"
    for name, value in response.headers.items():
        if name.lower() in _ADDRESSES:
            shown = shown_url(value)
        else:
            shown = _HIDDEN_VALUE if name.lower() in _HIDDEN else value
        yield f"< {name}: {shown}"


def _write(lines: Iterable[str]) -> None:
    """Write all lines at once, so that the lines of several streams do not mix."""
    text = "".join(f"{one_line(line)}\n" for line in lines)
    print(text, end="", file=sys.stderr, flush=True)
