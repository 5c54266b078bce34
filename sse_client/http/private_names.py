"""The private names of requests, urllib3 and Python's http.client: no other module may use one.

A new version of theirs may lose any of these names. None is needed when this is imported, and no
limit on a header, a body or a wait depends on one. A test checks that the installed versions still
have all of them, and reports those that are missing.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class PrivateName(NamedTuple):
    """A name, the class whose instances have it, and what is lost without it."""

    owner: str
    name: str
    without_it: str


PRIVATE_NAMES = (
    PrivateName(
        "urllib3.connection.HTTPConnection",
        "_new_conn",  # overridden by AbortableConnection
        "a connection can be aborted only once it is connected",
    ),
    PrivateName(
        "urllib3.connection.HTTPConnection",
        "_dns_host",
        "the dot at the end of a host's name does not reach the resolver",
    ),
    PrivateName(
        "urllib3.response.HTTPResponse",
        "_pool",
        "a plain request may get the connection of a stream that has ended",
    ),
    PrivateName(
        "urllib3.response.HTTPResponse",
        "_sock_shutdown",
        "a connection of the user's own class can be aborted only between two reads",
    ),
    PrivateName(
        "requests.models.Response",
        "_content_consumed",
        "a body that a hook has read counts as empty",
    ),
    PrivateName(
        "requests.models.Response",
        "_content",
        "only the error has the body of a response that was refused, not its response",
    ),
    PrivateName(
        "requests.models.PreparedRequest",
        "_cookies",
        "a redirect to another origin fails, as it might take the cookies of the call along",
    ),
    PrivateName(
        "http.cookiejar.CookieJar",
        "_cookies_lock",
        "a cookie jar is neither shared by threads safely nor usable after every fork",
    ),
)

#: Those of urllib3-future, which niquests brings, on each of its responses.
PRIVATE_NAMES_OF_URLLIB3_FUTURE = ("_fp", "_police_officer")


def connects_by_itself(kind: type[Any]) -> bool:
    """Return whether connections of this class connect in another way than those of urllib3."""
    usual = getattr(HTTPConnection, "_new_conn", None)
    return getattr(kind, "_new_conn", None) is not usual


def dns_host(connection: Any) -> str:
    """Return the name that a connection of urllib3 has to resolve, with its final dot."""
    return str(getattr(connection, "_dns_host", connection.host))


def pool_of(raw: Any) -> Any:
    """Return the pool that the connection of a response goes back to, None if there is none."""
    return getattr(raw, "_pool", None)


def keep_from_pool(raw: Any) -> None:
    """Have the connection of a response closed with it, not given back to its pool."""
    raw._pool = None


def socket_below(raw: Any) -> Any:
    """Return the socket that a response of urllib3 is read from, None if it is not known."""
    return getattr(getattr(raw, "_sock_shutdown", None), "__self__", None)


def is_of_urllib3_future(raw: Any) -> bool:
    """Return whether the response's body comes from urllib3-future, whatever package that is."""
    return type(getattr(raw, "_fp", None)).__name__ == "LowLevelResponse"


def police_of(raw: Any) -> Any:
    """Return where urllib3-future keeps the connection of a response, None for any other."""
    return getattr(raw, "_police_officer", None)


def forget_police(raw: Any) -> None:
    """Have the response of urllib3-future not look for its connection where it was kept."""
    raw._police_officer = None


def content_was_read(response: Any) -> bool:
    """Return whether the body of a response of requests has been read, by a hook for instance."""
    return bool(getattr(response, "_content_consumed", False))


def set_content(response: Any, body: bytes) -> None:
    """Make this the content of a response of requests, its text and its JSON."""
    response._content = body
    response._content_consumed = True


def cookies_of(prepared: Any) -> Any:
    """Return the jar from which requests makes the cookies of a redirect; None if it has none.

    This fails without the name: the cookies would go to whatever address a server names.
    """
    return prepared._cookies


def cookie_lock_of(jar: Any) -> AbstractContextManager[Any]:
    """Return what a cookie jar locks itself with."""
    return getattr(jar, "_cookies_lock", None) or contextlib.nullcontext()


def renew_cookie_lock(jar: Any) -> None:
    """Replace the lock of a cookie jar, which another thread may have held at the fork."""
    if hasattr(jar, "_cookies_lock"):
        jar._cookies_lock = threading.RLock()
