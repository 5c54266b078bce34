"""The connections below a stream: known to the thread that has to abort them.

Before there is a response its socket is unknown to requests. So the pool that will serve a stream
is given a connection class that tells the attempt of its thread which socket it is about to use.
While a thread opens a stream, the pool also neither retries by itself nor logs queries.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import Retry
from urllib3.util.connection import allowed_gai_family

from sse_client.http.niquests import ForeignSession, take_from_pool, with_watcher
from sse_client.http.response_head import BoundedResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import requests

    from sse_client.clock import Clock

#: What requests asks for, unless an adapter says otherwise.
_NO_RETRIES = Retry(0, read=False)


class SocketWatcher(Protocol):
    """What wants to know the sockets that a thread is about to use.

    Attributes:
        header_timeout: How long the header of a response may take, in seconds; None for any time.
        clock: What that is measured with.
    """

    header_timeout: float | None
    clock: Clock

    def watch(self, sock: socket.socket) -> None:
        """Take note of a socket that is about to be connected."""

    def connected(self) -> None:
        """Take note that the socket is connected."""

    def reads_response_from(self, sock: socket.socket) -> None:
        """Take note of a socket from which a response is about to be read."""

    def unverified(self, host: str) -> None:
        """Take note of a connection to a host whose certificate was not verified."""


class _Opening(threading.local):
    """The watcher of what the current thread opens, if it opens a stream."""

    watcher: SocketWatcher | None = None
    #: Tells the requests of a stream apart: each redirect begins another hop.
    hop: object = None


_opening = _Opening()


def _current_watcher() -> SocketWatcher | None:
    return _opening.watcher


@contextlib.contextmanager
def watched_by(watcher: SocketWatcher) -> Iterator[None]:
    """Show the watcher each socket that the current thread uses within the block."""
    _opening.watcher = watcher
    try:
        yield
    finally:
        _opening.watcher = None


class _WatchedConnection(HTTPConnection):
    """Tells the attempt of its thread about its sockets. Mixed into the classes of any pool."""

    _hop: object = None
    #: What is to be requested, in place of what urllib3 may log.
    target: str | None = None

    @property
    def is_connected(self) -> bool:
        """Say no to a stream, unless it is a connection of its own.

        It never takes over one that a server may be closing, but an authentication that belongs to
        the connection has to go on where it began.
        """
        is_fit = _opening.watcher is None or self._hop is _opening.hop
        return is_fit and super().is_connected

    def connect(self) -> None:
        try:
            super().connect()
        except BaseException as error:
            _close_half_made(error.__traceback__)
            raise
        watcher = _opening.watcher
        is_verified = self.is_verified or self.proxy_is_verified
        if watcher is not None and not is_verified and isinstance(self, HTTPSConnection):
            watcher.unverified(self.host)
            self.is_verified = True  # or its pool would warn of each connection

    def _new_conn(self) -> socket.socket:
        watcher = _opening.watcher
        if watcher is None or super()._new_conn.__func__ is not HTTPConnection._new_conn:  # type: ignore[attr-defined]  # a bound method has it
            return super()._new_conn()  # a plain request, or a SOCKS proxy, which has its own way
        self._hop = _opening.hop
        try:
            return self._connect_watched(watcher)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            message = f"connecting to {self.host} took more than {self.timeout} s"
            raise ConnectTimeoutError(self, message) from error
        except OSError as error:
            raise NewConnectionError(self, f"connecting failed: {error}") from error

    def _connect_watched(self, watcher: SocketWatcher) -> socket.socket:
        """Do what urllib3's create_connection does, but show the socket before it blocks."""
        host = self._dns_host.strip("[]")
        try:
            host.encode("idna")
        except UnicodeError:
            raise LocationParseError(f"{host!r}, label empty or too long") from None
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, self.port, allowed_gai_family(), socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                watcher.watch(sock)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout)
                if self.source_address:
                    sock.bind(self.source_address)
                sock.connect(address)
                watcher.connected()
                # From here on it is for a TLS handshake, or for sending, as a whole.
                sock.settimeout(self.timeout or watcher.header_timeout)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    def _tunnel(self) -> None:
        watcher = _opening.watcher
        with contextlib.ExitStack() as bounds:
            if watcher is not None:
                timeout = self.sock.gettimeout() or watcher.header_timeout
                bounds.enter_context(self._header_within(timeout, watcher.clock))
            super()._tunnel()

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().request(method, self.target or url, *args, **kwargs)

    def getresponse(self) -> Any:
        watcher = _opening.watcher
        if watcher is None or self.sock is None:
            return super().getresponse()
        watcher.reads_response_from(self.sock)
        with self._header_within(watcher.header_timeout, watcher.clock):
            return super().getresponse()

    @contextlib.contextmanager
    def _header_within(self, timeout: float | None, clock: Clock) -> Iterator[None]:
        """Read the header of a response within bounds."""
        usual: Any = self.response_class
        self.response_class = cast("Any", functools.partial(BoundedResponse, timeout, clock))
        try:
            yield
        finally:
            self.response_class = usual


