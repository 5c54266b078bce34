"""Adapts sessions of niquests, which resemble those of requests and also support HTTP/2.

Nothing here imports niquests: a user who has such a session has imported it. niquests depends on
urllib3-future, a fork of urllib3. It is installed as another package or, by default, in place of
urllib3. Its errors are not those of requests and urllib3, and they show addresses with their
queries. So each error is replaced here by the one that requests or urllib3 would have raised.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import socket
import ssl
import sys
import weakref
from typing import TYPE_CHECKING, Any, Protocol, cast

import requests
import urllib3
from urllib3.exceptions import ProtocolError

from sse_client.http.aborting import shut_down
from sse_client.http.private_names import (
    forget_police,
    is_of_urllib3_future,
    police_of,
    socket_below,
)
from sse_client.http.response_head import (
    bounded_response_of,
    shut_down_connection_of,
    was_given_back,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

_PACKAGES = {"niquests", "urllib3_future"}


class SessionLike(Protocol):
    """A session that sends requests: a ``requests.Session``, or one of niquests.

    Attributes:
        headers: The headers of each request.
    """

    headers: MutableMapping[Any, Any]

    def get_adapter(self, url: str) -> Any:
        """Return the adapter that sends requests to the address."""

    def prepare_request(self, request: Any) -> Any:
        """Prepare a request."""

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send it, and return the response."""


def adapted(session: SessionLike) -> requests.Session:
    """Return the session if it is one of requests, or an adapter for it.

    Raises:
        TypeError: It is not a session, or its ``send`` is asynchronous.
    """
    send = getattr(session, "send", None)
    if not callable(send) or inspect.iscoroutinefunction(send):
        kind = type(session).__name__
        raise TypeError(f"session must be a blocking requests session, not {kind}")
    is_foreign = any(map(_is_foreign, type(session).__mro__))
    return cast("requests.Session", ForeignSession(session) if is_foreign else session)


class ForeignSession:
    """Wraps another session as one of requests. Other attributes are those of the session."""

    def __init__(self, session: SessionLike) -> None:
        self._session = session
        self._package: Any = sys.modules["niquests"]

    def __getattr__(self, name: str) -> Any:
        """Return this attribute of the session."""
        return getattr(self._session, name)

    def prepare_request(self, request: requests.Request) -> Any:
        """Turn a request of requests into a prepared request of the session."""
        given = ("headers", "files", "data", "params", "auth", "cookies", "json")
        own = self._package.Request(
            request.method, request.url, **{name: getattr(request, name) for name in given}
        )
        for kind, hooks in request.hooks.items():
            own.hooks[kind].extend(hooks)
        with translated_errors(_as_of_requests):
            return self._session.prepare_request(own)

    def send(self, prepared: Any, **settings: Any) -> Any:
        """Send the request, and wait for the header of the response. Blocks."""
        with translated_errors(_as_of_requests):
            # A multiplexed response is lazy, and shares its connection with others.
            return self._session.send(prepared, multiplexed=False, **settings)

    def pool_for(self, prepared: Any, proxies: Any) -> Any:
        """Return the pool of connections that will serve the request."""
        return self._session.get_adapter(prepared.url).get_connection(prepared.url, proxies)


@functools.cache
def with_watcher(usual: type[Any], watcher: Callable[[], Any]) -> type[Any]:
    """Return a subclass of a connection class that reports its sockets to any watcher."""
    if issubclass(usual, _WatchedConnection):
        return usual
    members = {"watcher": staticmethod(watcher)}
    return type(usual.__name__, (_WatchedConnection, usual), members)


class _WatchedConnection:
    """Mixed into a connection of urllib3-future. Connecting it cannot be interrupted.

    The connection of a stream serves no other request, neither during the stream nor after it,
    because it will be shut down.
    """

    watcher: Callable[[], Any]
    sock: Any
    timeout: float | None
    is_idle: bool
    _server_of: Callable[[], Any] = staticmethod(lambda: None)  # the attempt that uses it
    _process_id = 0  # the process of that attempt
    _stays_open = False

    @property
    def is_saturated(self) -> bool:
        """Return True for other requests, and for a stream if there are other requests."""
        watcher, owner = self.watcher(), self._server_of()
        if owner is None:
            is_in_use = watcher is not None and not self.is_idle
        else:
            is_in_use = owner is not watcher
        return is_in_use or super().is_saturated  # type: ignore[misc]  # of the base class

    def request(self, *arguments: Any, **options: Any) -> Any:
        watcher = self.watcher()
        if watcher is not None:
            self._server_of = weakref.ref(watcher)
            self._process_id = os.getpid()
        return super().request(*arguments, **options)  # type: ignore[misc]  # the same

    def leave(self, police: Any) -> None:
        """Leave the pool without being closed, as any other connection would be."""
        self._stays_open = True
        try:
            police.kill(self)
        finally:
            self._stays_open = False

    def close(self) -> None:
        if self._stays_open:
            return
        if self._server_of() is not None:
            shut_down(self.sock, self._process_id)
        super().close()  # type: ignore[misc]  # the same

    def _new_conn(self) -> Any:
        sock = super()._new_conn()  # type: ignore[misc]  # of the base class
        watcher = self.watcher()
        if watcher is not None:
            watcher.watch(sock)
        return sock

    def getresponse(self, **arguments: Any) -> Any:
        watcher, sock = self.watcher(), self.sock
        if watcher is None or sock is None:
            return super().getresponse(**arguments)  # type: ignore[misc]  # the same
        watcher.reads_response_from(sock)
        usual, self.timeout = self.timeout, watcher.header_timeout
        try:
            return super().getresponse(**arguments)  # type: ignore[misc]  # the same
        finally:
            self.timeout = usual
            with contextlib.suppress(OSError):  # it may have been closed
                sock.settimeout(usual)


