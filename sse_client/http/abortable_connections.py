"""Connections that can be aborted while they connect, shake hands or wait for a response.

Until there is a response, requests does not expose its socket. So the pools of a stream make
connections that report each socket to the attempt of their thread before they block on it. Any
thread can then shut the socket down through ``aborting``. These connections also read each header
within limits of size and time, including the header of a proxy's tunnel. In a thread that is not
opening a stream they behave like those of urllib3.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import connection as urllib3_connecting
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs, resolve_ssl_version

from sse_client.http.connecting import connect
from sse_client.http.niquests import with_watcher
from sse_client.http.private_names import connects_by_itself, dns_host
from sse_client.http.response_head import BoundedResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client.clock import Clock


class SocketWatcher(Protocol):
    """Is notified of the sockets that a thread is about to use.

    Attributes:
        header_timeout: How long the header of a response may take, in seconds. None means no limit.
        clock: Measures the header timeout.
    """

    header_timeout: float | None
    clock: Clock

    def watch(self, sock: socket.socket) -> None:
        """Called with a socket that is about to be connected."""

    def raise_if_aborted(self) -> None:
        """Raise an error if the attempt was aborted, in which case its socket is shut down."""

    def sending(self) -> None:
        """Called when the connection is ready and the request is about to be sent."""

    def reads_response_from(self, sock: socket.socket) -> None:
        """Called with the socket from which a response is about to be read."""

    def unverified(self, host: str) -> None:
        """Called after connecting to a host whose certificate was not verified."""


class _Opening:
    """The state of a thread while it opens a stream."""

    def __init__(self, watcher: SocketWatcher | None) -> None:
        self.watcher = watcher
        #: Identifies one request of the stream. Each redirect begins another hop.
        self.hop: object = None
        #: The query of the request with its question mark. urllib3 must not log it.
        self.query = ""
        #: The TLS socket that was created last, until its connection owns it.
        self.tls_socket: ssl.SSLSocket | None = None


#: The opening of each thread that opens a stream. It is not a ``threading.local``, because gevent
#: and eventlet may replace that class after this import. All greenlets of a thread would then share
#: one opening.
_openings: dict[tuple[int, int], _Opening] = {}


def _current_thread() -> tuple[int, int]:
    """Identify the thread or greenlet. A forked child may reuse the ID of a thread."""
    return os.getpid(), threading.get_ident()


def _current_opening() -> _Opening:
    return _openings.get(_current_thread()) or _Opening(None)


def current_watcher() -> SocketWatcher | None:
    """Return the watcher of the stream that this thread opens, or None if there is none."""
    return _current_opening().watcher


@contextlib.contextmanager
def watched_by(watcher: SocketWatcher) -> Iterator[None]:
    """Report each socket that the current thread uses within the block to the watcher."""
    thread = _current_thread()
    _openings[thread] = _Opening(watcher)
    try:
        yield
    finally:
        del _openings[thread]


@contextlib.contextmanager
def with_query(query: str) -> Iterator[None]:
    """Append the query to this thread's requests within the block, without urllib3 knowing it."""
    opening = _current_opening()
    opening.query = query
    try:
        yield
    finally:
        opening.query = ""


def begin_hop() -> None:
    """Let the next request of this thread use only connections without earlier requests."""
    _current_opening().hop = object()


def abortable(usual: Any) -> Any:
    """Return an abortable subclass of a connection class. It has the same name for messages."""
    if not issubclass(usual, http.client.HTTPConnection):
        # A class of niquests, or of urllib3-future installed in place of urllib3.
        return with_watcher(usual, current_watcher)
    return _made_abortable(usual)


@functools.cache
def _made_abortable(usual: Any) -> Any:
    if issubclass(usual, AbortableConnection):
        return usual
    members = {
        "_connects_by_itself": connects_by_itself(usual),
        "_is_tls": issubclass(usual, HTTPSConnection),
    }
    return type(usual.__name__, (AbortableConnection, usual), members)


