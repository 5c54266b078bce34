"""The connections below a stream: kept alive, and known to the thread that has to abort them.

Before there is a response its socket is unknown to requests. So the pool that will serve a stream
is given a connection class that tells the attempt of its thread which socket it is about to use.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import default_user_agent
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util.connection import allowed_gai_family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A dead peer is noticed after at most 45 + 4 * 15 seconds without any traffic.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 45), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


def new_session(user_agent: str) -> requests.Session:
    """Make a session whose connections notice a dead peer."""
    session = requests.Session()
    session.headers["User-Agent"] = f"{user_agent} {default_user_agent()}"
    mount_adapters(session)
    return session


def mount_adapters(session: requests.Session) -> None:
    """Give a session of our own new pools of connections, and leave the old ones as they are."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _KeepAliveAdapter())


class _KeepAliveAdapter(HTTPAdapter):
    """The adapter of requests, with TCP keep-alive on each connection."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_keep_alive_options(), **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, socket_options=_keep_alive_options(), **kwargs)


def _keep_alive_options() -> list[tuple[int, int, int]]:
    options = [*HTTPConnection.default_socket_options]
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):  # not everywhere
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return cast("list[tuple[int, int, int]]", options)


#: How much of a connection is buffered, in bytes: enough for a header and for most events. A read
#: of more goes round the buffer. The usual 8 KiB are a fifth of what an open stream takes.
_BUFFER_SIZE = 2 * 1024


class SocketWatcher(Protocol):
    """What wants to know the sockets that a thread is about to use."""

    def watch(self, sock: socket.socket) -> None:
        """Take note of a socket that is about to be connected."""

    def connected(self) -> None:
        """Take note that the socket is connected."""

    def answered(self, sock: socket.socket) -> None:
        """Take note of a socket from which an answer is about to be read."""


class _Opening(threading.local):
    """The watcher of what the current thread opens, if it opens a stream."""

    watcher: SocketWatcher | None = None
    #: Tells the requests of a stream apart: each redirect begins another hop.
    hop: object = None


_opening = _Opening()


@contextlib.contextmanager
def watched_by(watcher: SocketWatcher) -> Iterator[None]:
    """Show the watcher each socket that the current thread uses within the block."""
    _opening.watcher = watcher
    try:
        yield
    finally:
        _opening.watcher = None


class _HeaderLines:
    """Stands in for the file that a header is read from, and knows whether it just ended."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.has_ended = False

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._file.readline(limit)
        self.has_ended = not line
        return line

    def close(self) -> None:
        self._file.close()


class _StreamAnswer(http.client.HTTPResponse):
    """An answer whose header has to be whole, and that buffers little.

    To the standard library the end of the connection is as good as the blank line: half a header
    of a server that died would be taken for another answer.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if isinstance(sock, socket.socket):  # which TLS in TLS is not
            usual = self.fp
            self.fp = cast("Any", sock.makefile("rb", _BUFFER_SIZE))
            if self.fp is not usual:  # of a stand-in in somebody's tests they may be one
                usual.close()

    def begin(self) -> None:
        file: Any = self.fp
        lines: Any = _HeaderLines(file)
        self.fp = lines
        try:
            super().begin()
        except BaseException:
            if self.fp is lines:  # not closed meanwhile
                self.fp = file
            raise
        self.fp = file
        if lines.has_ended:
            self._close_conn()  # type: ignore[attr-defined]  # typeshed leaves it out
            raise http.client.RemoteDisconnected("the connection ended in the middle of the header")


class _WatchedConnection(HTTPConnection):
    """Tells the attempt of its thread about its sockets. Mixed into the classes of any pool."""

    _hop: object = None

    @property
    def is_connected(self) -> bool:
        """Say no to a stream, unless it is a connection of its own.

        It never takes over one that a server may be closing, but an authentication that belongs to
        the connection has to go on where it began.
        """
        is_fit = _opening.watcher is None or self._hop is _opening.hop
        return is_fit and super().is_connected

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
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    def getresponse(self) -> Any:
        if _opening.watcher is not None and self.sock is not None:
            _opening.watcher.answered(self.sock)
            if self.response_class is http.client.HTTPResponse:
                self.response_class = _StreamAnswer
        return super().getresponse()


@functools.cache
def _watched(connection_class: type[Any]) -> type[Any]:
    if issubclass(connection_class, _WatchedConnection):
        return connection_class
    return type(f"Watched{connection_class.__name__}", (_WatchedConnection, connection_class), {})


def watch_pool(
    session: requests.Session, prepared: requests.PreparedRequest, settings: Mapping[str, Any]
) -> None:
    """Have the pool that will serve this request make connections that can be aborted."""
    _opening.hop = object()
    adapter = session.get_adapter(prepared.url or "")
    if not isinstance(adapter, HTTPAdapter):
        return  # someone else's transport: it can be aborted once it has answered
    pool: Any = adapter.get_connection_with_tls_context(
        prepared, settings["verify"], proxies=settings["proxies"], cert=settings["cert"]
    )
    watched = _watched(pool.ConnectionCls)
    pool.ConnectionCls = watched
    if pool.pool is None:
        return
    # An idle connection of another class could not be aborted before it answers: none is taken
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
