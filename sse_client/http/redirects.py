"""What a redirect to another origin must not take along.

requests removes the ``Authorization`` header, and sends an entry of .netrc to its own host only.
It keeps the cookies of the call, which belong to no host, and the headers that a callable has
made, in which tokens travel.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from sse_client.http.private_names import cookies_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests

_PRIVATE = ("Authorization", "Cookie", "Proxy-Authorization")


def keep_secrets_from_others(
    session: requests.Session, prepared: requests.PreparedRequest, private: Iterable[str]
) -> None:
    """Have the secrets of a request stay with its origin, wherever it is redirected.

    Args:
        session: The session that will send it.
        prepared: The request.
        private: The names of further headers that are secret.
    """
    hooks: Any = prepared.hooks
    hide = partial(_hide, session, (*_PRIVATE, *private))
    # At the end: a hook before it may have sent the request anew, as an auth does.
    hooks["response"] = [*hooks.get("response", ()), hide]


def _hide(
    session: requests.Session, names: Iterable[str], response: requests.Response, **_: object
) -> None:
    """Take the secrets out of the request from which requests makes the next one."""
    target = session.get_redirect_target(response)
    request: Any = response.request
    if target is None or not _leaves_origin(session, request.url, urljoin(response.url, target)):
        return
    # An auth that has met a challenge sent a copy, but the next one is made of the first.
    for each in (response, *response.history):
        sent: Any = each.request
        each.request = sent.copy()  # as it was sent
        _take_out(sent, names)


def _take_out(request: Any, names: Iterable[str]) -> None:
    for name in names:
        request.headers.pop(name, None)
    jar = cookies_of(request)
    for cookie in list(jar or ()):
        if not cookie.domain:  # of the call, to go to whatever address that names
            jar.clear(cookie.domain, cookie.path, cookie.name)


def _leaves_origin(session: requests.Session, url: str, target: str) -> bool:
    strips_auth: Any = session.should_strip_auth
    try:
        return bool(strips_auth(url, target))
    except ValueError:
        return False  # it is no address, and will be refused in a moment