class AbortableConnection(HTTPConnection):
    """Reports its sockets to the watcher of its thread. Mixed into the classes of any pool."""

    _connects_by_itself = False  # True for a SOCKS proxy, for example
    _is_tls = False
    _hop: object = None
    _bounded: BoundedResponse | None = None

    @property
    def is_connected(self) -> bool:
        """Return False for a stream, unless this connection belongs to the same hop.

        A stream never reuses a connection that the server may be closing. But an authentication
        that belongs to a connection has to continue on it.
        """
        opening = _current_opening()
        is_fit = opening.watcher is None or self._hop is opening.hop
        return is_fit and super().is_connected

    def connect(self) -> None:
        """Connect, and shake hands. Blocks."""
        opening = _current_opening()
        watcher = opening.watcher
        if watcher is None:
            super().connect()
            return
        tls: HTTPSConnection | None = cast("Any", self) if self._is_tls else None
        if tls is not None and tls.ssl_context is None:
            tls.ssl_context = _tls_context(tls)
        try:
            super().connect()
        except BaseException:
            # Before 3.13 Python does not close it if it is reset before the handshake.
            if opening.tls_socket is not None:
                opening.tls_socket.close()
            raise
        finally:
            opening.tls_socket = None
        watcher.sending()
        if tls is not None and not (self.is_verified or self.proxy_is_verified):
            watcher.unverified(self.host)
            self.is_verified = True  # otherwise its pool would warn about each connection

    def _new_conn(self) -> socket.socket:
        opening = _current_opening()
        watcher = opening.watcher
        if watcher is None:
            return super()._new_conn()
        self._hop = opening.hop
        if self._connects_by_itself:
            sock = super()._new_conn()
            _show_connected(watcher, sock)
            return sock
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
        """Do the same as urllib3's create_connection, but report the socket before it blocks."""
        host = dns_host(self).strip("[]")
        try:
            host.encode("idna")
        except UnicodeError:
            raise LocationParseError(f"{host!r}, label empty or too long") from None
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, self.port, urllib3_connecting.allowed_gai_family(), socket.SOCK_STREAM
        ):
            try:
                # The system may lack sockets of an address family that its resolver returns.
                sock = socket.socket(family, kind, protocol)
                return self._connect_one(sock, address, watcher)
            except OSError as error:
                failure = error
        raise failure

    def _connect_one(
        self, sock: socket.socket, address: Any, watcher: SocketWatcher
    ) -> socket.socket:
        """Connect the socket, and return it. Close it on failure."""
        try:
            watcher.watch(sock)
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(self.timeout)
            if self.source_address:
                sock.bind(self.source_address)
            connect(sock, address, watcher.raise_if_aborted)
            # From now on this limits a whole TLS handshake, or the sending.
            sock.settimeout(self.timeout or watcher.header_timeout)
        except BaseException:
            sock.close()
            raise
        return sock

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Send a request, including the query that urllib3 does not know. Blocks."""
        opening = _current_opening()
        if opening.watcher is not None and self.sock is not None:
            opening.watcher.sending()
        super().request(method, url + opening.query, *args, **kwargs)

    def response_class(  # type: ignore[override]  # a class elsewhere, called the same way
        self, sock: Any, *args: Any, **kwargs: Any
    ) -> http.client.HTTPResponse:
        """Create a response, with a bounded header if it belongs to a stream or its tunnel."""
        watcher = current_watcher()
        if watcher is None:
            return super().response_class(sock, *args, **kwargs)
        limits = [limit for limit in (sock.gettimeout(), watcher.header_timeout) if limit]
        timeout = min(limits, default=None)
        self._bounded = BoundedResponse(timeout, watcher.clock, sock, *args, **kwargs)
        return self._bounded

    def getresponse(self) -> Any:
        """Wait for the header of the response, and return it. Blocks."""
        watcher = current_watcher()
        if watcher is None or self.sock is None:
            return super().getresponse()
        watcher.reads_response_from(self.sock)
        response: Any = super().getresponse()
        response.bounded_response, self._bounded = self._bounded, None
        return response


def _show_connected(watcher: SocketWatcher, sock: Any) -> None:
    """Report a connected socket to the watcher. Close it if the attempt was aborted."""
    try:
        if hasattr(sock, "dup"):  # not one of an in-memory transport
            watcher.watch(sock)
    except BaseException:
        sock.close()
        raise


@functools.cache
def tls_socket_class(usual: Any) -> Any:
    """Return a subclass of a TLS socket class. It records each socket while Python creates it.

    It is created at run time, because gevent and eventlet replace the usual class.
    """
    if usual.__new__ is object.__new__:
        return usual  # gevent's class, which closes a socket whose creation fails

    def make(kind: Any, *args: Any, **kwargs: Any) -> Any:
        made = usual.__new__(kind, *args, **kwargs)
        _current_opening().tls_socket = made
        return made

    return type(usual.__name__, (usual,), {"__new__": make})


def _tls_context(connection: HTTPSConnection) -> ssl.SSLContext:
    """Create the same context as urllib3 for a connection without one, but with our sockets."""
    context = create_urllib3_context(
        ssl_version=resolve_ssl_version(connection.ssl_version),
        cert_reqs=resolve_cert_reqs(connection.cert_reqs),
        ssl_minimum_version=connection.ssl_minimum_version,
        ssl_maximum_version=connection.ssl_maximum_version,
    )
    has_certificates = connection.ca_certs or connection.ca_cert_dir or connection.ca_cert_data
    if not has_certificates and hasattr(context, "load_default_certs"):  # pyOpenSSL lacks it
        context.load_default_certs()
    usual: Any = getattr(context, "sslsocket_class", ssl.SSLSocket)  # pyOpenSSL lacks it
    context.sslsocket_class = tls_socket_class(usual)
    return context
