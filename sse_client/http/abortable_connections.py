"""Connections that can be aborted while they connect, shake hands or wait for a response.

Before there is a response, requests does not know its socket. So the pools of a stream make
connections that show each socket to the attempt of their thread before they block on it. The
attempt passes it to ``aborting``, which any thread may ask to shut it down. These connections
also read each header within bounds, the header of a proxy's tunnel included. In a thread that
opens no stream they behave like those of urllib3.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
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

from sse_client.http.niquests import with_watcher
from sse_client.http.private_names import connects_by_itself, dns_host
from sse_client.http.response_head import BoundedResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client.clock import Clock


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

    def sending(self) -> None:
        """Take note that the request is about to be sent: the connection is ready."""

    def reads_response_from(self, sock: socket.socket) -> None:
        """Take note of a socket from which a response is about to be read."""

    def unverified(self, host: str) -> None:
        """Take note of a connection to a host whose certificate was not verified."""


class _Opening(threading.local):
    """What the current thread is about to open, if it opens a stream."""

    watcher: SocketWatcher | None = None
    #: Tells the requests of a stream apart: each redirect begins another hop.
    hop: object = None
    #: The query of what is to be requested, which urllib3 must not log, with its question mark.
    query: str = ""
    #: The TLS socket that was made last, until its connection has it.
    tls_socket: ssl.SSLSocket | None = None


_opening = _Opening()


def current_watcher() -> SocketWatcher | None:
    """Return the watcher of the stream that this thread opens, None if it opens none."""
    return _opening.watcher


@contextlib.contextmanager
def watched_by(watcher: SocketWatcher) -> Iterator[None]:
    """Show the watcher each socket that the current thread uses within the block."""
    _opening.watcher = watcher
    try:
        yield
    finally:
        _opening.watcher = None


@contextlib.contextmanager
def with_query(query: str) -> Iterator[None]:
    """Have the requests of this thread within the block end with the query, unknown to urllib3."""
    _opening.query = query
    try:
        yield
    finally:
        _opening.query = ""


def begin_hop() -> None:
    """Have the next request of this thread use no connection that others have used."""
    _opening.hop = object()


def abortable(usual: Any) -> Any:
    """Return the class of connections, made abortable. Its name, which is in messages, stays."""
    if not issubclass(usual, http.client.HTTPConnection):
        # Of niquests, or below requests where urllib3-future is installed in place of urllib3.
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
    """Shows its sockets to the watcher of its thread. Mixed into the classes of any pool."""

    _connects_by_itself = False  # as one through a SOCKS proxy does
    _is_tls = False
    _hop: object = None
    _bounded: BoundedResponse | None = None

    @property
    def is_connected(self) -> bool:
        """Say no to a stream, unless this connection is of the same hop.

        A stream never takes over a connection that a server may be closing, but an authentication
        that belongs to the connection has to go on where it began.
        """
        is_fit = _opening.watcher is None or self._hop is _opening.hop
        return is_fit and super().is_connected

    def connect(self) -> None:
        """Connect, and shake hands. Blocks."""
        watcher = _opening.watcher
        if watcher is None:
            super().connect()
            return
        tls: HTTPSConnection | None = cast("Any", self) if self._is_tls else None
        if tls is not None and tls.ssl_context is None:
            tls.ssl_context = _tls_context(tls)
        try:
            super().connect()
        except BaseException:
            # Before 3.13 Python leaves it to the collector if it is reset before its handshake.
            if _opening.tls_socket is not None:
                _opening.tls_socket.close()
            raise
        finally:
            _opening.tls_socket = None
        watcher.sending()
        if tls is not None and not (self.is_verified or self.proxy_is_verified):
            watcher.unverified(self.host)
            self.is_verified = True  # or its pool would warn of each connection

    def _new_conn(self) -> socket.socket:
        watcher = _opening.watcher
        if watcher is None:
            return super()._new_conn()
        self._hop = _opening.hop
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
        """Do what urllib3's create_connection does, but show the socket before it blocks."""
        host = dns_host(self).strip("[]")
        try:
            host.encode("idna")
        except UnicodeError:
            raise LocationParseError(f"{host!r}, label empty or too long") from None
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, self.port, urllib3_connecting.allowed_gai_family(), socket.SOCK_STREAM
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

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Send a request, with the query that urllib3 was not given. Blocks."""
        if _opening.watcher is not None and self.sock is not None:
            _opening.watcher.sending()
        super().request(method, url + _opening.query, *args, **kwargs)

    def response_class(  # type: ignore[override]  # a class otherwise, which is called the same way
        self, sock: Any, *args: Any, **kwargs: Any
    ) -> http.client.HTTPResponse:
        """Make what reads a response, within bounds if it is one of a stream or of its tunnel."""
        watcher = _opening.watcher
        if watcher is None:
            return super().response_class(sock, *args, **kwargs)
        limits = [limit for limit in (sock.gettimeout(), watcher.header_timeout) if limit]
        timeout = min(limits, default=None)
        self._bounded = BoundedResponse(timeout, watcher.clock, sock, *args, **kwargs)
        return self._bounded

    def getresponse(self) -> Any:
        """Wait for the header of the response, and return it. Blocks."""
        watcher = _opening.watcher
        if watcher is None or self.sock is None:
            return super().getresponse()
        watcher.reads_response_from(self.sock)
        response: Any = super().getresponse()
        response.bounded_response, self._bounded = self._bounded, None
        return response


def _show_connected(watcher: SocketWatcher, sock: Any) -> None:
    """Show the watcher a socket that is connected already; close it if that was aborted."""
    try:
        if isinstance(sock, socket.socket):  # else it is of a transport in memory
            watcher.watch(sock)
    except BaseException:
        sock.close()
        raise


class _OwnedSocket(ssl.SSLSocket):
    """A TLS socket that is known to its thread while Python makes it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls, *args, **kwargs)
        _opening.tls_socket = made
        return made


def _tls_context(connection: HTTPSConnection) -> ssl.SSLContext:
    """Make what urllib3 makes for a connection without a context, but with sockets of our own."""
    context = create_urllib3_context(
        ssl_version=resolve_ssl_version(connection.ssl_version),
        cert_reqs=resolve_cert_reqs(connection.cert_reqs),
        ssl_minimum_version=connection.ssl_minimum_version,
        ssl_maximum_version=connection.ssl_maximum_version,
    )
    has_certificates = connection.ca_certs or connection.ca_cert_dir or connection.ca_cert_data
    if not has_certificates and hasattr(context, "load_default_certs"):  # pyOpenSSL has no such way
        context.load_default_certs()
    context.sslsocket_class = _OwnedSocket
    return context
