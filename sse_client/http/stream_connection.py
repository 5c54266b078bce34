"""One attempt to open a stream, and the connection that results from it.

``pools`` and ``abortable_connections`` create the connection, ``response_check`` accepts or refuses
the response, and ``stream_body`` reads the body. Another thread can abort all of this through
``aborting``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import requests
from requests.exceptions import InvalidJSONError
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

from sse_client.clock import SYSTEM_CLOCK, Deadline
from sse_client.http.abortable_connections import watched_by
from sse_client.http.aborting import AbortableSocket
from sse_client.http.address import check_url
from sse_client.http.causes import (
    cannot_be_sent,
    connection_failed,
    making_request,
    printable_cause,
    root_cause,
)
from sse_client.http.headers import check_headers, header_error, set_stream_headers
from sse_client.http.niquests import close_response, socket_of
from sse_client.http.own_errors import OwnErrors
from sse_client.http.pools import keep_out_of_pool, watch_pool
from sse_client.http.redirects import check_target, keep_secrets_from_others, location_url
from sse_client.http.response_check import ResponseRules, check_response, read_body
from sse_client.http.response_head import (
    bounded_response_of,
    shut_down_connection_of,
    was_given_back,
)
from sse_client.http.stream_body import StreamBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sse_client.clock import Clock
    from sse_client.http.pending_request import PendingRequest
    from sse_client.http.request import SendOptions, Timeout

#: How long the header of a response may take by default, in seconds. It is long, because some
#: servers send the header only with the first event. Firefox uses the same limit.
DEFAULT_HEADER_TIMEOUT = 300.0


#: The timeout after a deadline, in seconds, because a timeout of 0 is refused.
_LEAST_TIMEOUT = 0.001


class StreamConnection:
    """One attempt to open a stream, and the resulting connection.

    One thread calls ``open``, ``body`` and ``close``, in that order. Any thread may call ``abort``.

    Args:
        session: The ``requests`` session to send with.
        make_request: Creates the request, and calls its callable values. Its argument is a function
            that raises an error if the connection was aborted.
        options: How to send the request.
        on_response: Called with the response before it is checked.
        on_unauthorized: Called with the request and the response if that is a 401. Returns whether
            to create and send the request once more.
        on_unverified: Called with the host if ``verify=False`` skipped the check of a certificate.
        clock: Measures its waits. Waits on a socket use the system's clock.
    """

    __slots__ = (
        *("_arrived", "_body", "_clock", "_edit_request", "_make_request", "_on_response"),
        *("_on_unauthorized", "_options", "_own_errors", "_proxy", "_raise_if_aborted"),
        *("_response", "_rules", "_session", "_socket", "_taken"),
    )

    def __init__(
        self,
        session: requests.Session,
        make_request: Callable[[Callable[[], None]], PendingRequest],
        options: SendOptions,
        on_response: Callable[[requests.Response], None],
        on_unauthorized: Callable[[PendingRequest, requests.Response], bool],
        *,
        on_unverified: Callable[[str], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._session = session
        self._make_request = make_request
        self._options = options
        self._on_response = on_response
        self._on_unauthorized = on_unauthorized
        self._clock = clock
        self._response: requests.Response | None = None
        self._taken: Any = None
        self._arrived: requests.Response | None = None
        self._body: StreamBody | None = None
        self._proxy: str | None = None
        self._rules = ResponseRules()
        self._own_errors = OwnErrors()
        self._socket = AbortableSocket(on_unverified, clock)
        self._raise_if_aborted = self._socket.raise_if_aborted

    def open(
        self,
        last_event_id: str,
        rules: ResponseRules,
        *,
        header_timeout: float | None,
        time_left: float | None,
        on_request: Callable[[PendingRequest], None],
    ) -> requests.Response:
        """Send the request and wait for the header of the response. Blocks.

        Args:
            last_event_id: The ID to send, or ``""`` for none.
            rules: Which responses are accepted.
            header_timeout: How long the whole header may take, in seconds. The read part of
                ``timeout`` also limits it. If neither is set, there is a default.
            time_left: How long the whole call may take, in seconds. None means no limit.
            on_request: Called with the request, which it may change.

        Returns:
            A response with status 204, or with status 200 and an event stream.

        Raises:
            ConnectionFailedError: There was no response.
            UnexpectedStatusError, UnexpectedContentTypeError: There was another response.
            ConnectionAborted: ``abort`` was called.
            ValueError: The request cannot be sent.
            Exception: Any other error of the user's callables.
        """
        self._rules = rules
        self._edit_request = on_request
        deadline = None if time_left is None else Deadline.after(time_left, self._clock)
        limits = [self._options.read_timeout, header_timeout, time_left]
        # On a test's clock the default would be an additional wait that the test does not expect.
        default = DEFAULT_HEADER_TIMEOUT if self._clock is SYSTEM_CLOCK else None
        self._socket.header_timeout = min((limit for limit in limits if limit), default=default)
        request, response = self._exchange(last_event_id, deadline)
        if response.status_code == 401:
            # Getting a new token may take long, and the connection may serve another request by
            # then.
            self.close()
            with making_request():
                is_repeated = self._on_unauthorized(request, response)
            if is_repeated:
                _, response = self._exchange(last_event_id, deadline)
        try:
            check_response(response, rules, self._bound_of(response), self._clock)
        finally:
            self._raise_if_aborted()
        # With their arguments these take 600 bytes, and the connection may stay open for months.
        del self._make_request, self._edit_request, self._on_response, self._on_unauthorized
        return response

    def _exchange(
        self, last_event_id: str, deadline: Deadline | None
    ) -> tuple[PendingRequest, requests.Response]:
        """Create the request, send it, and wait for the header of any response."""
        request, prepared = self._prepare(last_event_id)
        hooks: Any = prepared.hooks
        own_hooks = hooks.get("response", [])
        keep_secrets_from_others(self._session, prepared, request.private_headers)
        try:
            with watched_by(self._socket), self._responses_closed_on_error():
                response = self._send(prepared, deadline)
        except (requests.RequestException, HTTPError, OSError) as error:
            self._raise_if_aborted()
            raise connection_failed(
                error, prepared.url or "", was_sent=self._socket.was_sent, proxy=self._proxy
            ) from printable_cause(error)
        except ValueError as error:
            if self._own_errors.take(error):
                raise  # from a hook
            # A header that an auth or a cookie has set. The message would show it.
            named = header_error(prepared.headers)
            raise named or cannot_be_sent(error, prepared.url or "") from None
        finally:
            # The response keeps its request, which would keep these as long as the stream is open.
            hooks["response"] = own_hooks
        self._adopt(response)
        self._raise_if_aborted()
        self._on_response(response)
        return request, response

    def _prepare(self, last_event_id: str) -> tuple[PendingRequest, requests.PreparedRequest]:
        with making_request():
            request = self._make_request(self._raise_if_aborted)
            set_stream_headers(request, self._session, last_event_id)
            self._edit_request(request)
        url = request.url or ""
        check_url(url)
        headers: Any = CaseInsensitiveDict(self._session.headers)
        headers.update(request.headers or {})
        check_headers(headers)
        try:
            prepared = self._prepared(request)
        except ValueError as error:
            if self._own_errors.take(error):
                raise
            # An address or an auth is refused. The message would show it.
            raise cannot_be_sent(error, url) from None
        except InvalidJSONError as error:
            raise ValueError(f"json cannot be encoded: {root_cause(error)}") from None
        except (requests.RequestException, OSError) as error:
            raise connection_failed(error, url) from printable_cause(error)
        return request, prepared

    def _prepared(self, request: PendingRequest) -> requests.PreparedRequest:
        """Prepare a request, and record the errors of a user's auth or iterator."""
        given, data = request.auth, request.data
        auth: Any = given or self._session.auth
        if callable(auth):
            request.auth = self._own_errors.noted(auth)
        if hasattr(data, "__next__") and not hasattr(data, "read"):
            request.data = self._own_errors.noted_iterator(data)
        try:
            return self._session.prepare_request(request)
        finally:
            request.auth, request.data = given, data

    def _send(
        self, prepared: requests.PreparedRequest, deadline: Deadline | None
    ) -> requests.Response:
        """Send, and follow redirects as requests does, but one by one to watch each connection."""
        session, options = self._session, self._options
        hooks: Any = prepared.hooks
        bound = self._bound_redirect_body
        # After each hook, because it may have sent another request, as an auth does.
        noted = map(self._own_errors.noted, hooks.get("response", ()))
        own = [step for hook in noted for step in (hook, self._note_arrived)]
        hooks["response"] = [bound, *own, bound]
        history: list[requests.Response] = []
        while True:
            settings: Any = session.merge_environment_settings(
                prepared.url or "",
                proxies=dict(options.proxies or {}),
                stream=True,
                verify=options.verify,
                cert=options.cert,
            )
            self._proxy = select_proxy(prepared.url or "", settings["proxies"])
            self._socket.was_sent = not watch_pool(session, prepared, settings)
            self._raise_if_aborted()
            timeout = _shortened(options.timeout, deadline)
            response = session.send(prepared, timeout=timeout, allow_redirects=False, **settings)
            response.history = history[:]
            following = response.next if options.allow_redirects else None
            if following is None:
                return response
            history.append(response)
            if len(history) > session.max_redirects:
                raise requests.TooManyRedirects(f"more than {session.max_redirects} redirects")
            authorization = prepared.headers.get("Authorization")
            strips_auth: Any = session.should_strip_auth
            if authorization and not strips_auth(prepared.url, following.url):
                # It also takes precedence over a .netrc, which requests checks for each redirect.
                following.headers["Authorization"] = authorization
            # A proxy's pool adds its own. requests adds it even without a next proxy.
            following.headers.pop("Proxy-Authorization", None)
            following.url = location_url(following.url or "")
            prepared = following

    @contextlib.contextmanager
    def _responses_closed_on_error(self) -> Iterator[None]:
        """Close the response that has arrived if a user's hook raises an error."""
        try:
            yield
        except BaseException:
            if self._arrived is not None:
                shut_down_connection_of(self._arrived.raw)
                self._arrived.close()
            raise

    def _note_arrived(self, response: requests.Response, **_: object) -> None:
        self._arrived = response

    def _bound_redirect_body(self, response: requests.Response, **_: object) -> None:
        # requests would read all of it without limits of size and time. So does an auth that
        # responds to a challenge on the same connection.
        self._arrived = response
        if response.is_redirect:
            taken = keep_out_of_pool(response.raw)
            try:
                self._read_bound(response)
            finally:
                close_response(response.raw, taken)
            check_target(self._session, response)
        elif response.status_code in {401, 407}:
            self._read_bound(response)

    def _read_bound(self, response: requests.Response) -> None:
        read_body(response, self._rules, self._bound_of(response), self._clock)
        self._forget_if_given_back(response.raw)

    def _adopt(self, response: requests.Response) -> None:
        """Set the response that is read, aborted and closed."""
        self._response = response
        raw: Any = response.raw
        self._taken = keep_out_of_pool(raw)
        # The response's own socket, because a hook may have sent other requests in between.
        self._socket.adopt(socket_of(raw))
        self._forget_if_given_back(raw)

    def _forget_if_given_back(self, raw: Any) -> None:
        """Forget a connection whose body was read to its end: another thread may be using it."""
        if was_given_back(raw):
            self._socket.forget()

    def body(self) -> StreamBody:
        """Return the body of the response, which must not have been read."""
        response = self._response
        assert response is not None, "open comes first"
        self._body = StreamBody(
            response,
            self._options.read_timeout,
            self._bound_of(response),
            self._raise_if_aborted,
            self._clock,
        )
        return self._body

    def abort(self) -> None:
        """Stop the thread that works on the connection. Thread-safe. Does not block.

        That thread gets ``ConnectionAborted``, at once unless it is in the system's resolver.
        """
        self._socket.abort()

    def disown(self) -> None:
        """Leave the connection to the parent in a forked child. Never blocks."""
        self._socket.disown()

    def close(self) -> None:
        """Free the socket and all other resources. Only the reading thread calls this."""
        raw = None if self._response is None else self._response.raw
        taken, self._taken = self._taken, None
        # Shut down first, because a forked child may have a copy. A connection of urllib3-future
        # also sends a goodbye when it is closed, which must not block. If its pool kept it, the
        # next attempt would be another HTTP/2 stream on it.
        self._socket.release()
        if self._body is not None:
            self._body.close()
        if raw is not None:
            with contextlib.suppress(OSError, HTTPError):
                close_response(raw, taken)
                # A blocking pool of urllib3-future needs its place back. Another library's ``raw``
                # has no pool.
                getattr(raw, "release_conn", lambda: None)()

    def _bound_of(self, response: requests.Response) -> Callable[[float], None]:
        """Return a function that limits how long reads may wait from then on, in seconds."""
        bounded = bounded_response_of(response.raw)
        return self._limit_wait if bounded is None else bounded.arrivals.read_within

    def _limit_wait(self, seconds: float) -> None:
        self._socket.limit_wait(min(seconds, self._options.read_timeout or seconds))


def _shortened(timeout: Timeout, deadline: Deadline | None) -> Timeout:
    """Return a timeout of requests that ends by a deadline."""
    if deadline is None:
        return timeout
    left = max(deadline.seconds_left(), _LEAST_TIMEOUT)
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return min(connect or left, left), min(read or left, left)
