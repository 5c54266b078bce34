"""The client: a ``requests`` session, the installed plugins, and the streams that it opens."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, cast, overload

from sse_client.clock import SYSTEM_CLOCK, Clock
from sse_client.event_stream.notebook import html_table
from sse_client.http.address import join_address
from sse_client.http.causes import name_of
from sse_client.http.niquests import adapted
from sse_client.http.own_session import close_session, mount_adapters, new_session, renew_locks
from sse_client.http.request import RequestDescription, SendOptions, Timeout
from sse_client.plugins.registry import PluginRegistry
from sse_client.plugins.sse import SSE
from sse_client.process import CLOSE_TIMEOUT, disown_if_forked, disown_in_child, stop_all
from sse_client.sending import Sender
from sse_client.session.observers import StreamInfo
from sse_client.session.shared_reader import SharedReader, can_share
from sse_client.session.state import ReadyState
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
    from sse_client.plugins.sse_config import DataArguments, SSEOptions, StreamArguments
    from sse_client.session.opening import SessionOpening
    from sse_client.session.reader import StreamReader
    from sse_client.session.sse_session import SSESession


P = TypeVar("P")
Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")

#: The default connect and read timeouts of plain requests, in seconds.
_PLAIN_TIMEOUT = (10.0, 60.0)
_STREAM_TIMEOUT = (10.0, None)  # a stream may be silent for a long time

#: The maximum number of sessions that a notebook lists. There may be thousands.
_SHOWN_SESSIONS = 10


class HttpClient:
    """An HTTP client into which plugins are installed: ``HttpClient().install(SSE)``.

    As thread-safe as a shared ``requests.Session``. It is a context manager that closes itself.

    Example:
        >>> with HttpClient().install(SSE, reconnection_time=2.0) as client:
        ...     with client.sse("http://127.0.0.1:8080/events") as session:  # doctest: +SKIP
        ...         for event in session.incoming:
        ...             print(event.data)

    Args:
        session: A ``requests`` or ``niquests`` session to send with. The client uses its headers,
            cookies, proxies, certificates and adapters, and does not close it. Streams ignore the
            ``max_retries`` of the adapters, because they reconnect by themselves. By default the
            client creates a session with TCP keep-alive, and closes it.
        clock: Measures the waits of the streams. Tests may pass a ``ManualClock`` from
            ``sse_client.testing``. The default is the system's clock.

    Raises:
        TypeError: ``clock`` is not a clock, or ``session`` is not a session or is asynchronous.
    """

    def __init__(self, session: SessionLike | None = None, *, clock: Clock | None = None) -> None:
        # A class also has the methods.
        if clock is not None and (isinstance(clock, type) or not isinstance(clock, Clock)):
            raise TypeError(f"clock must be a ManualClock or None, not {type(clock).__name__}")
        self._clock = clock or SYSTEM_CLOCK
        self._owns_session = session is None
        self._session = adapted(session or new_session(f"sse-client/{__version__}"))
        self._plugins = PluginRegistry()
        self._sender = Sender(self._session, self._plugins, self._clock)
        # Guards the readers, so that none is added after the sender is closed. Reentrant, because a
        # finaliser or a signal handler may close the client.
        self._lock = threading.RLock()
        self._shared = SharedReader()
        self._readers: weakref.WeakSet[StreamReader] = weakref.WeakSet()
        disown_in_child(self)

    def __repr__(self) -> str:
        """Name the plugins, and say how many sessions are not closed."""
        state = "closed" if self._sender.is_closed else "open"
        plugins = ", ".join(self._plugins.names()) or "none"
        return f"<HttpClient {state}, plugins: {plugins}, sessions: {len(self._unclosed())}>"

    def _repr_html_(self) -> str:
        """Return a table of the plugins and the sessions that are not closed, for a notebook."""
        unclosed = self._unclosed()
        sessions = [f"{reader.name} {reader.state.name}" for reader in unclosed[:_SHOWN_SESSIONS]]
        if len(unclosed) > len(sessions):
            sessions.append(f"and {len(unclosed) - len(sessions)} more")
        rows = {
            "state": "closed" if self._sender.is_closed else "open",
            "plugins": ", ".join(self._plugins.names()) or "none",
            "sessions": "\n".join(sessions) or "none",
        }
        return html_table(type(self).__name__, rows.items())

    def _unclosed(self) -> list[StreamReader]:
        disown_if_forked()
        with self._lock:
            readers = list(self._readers)
        return [reader for reader in readers if reader.state is not ReadyState.CLOSED]

    def install(
        self, plugin: Callable[Q, object], *positional: Q.args, **options: Q.kwargs
    ) -> HttpClient:
        """Install ``plugin(**options)``, where ``plugin`` is a class. Does not block.

        Type checkers check the options, and editors complete their names.

        Returns:
            The client, so that calls can be chained.

        Raises:
            DuplicatePluginError: It is already installed.
            TypeError, ValueError: The plugin refuses an option, which the message names.
        """
        if positional:
            raise TypeError("the options of a plugin must be given by name")
        self._plugins.install(cast("type[Any]", plugin), options)
        return self

    def plugin(self, plugin: type[P]) -> P:
        """Return an installed plugin.

        Raises:
            PluginNotInstalledError: It is not installed.
        """
        return self._plugins.require(plugin)

    def plugin_or_none(self, plugin: type[P]) -> P | None:
        """Return an installed plugin, or None if it is not installed."""
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
        """Send a plain request through the same plugins. Blocks until the whole response arrives.

        The arguments are those of ``requests``. Callable values in ``headers`` and ``params`` are
        called, and so are callable ``data`` and ``json``. ``timeout`` is in seconds.

        Raises:
            requests.RequestException: As in requests.
            ConnectionFailedError: A plugin has no token.
            SessionClosedError: The client is closed, or was closed while a plugin was waiting.
        """
        disown_if_forked()
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
            url: The address. Without it, ``scheme``, ``host``, ``port`` and ``path`` are used.
            scheme: ``"http"`` or ``"https"``.
            host: A host name or address.
            port: The port, if it is not the scheme's default.
            path: The path, including a query if there is one.
            method: The HTTP method. Streams other than GET, HEAD and QUERY do not reconnect unless
                ``reconnect`` says so.
            params: As in requests. A callable value is called for each attempt.
            headers: As in requests. A callable value is called for each attempt. A
                ``Last-Event-ID``, here or in the ``requests`` session, sets where the stream
                begins, like the option ``last_event_id``.
            data: As in requests, or a callable that returns it for each attempt.
            json: As in requests, or a callable that returns it for each attempt.
            auth: As in requests.
            cookies: As in requests.
            proxies: As in requests.
            verify: As in requests. A path must exist. False warns once per client.
            cert: As in requests. The paths must exist.
            timeout: Seconds, or a pair of a connect and a read timeout. A connection that delivers
                no byte for the read timeout is considered lost. None waits forever. The response
                header must be complete within the read timeout and within ``event_timeout``, or
                within 300 seconds if neither is set.
            allow_redirects: Whether to follow redirects.
            block: A function to call with the session. The session is closed afterwards.
            **options: Any option of ``SSEConfig``, for this stream.

        Returns:
            The session, or the result of ``block``.

        Raises:
            PluginNotInstalledError: ``client.install(SSE)`` was forgotten.
            ConnectionFailedError: No response arrived.
            UnexpectedStatusError: The response is neither 200 nor 204.
            UnexpectedContentTypeError: The response is not an event stream.
            CursorError: The position can't be loaded from ``cursor``, or is in use.
            CursorExpiredError: The server no longer knows the position that was loaded.
            ReconnectionExhaustedError: With ``retry_first_connection``, it gave up.
            SessionClosedError: The client was closed in the meantime.
            TypeError, ValueError: An argument is wrong or an option is unknown. The message names
                it.
        """
        given: object = block
        if given is not None and not callable(given):
            raise TypeError(f"block must be a function or None, not {type(given).__name__}")
        session = self._prepare(
            url,
            scheme=scheme,
            host=host,
            port=port,
            path=path,
            method=method,
            params=params,
            headers=headers,
            data=data,
            json=json,
            auth=auth,
            cookies=cookies,
            proxies=proxies,
            verify=verify,
            cert=cert,
            timeout=timeout,
            allow_redirects=allow_redirects,
            **options,
        )
        try:
            session.load_position()
            session.start()
        except BaseException as error:
            session.give_up(error)
            raise
        session.wait_until_open()
        if block is None:
            return session
        with session:
            return block(session)

    #: Ktor's second name for the same call.
    sse_session = sse

    @overload
    def sse_async(
        self, url: str | None = None, *, types: None = None, **arguments: Unpack[StreamArguments]
    ) -> SessionOpening: ...

    @overload
    def sse_async(
        self,
        url: str | None = None,
        *,
        types: Mapping[str, object],
        **arguments: Unpack[StreamArguments],
    ) -> SessionOpening[TypedServerSentEvent[object] | ServerSentEvent]: ...

    @overload
    def sse_async(
        self, url: str | None = None, *, types: TypeForm[T], **arguments: Unpack[DataArguments]
    ) -> SessionOpening[TypedServerSentEvent[T]]: ...

    @overload
    def sse_async(
        self, url: str | None = None, *, types: TypeForm[T], **arguments: Unpack[StreamArguments]
    ) -> SessionOpening[TypedServerSentEvent[T] | ServerSentEvent]: ...

    def sse_async(self, url: str | None = None, **arguments: Any) -> SessionOpening[Any]:
        """Open an event stream from asyncio, without blocking the event loop.

        Example:
            >>> async with client.sse_async(url) as session:  # doctest: +SKIP
            ...     async for event in session.incoming:
            ...         print(event.data)

        Args:
            url: The address.
            **arguments: As for ``sse``, except for ``block``.

        Returns:
            An object that opens the session. Use it in ``async with``, or await it. It raises the
            same errors as ``sse``. A task that is cancelled while it waits leaves nothing open.
        """
        from sse_client.session.opening import SessionOpening  # noqa: PLC0415  # it loads asyncio

        return SessionOpening(partial(self._prepare, url, **arguments))

    def _prepare(
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
        **options: Unpack[SSEOptions],
    ) -> SSESession[Any]:
        """Create a session that is not started yet. Does not block."""
        disown_if_forked()
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
            # Checked each time, because a greenlet library may be imported after the client.
            shared=self._shared if can_share() else None,
        )
        with self._lock:
            closed = self._sender.is_closed
            if not closed:
                self._readers.add(reader)
        if closed:
            session.close()
            self._sender.raise_if_closed()
        stream = StreamInfo(method.upper(), address, reader.name, reader.stream.statistics)
        reader.stream.observers.begin(self._plugins.stream_hooks(), stream)
        return session

    def close(self) -> None:
        """Close all sessions, the plugins, and the client's own ``requests`` session.

        Asks all sessions to stop, which takes a few tenths of a millisecond for each, and waits for
        them until a second after the call. An ``sse`` call that is still opening in another thread
        is aborted, and raises SessionClosedError. Can be called any number of times.
        """
        disown_if_forked()
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
                close_session(self._session)

    async def aclose(self) -> None:
        """Do the same as ``close``, without blocking the event loop."""
        import asyncio  # noqa: PLC0415  # whoever gets here has it

        await asyncio.to_thread(self.close)

    def disown(self) -> None:
        """Leave streams and idle connections to the parent, and use new ones in a forked child.

        A user's own ``requests.Session`` keeps its connections.
        """
        self._lock = threading.RLock()  # a thread that does not exist in the child may hold it
        self._readers = weakref.WeakSet()
        if self._owns_session:
            mount_adapters(self._session)
        renew_locks(self._session)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError(
            "an HttpClient cannot be pickled or copied: its connections belong to this process; "
            "create one there"
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

    async def __aenter__(self) -> HttpClient:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client, without blocking the event loop."""
        await self.aclose()
