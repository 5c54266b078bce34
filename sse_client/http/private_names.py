"""The private names of requests, urllib3 and Python's http.client. No other module may use one.

A new version of these packages may lack any of these names. The import of this module needs none of
them, and no limit on a header, a body or a wait depends on one. A test reports those that the
installed versions lack.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class PrivateName(NamedTuple):
    """A name, the class whose instances have it, and the consequence of its absence."""

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
        "the final dot of a host name does not reach the resolver",
    ),
    PrivateName(
        "urllib3.response.HTTPResponse",
        "_pool",
        "a plain request may get the connection of a stream that has ended",
    ),
    PrivateName(
        "urllib3.response.HTTPResponse",
        "_fp",
        "iter_events takes more processor time per event",
    ),
    PrivateName(
        "urllib3.response.HTTPResponse",
        "_sock_shutdown",
        "a connection of a user's class can be aborted only between two reads",
    ),
    PrivateName(
        "requests.models.Response",
        "_content_consumed",
        "a body that a hook has read counts as empty",
    ),
    PrivateName(
        "requests.models.Response",
        "_content",
        "the body of a refused response is in the error, but not in its response",
    ),
    PrivateName(
        "requests.models.PreparedRequest",
        "_cookies",
        "a redirect to another origin fails, because it might leak the cookies of the call",
    ),
    PrivateName(
        "socket.SocketIO",
        "_sock",
        "iter_events takes more processor time per event if the response has a timeout",
    ),
    PrivateName(
        "http.cookiejar.CookieJar",
        "_cookies_lock",
        "a cookie jar is not safe to share between threads, or to use after every fork",
    ),
)

#: The private names of urllib3-future, the dependency of niquests, on each of its responses.
PRIVATE_NAMES_OF_URLLIB3_FUTURE = ("_fp", "_police_officer")


def connects_by_itself(kind: type[Any]) -> bool:
    """Return whether connections of this class connect differently from those of urllib3."""
    usual = getattr(HTTPConnection, "_new_conn", None)
    return getattr(kind, "_new_conn", None) is not usual


def dns_host(connection: Any) -> str:
    """Return the name that a connection of urllib3 must resolve, with its final dot."""
    return str(getattr(connection, "_dns_host", connection.host))


def pool_of(raw: Any) -> Any:
    """Return the pool to which the connection of a response returns, or None."""
    return getattr(raw, "_pool", None)


def keep_from_pool(raw: Any) -> None:
    """Close the connection of a response with it, and do not give it back to its pool."""
    raw._pool = None


def source_of(raw: Any) -> Any:
    """Return the object that a response of urllib3 reads from, or None if it is not known."""
    return getattr(raw, "_fp", None)


def socket_below(raw: Any) -> Any:
    """Return the socket that a response of urllib3 reads from, or None if it is not known."""
    return getattr(getattr(raw, "_sock_shutdown", None), "__self__", None)


def socket_of_file(file: Any) -> Any:
    """Return the socket that an unbuffered file of a socket reads from, or None."""
    return getattr(file, "_sock", None)


def set_socket_of_file(file: Any, replacement: object) -> None:
    """Let an unbuffered file of a socket read from another object."""
    file._sock = replacement


def is_of_urllib3_future(raw: Any) -> bool:
    """Return whether the response's body comes from urllib3-future, under either package name."""
    return type(getattr(raw, "_fp", None)).__name__ == "LowLevelResponse"


def police_of(raw: Any) -> Any:
    """Return the object in which urllib3-future keeps the connection of a response, or None."""
    return getattr(raw, "_police_officer", None)


def forget_police(raw: Any) -> None:
    """Stop a response of urllib3-future from looking up its connection there."""
    raw._police_officer = None


def content_was_read(response: Any) -> bool:
    """Return whether the body of a response has been read, for example by a hook."""
    return bool(getattr(response, "_content_consumed", False))


def set_content(response: Any, body: bytes) -> None:
    """Set the content of a response, and thereby its text and its JSON."""
    response._content = body
    response._content_consumed = True


def cookies_of(prepared: Any) -> Any:
    """Return the jar from which requests takes the cookies of a redirect, or None.

    This fails without the name, because the cookies would then go to any address a server names.
    """
    return prepared._cookies


def cookie_lock_of(jar: Any) -> AbstractContextManager[Any]:
    """Return the lock of a cookie jar."""
    return getattr(jar, "_cookies_lock", None) or contextlib.nullcontext()


def renew_cookie_lock(jar: Any) -> None:
    """Replace the lock of a cookie jar, because another thread may have held it at the fork."""
    if hasattr(jar, "_cookies_lock"):
        jar._cookies_lock = threading.RLock()