def take_from_pool(raw: Any) -> Any:
    """Take the connection of a response out of its pool, and return it.

    Return None if urllib3 does this by itself.
    """
    connection = getattr(raw, "connection", None)
    police = police_of(raw)
    if not isinstance(connection, _WatchedConnection) or police is None:
        return None
    police.forget(raw)
    forget_police(raw)
    connection.leave(police)
    return connection


def close_response(raw: Any, taken: Any) -> None:
    """Close a response and its connection, and what was taken from its pool, if anything."""
    shut_down_connection_of(raw)
    with translated_errors():
        raw.close()
        if taken is not None:
            taken.close()


def default_headers(session: requests.Session) -> Any:
    """Return the default headers of the session."""
    foreign = isinstance(session, ForeignSession)
    return (sys.modules["niquests"] if foreign else requests).utils.default_headers()


def reader_of(raw: Any, amount: int) -> Callable[[], bytes]:
    """Return a function that waits for the next decoded bytes of a body, ``b""`` at its end."""
    usual = functools.partial(raw.read1, amount, decode_content=True)
    return functools.partial(_read, raw, usual) if is_of_urllib3_future(raw) else usual


def _read(raw: Any, read: Callable[[], bytes]) -> bytes:
    with translated_errors():
        # The compressed bytes that have arrived may be too few to decode any.
        while not (found := read()) and not raw.closed:
            pass
        return found


def socket_of(raw: Any) -> Any:
    """Return the socket of a response, or None if there is none or it is not known."""
    if was_given_back(raw):
        return None
    if is_of_urllib3_future(raw):
        found: object = getattr(raw.connection, "sock", None)
        # With eventlet, a TLS socket is not a socket.
        return found if isinstance(found, socket.socket | ssl.SSLSocket) else None
    bounded = bounded_response_of(raw)
    return socket_below(raw) if bounded is None else bounded.socket


@contextlib.contextmanager
def translated_errors(
    finish: Callable[[BaseException], BaseException] = lambda error: error,
) -> Iterator[None]:
    """Raise errors of niquests and its urllib3 as those of requests and urllib3, or as OSErrors.

    A cause that may contain an address is not chained. ``finish`` makes the final conversion.
    """
    try:
        yield
    except Exception as error:
        cause = _root_of(error)
        if not any(_is_foreign(type(each)) for each in (error, cause)):
            raise
        translated = finish(_translated(cause))
    else:
        return
    raise translated


def _translated(cause: BaseException) -> BaseException:
    names = [kind.__name__ for kind in type(cause).__mro__]
    if not _is_foreign(type(cause)):
        return cause
    is_value = isinstance(cause, ValueError)
    if is_value or "RequestException" in names:
        usual = requests.exceptions.InvalidURL if is_value else requests.RequestException
        kind: Any = getattr(requests.exceptions, names[0], usual)
        return cast("BaseException", kind())
    if "TimeoutError" in names:
        return TimeoutError("timed out")
    return ProtocolError(names[0] if names[0] == "MaxRetryError" else f"{cause}")


def _as_of_requests(error: BaseException) -> BaseException:
    if isinstance(error, requests.RequestException):
        return error
    is_late = isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError)
    return (requests.Timeout if is_late else requests.ConnectionError)(error)


def _is_foreign(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _PACKAGES


def _root_of(error: BaseException) -> BaseException:
    """Unwrap the error that each layer has wrapped."""
    while True:
        wrapped = (getattr(error, "reason", None), *error.args, error.__cause__)
        inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
        if inner is None or isinstance(error, ValueError):
            return error
        error = inner
