"""Removes secrets from a redirect to another origin.

requests removes the ``Authorization`` header, and sends an entry of .netrc only to its own host. It
keeps the cookies of the call, which belong to no host, and the headers from callable values, which
may contain tokens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from sse_client.errors import ConnectionFailedError
from sse_client.http.private_names import cookies_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests

#: Path segments that mean the current folder and its parent (WHATWG URL, section 4.1).
_SINGLE_DOT = {".", "%2e"}
_DOUBLE_DOT = {"..", ".%2e", "%2e.", "%2e%2e"}

_PRIVATE = ("Authorization", "Cookie", "Proxy-Authorization")


def keep_secrets_from_others(
    session: requests.Session, prepared: requests.PreparedRequest, private: Iterable[str]
) -> None:
    """Keep the secrets of a request at its origin when it is redirected.

    Args:
        session: The session that will send it.
        prepared: The request.
        private: The names of further headers that are secret.
    """
    hooks: Any = prepared.hooks
    hide = partial(_hide, session, (*_PRIVATE, *private))
    # At the end, because an earlier hook may send the request again, as an auth does.
    hooks["response"] = [*hooks.get("response", ()), hide]


def check_target(session: requests.Session, response: requests.Response) -> None:
    """Refuse a redirect whose target cannot be parsed. requests would quote it in its error.

    Raises:
        ConnectionFailedError: The target is not a URL.
    """
    try:
        _ = urlsplit(session.get_redirect_target(response) or "").port
    except ValueError:
        raise _refused("an address that cannot be parsed") from None


def location_url(target: str) -> str:
    """Return the URL to request for a redirect (Fetch, "location URL").

    Raises:
        ConnectionFailedError: The scheme is neither http nor https.
    """
    parts = urlsplit(target)
    if parts.scheme not in {"http", "https"}:
        raise _refused("another scheme: only redirects to http and https are followed")
    path = _without_dot_segments(parts.path)
    if path == parts.path:
        return target
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, parts.fragment))


def _refused(target: str) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"the server redirected to {target}", permanent=True, was_sent=True
    )


def _without_dot_segments(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments, 1):
        is_double = segment.lower() in _DOUBLE_DOT
        if is_double:
            del kept[-1:]
        if is_double or segment.lower() in _SINGLE_DOT:
            if position == len(segments):
                kept.append("")
        else:
            kept.append(segment)
    return "/" + "/".join(kept) if segments else path


def _hide(
    session: requests.Session, names: Iterable[str], response: requests.Response, **_: object
) -> None:
    """Remove the secrets from the request from which requests makes the next one."""
    request: Any = response.request
    strips_auth: Any = session.should_strip_auth
    target = session.get_redirect_target(response)
    if target is None or not strips_auth(request.url, urljoin(response.url, target)):
        return
    # An auth responds to a challenge with a copy, but the next request is made from the first.
    for each in (response, *response.history):
        sent: Any = each.request
        each.request = sent.copy()  # as it was sent
        _take_out(sent, names)


def _take_out(request: Any, names: Iterable[str]) -> None:
    for name in names:
        request.headers.pop(name, None)
    jar = cookies_of(request)
    for cookie in list(jar or ()):
        if not cookie.domain:  # a cookie of the call, which would go to any host
            jar.clear(cookie.domain, cookie.path, cookie.name)