def _close_half_made(traceback: TracebackType | None) -> None:
    """Close the TLS socket that Python leaves to the collector if it is reset too early."""
    while traceback is not None:
        frame = traceback.tb_frame
        half_made = frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket) and frame.f_code.co_name == "_create":
            half_made.close()
        traceback = traceback.tb_next


class _WatchedPool(HTTPConnectionPool):
    """Opens streams without retrying, or logging queries. Mixed into the class of any pool."""

    def urlopen(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if _opening.watcher is not None:
            # The session is to reconnect, as its policy says: urllib3 would wait where nothing can
            # abort it, read bodies of any size, and log the query.
            kwargs["retries"] = _NO_RETRIES
        return super().urlopen(method, url, *args, **kwargs)

    def _make_request(self, conn: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if _opening.watcher is None or not isinstance(conn, _WatchedConnection):
            return super()._make_request(conn, method, url, *args, **kwargs)
        conn.target = url
        shown = url.partition("?")[0]  # this is logged
        try:
            return super()._make_request(conn, method, shown, *args, **kwargs)
        finally:
            conn.target = None


@functools.cache
def _mixed(mixin: type, usual: type) -> type:
    """Return the class with the mixin, under its own name, which is in messages."""
    return usual if issubclass(usual, mixin) else type(usual.__name__, (mixin, usual), {})


def watch_pool(
    session: requests.Session, prepared: requests.PreparedRequest, settings: Mapping[str, Any]
) -> None:
    """Have the pool that will serve this request make connections that can be aborted."""
    _opening.hop = object()
    adapter = session.get_adapter(prepared.url or "")
    sender: object = session
    pool: Any
    if isinstance(adapter, HTTPAdapter):
        pool = adapter.get_connection_with_tls_context(
            prepared, settings["verify"], proxies=settings["proxies"], cert=settings["cert"]
        )
    elif isinstance(sender, ForeignSession):
        pool = sender.pool_for(prepared, settings["proxies"])
    else:
        return  # someone else's transport: it can be aborted once it has responded
    if not issubclass(pool.ConnectionCls, http.client.HTTPConnection):
        # Of niquests, or below requests where urllib3-future is installed in place of urllib3.
        pool.ConnectionCls = with_watcher(pool.ConnectionCls, _current_watcher)
        return
    pool.__class__ = _mixed(_WatchedPool, pool.__class__)
    pool.ConnectionCls = _mixed(_WatchedConnection, pool.ConnectionCls)
    if pool.pool is None:
        return
    # An idle connection of another class could not be aborted before it responds: none is taken
    # over. They may come back later, so this looks each time.
    strangers = []
    with pool.pool.mutex:
        idle = pool.pool.queue
        for index, connection in enumerate(idle):
            if connection is not None and not isinstance(connection, _WatchedConnection):
                strangers.append(connection)
                idle[index] = None
    for connection in strangers:
        connection.close()


def keep_out_of_pool(raw: Any) -> Any:
    """Never give a connection back: its server may be about to close it.

    A pool that blocks wants its place back, though.

    Returns:
        What then has to be closed beside the response, None if nothing has.
    """
    pool = getattr(raw, "_pool", None)
    if pool is None or pool.block:
        return None
    raw._pool = None  # or urllib3 would put it back, and a full pool logs a warning
    return take_from_pool(raw)
