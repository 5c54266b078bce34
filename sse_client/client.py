"""The client: a session of requests, the plugins installed into it, and the streams it opens."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from sse_client.clock import SYSTEM_CLOCK, Clock
from sse_client.http.address import join_address
from sse_client.http.causes import name_of
from sse_client.http.niquests import adapted
from sse_client.http.own_session import mount_adapters, new_session, renew_locks
from sse_client.http.request import RequestDescription, SendOptions, Timeout
from sse_client.plugins.registry import PluginRegistry
from sse_client.plugins.sse import SSE
from sse_client.process import CLOSE_TIMEOUT, disown_in_child, stop_all
from sse_client.sending import Sender
from sse_client.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import requests
    from typing_extensions import TypeForm, Unpack

    from sse_client.event_stream.events import ServerSentEvent, TypedServerSentEvent
    from sse_client.http.niquests import SessionLike
    from sse_client.http.request import (
        Auth,
        Certificate,
        Cookies,
        Headers,
        Params,
        Proxies,
        RequestArguments,
    )
    from sse_client.plugins.sse import DataArguments, SSEOptions, StreamArguments
    from sse_client.session.reader import StreamReader
    from sse_client.session.sse_session import SSESession


P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

#: The default of plain requests, in seconds: connect, and read. A stream may be silent for longer.
_PLAIN_TIMEOUT = (10.0, 60.0)
_STREAM_TIMEOUT = (10.0, None)


class HttpClient:
    """An HTTP client to install plugins into: ``HttpClient().install(SSE)``.

    Thread-safe, as far as a shared ``requests.Session`` is. A context manager that closes itself.

    Example:
        >>> with HttpClient().install(SSE, reconnection_time=2.0) as client:
        ...     with client.sse("http://127.0.0.1:8080/events") as session:  # doctest: +SKIP
        ...         for event in session.incoming:
        ...             print(event.data)

    Args:
        session: A session of requests, or of niquests, to send with, which stays yours: its
            headers, cookies, proxies, certificates and adapters are used, but not ``max_retries``
            of these for a stream, which reconnects by itself. Without one the client makes its own,
            with TCP keep-alive, and closes it.
        clock: What the waits of the streams are measured with, for tests: a ``ManualClock`` of
            ``sse_client.testing``. None is the time of the system.

    Raises:
        TypeError: ``clock`` is no clock, or ``session`` is none, or has to be awaited.
    """

    def __init__(self, session: SessionLike | None = None, *, clock: Clock | None = None) -> None:
        # A class has the methods, too.
        if clock is not None and (isinstance(clock, type) or not isinstance(clock, Clock)):
            raise TypeError(f"clock must be a ManualClock or None, not {type(clock).__name__}")
        self._clock = clock or SYSTEM_CLOCK
        self._owns_session = session is None
        self._session = adapted(session or new_session(f"sse-client/{__version__}"))
        self._plugins = PluginRegistry()
        self._sender = Sender(self._session, self._plugins, self._clock)
        # Guards the readers, and that none begins once the sender is closed. Reentrant: a finaliser
        # or a signal handler may close the client.
        self._lock = threading.RLock()
        self._readers: weakref.WeakSet[StreamReader] = weakref.WeakSet()
        disown_in_child(self)

    def install(self, plugin: type[Any], **options: object) -> HttpClient:
        """Install a plugin: a class, of which ``plugin(**options)`` is made. Does not block.

        Returns:
            The client, so that calls can be chained.

        Raises:
            DuplicatePluginError: It is installed already.
            TypeError, ValueError: The plugin refuses an option, by name.
        """
        self._plugins.install(plugin, options)
        return self

    def plugin(self, plugin: type[P]) -> P:
        """Return an installed plugin.

        Raises:
            PluginNotInstalledError: It is not installed.
        """
        return self._plugins.require(plugin)

    def plugin_or_none(self, plugin: type[P]) -> P | None:
        """Return an installed plugin, None if it is not installed."""
        return self._plugins.get(plugin)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Headers | None = None,
        data: object = None,
        json: object = None,
        auth: Auth | None = None,
        cookies: Cookies | None = None,
        proxies: Proxies | None = None,
        verify: bool | str | None = None,
        cert: Certificate | None = None,
        timeout: Timeout = _PLAIN_TIMEOUT,
        allow_redirects: bool = True,
    ) -> requests.Response:
        """Send a plain request through the same plugins. Blocks until the whole response is there.

        The arguments are those of ``requests``; a callable value of ``headers`` and ``params``, and
        callable ``data`` and ``json``, are called. ``timeout`` is in seconds.

        Raises:
            requests.RequestException: As requests does.
            ConnectionFailedError: A plugin has no token.
            SessionClosedError: The client is closed, or was while the request waited for a plugin.
        """
        self._sender.raise_if_closed()
        description = RequestDescription(method, url, params, headers, data, json, auth, cookies)
        options = SendOptions(timeout, allow_redirects, proxies, verify, cert)
        return self._sender.send(description, options)

    def get(self, url: str, **arguments: Unpack[RequestArguments]) -> requests.Response:
        """Send a GET request: ``request("GET", url, ...)``."""
        return self.request("GET", url, **arguments)

    def post(self, url: str, **arguments: Unpack[RequestArguments]) -> requests.Response:
        """Send a POST request: ``request("POST", url, ...)``."""
        return self.request("POST", url, **arguments)

    @overload
    def sse(
        self,
        url: str | None = None,
        *,
        types: None = None,
        block: Callable[[SSESession], R],
        **arguments: Unpack[StreamArguments],
    ) -> R: ...

    @overload
    def sse(
        self,
        url: str | None = None,
        *,
        types: object,
        block: Callable[[SSESession[Any]], R],
        **arguments: Unpack[StreamArguments],
    ) -> R: ...

    @overload
    def sse(
        self,
        url: str | None = None,
        *,
        types: None = None,
        block: None = None,
        **arguments: Unpack[StreamArguments],
    ) -> SSESession: ...

    @overload
    def sse(
        self,
        url: str | None = None,
        *,
        types: Mapping[str, object],
        **arguments: Unpack[StreamArguments],
    ) -> SSESession[TypedServerSentEvent[object] | ServerSentEvent]: ...

    @overload
    def sse(
        self, url: str | None = None, *, types: TypeForm[T], **arguments: Unpack[DataArguments]
    ) -> SSESession[TypedServerSentEvent[T]]: ...

    @overload
    def sse(
        self, url: str | None = None, *, types: TypeForm[T], **arguments: Unpack[StreamArguments]
    ) -> SSESession[TypedServerSentEvent[T] | ServerSentEvent]: ...

    def sse(
        self,
        url: str | None = None,
        *,
        scheme: str = "http",
        host: str | None = None,
        port: int | None = None,
        path: str = "/",
        method: str = "GET",
        params: Params | None = None,
        headers: Headers | None = None,
        data: object = None,
        json: object = None,
        auth: Auth | None = None,
        cookies: Cookies | None = None,
        proxies: Proxies | None = None,
        verify: bool | str | None = None,
        cert: Certificate | None = None,
        timeout: Timeout = _STREAM_TIMEOUT,
        allow_redirects: bool = True,
        block: Callable[[SSESession[Any]], R] | None = None,
        **options: Unpack[SSEOptions],
    ) -> SSESession[Any] | R:
        """Open an event stream (WHATWG HTML, section 9.2). Blocks until it is open.

        Args:
            url: The address; or leave it out and give ``scheme``, ``host``, ``port`` and ``path``.
            scheme: ``"http"`` or ``"https"``.
            host: A host name or address.
            port: A port, if not the scheme's own.
            path: The path, with a query if there is one.
            method: The HTTP method. Streams other than GET, HEAD and QUERY do not reconnect unless
                ``reconnect`` says so.
            params: As in requests; a callable value is called for each attempt.
            headers: As in requests; a callable value is called for each attempt. A
                ``Last-Event-ID``, also of the session of requests, is where the stream begins,
                like the option ``last_event_id``.
            data: As in requests, or a callable that returns it, for each attempt.
            json: As in requests, or a callable that returns it, for each attempt.
            auth: As in requests.
            cookies: As in requests.
            proxies: As in requests.
            verify: As in requests; a path has to be there. False warns once for each client.
            cert: As in requests; the paths have to be there.
            timeout: Seconds, or a pair: to connect, and without a single byte before the connection
                is given up for lost. None waits forever. The header of a response has to be whole
                within the second of these, and within ``event_timeout``; without both, within
                300 seconds.
            allow_redirects: Whether to follow redirects.
            block: A function to call with the session, which is then closed.
            **options: Any option of ``SSEConfig``, for this stream.

        Returns:
            The session, or what ``block`` returned.

        Raises:
            PluginNotInstalledError: ``client.install(SSE)`` was forgotten.
            ConnectionFailedError: No response came.
            UnexpectedStatusError: The response is neither 200 nor 204.
            UnexpectedContentTypeError: It is no event stream.
            CursorError: The position can't be loaded from ``cursor``, or is in use.
            CursorExpiredError: The server does not know the position that was loaded any more.
            ReconnectionExhaustedError: With ``retry_first_connection``, it gave up.
            SessionClosedError: The client was closed meanwhile.
            TypeError, ValueError: An argument is wrong, or an option unknown: by name.
        """
        plugin = self._plugins.require(SSE)
        address = join_address(url, scheme, host, port, path)
        request = RequestDescription(method, address, params, headers, data, json, auth, cookies)
        send = SendOptions(timeout, allow_redirects, proxies, verify, cert)
        initial_id = request.last_event_id(self._session.headers)
        if initial_id and "last_event_id" not in options:
            options["last_event_id"] = initial_id

        session, reader = plugin.new_session(
            partial(self._sender.connection, request, send),
            method=method,
            name=name_of(address),
            options=options,
            has_one_body=request.is_made_once,
            clock=self._clock,
        )
        with self._lock:
            closed = self._sender.is_closed
            if not closed:
                self._readers.add(reader)
        if closed:
            session.close()
            self._sender.raise_if_closed()
        try:
            session.load_position()
            reader.start()
        except BaseException:
            session.close()
            raise
        session.wait_until_open()
        if block is None:
            return session
        with session:
            return block(session)

    #: Ktor's second name for the same call: a session that outlives a block.
    sse_session = sse

    def close(self) -> None:
        """Close all sessions, the plugins, and the client's own session of requests.

        Blocks for a second at most, whatever the number of sessions. An ``sse`` call that is still
        opening in another thread is aborted, and raises SessionClosedError. Can be called any
        number of times.
        """
        with self._lock:
            was_closed, self._sender.is_closed = self._sender.is_closed, True
            readers = list(self._readers)
        stop_all(readers, CLOSE_TIMEOUT)
        if was_closed:
            return
        try:
            self._plugins.close()
        finally:
            if self._owns_session:
                self._session.close()

    def disown(self) -> None:
        """Leave streams and idle connections to the parent, in a forked child; go on with others.

        A ``requests.Session`` of the user's own keeps its connections.
        """
        self._lock = threading.RLock()  # may be held by a thread that is no more
        if self._owns_session:
            mount_adapters(self._session)
        renew_locks(self._session)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, as for another process."""
        raise TypeError(
            "an HttpClient cannot be pickled or copied: its connections belong to this process; "
            "make one there"
        )

    def __enter__(self) -> HttpClient:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        self.close()
