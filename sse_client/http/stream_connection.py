"""One attempt to open a stream, and the connection that results from it.

``pools`` and ``abortable_connections`` make that connection, ``response_check`` accepts or refuses
the response, and ``body`` reads what arrives. Another thread can abort all of it through
``aborting``.
"""

from __future__ import annotations

import contextlib
import errno
import math
from typing import TYPE_CHECKING, Any, Protocol

import requests
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, ReadTimeoutError

from sse_client.clock import SYSTEM_CLOCK, Deadline
from sse_client.errors import IdleTimeoutError
from sse_client.http.abortable_connections import watched_by
from sse_client.http.aborting import AbortableSocket
from sse_client.http.address import check_url
from sse_client.http.body import body_reader
from sse_client.http.causes import (
    cannot_be_sent,
    connection_failed,
    making_request,
    printable_cause,
    redact_url,
    root_cause,
    stream_interrupted,
)
from sse_client.http.headers import check_headers, header_error, set_stream_headers
from sse_client.http.niquests import close_response, socket_of
from sse_client.http.pools import keep_out_of_pool, watch_pool
from sse_client.http.private_names import is_of_urllib3_future
from sse_client.http.redirects import check_target, keep_secrets_from_others, location_url
from sse_client.http.response_check import ResponseRules, check_response, read_body
from sse_client.http.response_head import bounded_response_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sse_client.clock import Clock
    from sse_client.http.pending_request import PendingRequest
    from sse_client.http.request import SendOptions, Timeout

#: How long the header of a response may take, in seconds, where no option says so. Generous, since
#: some servers send it with the first event alone; Firefox waits as long.
DEFAULT_HEADER_TIMEOUT = 300.0


#: What is left of a time that is over, in seconds: a timeout of 0 is refused.
_LEAST_TIMEOUT = 0.001


class ReadLimits(Protocol):
    """By when the reading of a stream must be over."""

    @property
    def deadline(self) -> float | None:
        """The moment on the clock's ``monotonic``; None for none. It may move between reads."""

    def error(self, response: requests.Response) -> Exception:
        """Return what to raise once the moment has passed."""


class StreamConnection:
    """One attempt to open a stream, and the connection that comes of it.

    ``open``, ``chunks`` and ``close`` are for one thread, in that order; ``abort`` is for any.

    Args:
        session: The session of requests to send with.
        make_request: Called to describe the request, so that callable values are called. It is
            given a function that raises once the connection was aborted.
        options: How to send it.
        on_response: Called with the response before it is looked at.
        on_unauthorized: Called with the request and the response if that is 401; says whether to
            make and send the request once more.
        on_unverified: Called with the host if a certificate is not verified, as was asked for.
        clock: What its waits are measured with. A socket's own run on the system's time.
    """

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
        self._taken_connection: object = None
        self._arrived: requests.Response | None = None
        self._proxy: str | None = None
        self._rules = ResponseRules()
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
            last_event_id: The ID to send, ``""`` for none.
            rules: Which responses are accepted.
            header_timeout: How long the whole header may take, in seconds; the read part of the
                ``timeout`` limits it, too. Without both there is a default.
            time_left: How long all of it may take, in seconds; None for any time.
            on_request: Called with the request, which it may change.

        Returns:
            A response with status 204, or one with 200 and an event stream.

        Raises:
            ConnectionFailedError: There was no response.
            UnexpectedStatusError, UnexpectedContentTypeError: There was another.
            ConnectionAborted: ``abort`` was called.
            ValueError: The request can't be sent as it is.
            Exception: Whatever else the user's own callables raised.
        """
        self._rules = rules
        self._edit_request = on_request
        deadline = None if time_left is None else Deadline.after(time_left, self._clock)
        limits = [self._options.read_timeout, header_timeout, time_left]
        # On the clock of a test the default would be one more wait, which nobody has asked for.
        default = DEFAULT_HEADER_TIMEOUT if self._clock is SYSTEM_CLOCK else None
        self._socket.header_timeout = min((limit for limit in limits if limit), default=default)
        request, response = self._exchange(last_event_id, deadline)
        if response.status_code == 401:
            # A new token may take its time, and the connection may serve somebody else by then.
            self.close()
            with making_request():
                is_repeated = self._on_unauthorized(request, response)
            if is_repeated:
                _, response = self._exchange(last_event_id, deadline)
        try:
            check_response(response, rules, self._bound_of(response), self._clock)
        finally:
            self._raise_if_aborted()
        return response

    def _exchange(
        self, last_event_id: str, deadline: Deadline | None
    ) -> tuple[PendingRequest, requests.Response]:
        """Make the request, send it, and wait for the header of the response, whatever it is."""
        request, prepared = self._prepare(last_event_id)
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
            # A header that an auth or a cookie has set; the message would spell it out.
            named = header_error(prepared.headers)
            raise named or cannot_be_sent(error, prepared.url or "") from None
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
            prepared = self._session.prepare_request(request)
        except ValueError as error:
            # An address or an auth that is refused; the message would spell it out.
            raise cannot_be_sent(error, url) from None
        except (requests.RequestException, OSError) as error:
            raise connection_failed(error, url) from printable_cause(error)
        return request, prepared

    def _send(
        self, prepared: requests.PreparedRequest, deadline: Deadline | None
    ) -> requests.Response:
        """Send, and follow redirects as requests does, one at a time to watch each connection."""
        session, options = self._session, self._options
        hooks: Any = prepared.hooks
        bound = self._bound_redirect_body
        # After each hook, which may have sent another request, as an auth does.
        own = [step for hook in hooks.get("response", ()) for step in (hook, self._note_arrived)]
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
                # Here, too, it wins over a .netrc, which requests asks for each redirect.
                following.headers["Authorization"] = authorization
            # The pool of a proxy adds its own; requests adds it also where no proxy comes next.
            following.headers.pop("Proxy-Authorization", None)
            following.url = location_url(following.url or "")
            prepared = following

    @contextlib.contextmanager
    def _responses_closed_on_error(self) -> Iterator[None]:
        """Close what has arrived if a hook of the user's own raises."""
        try:
            yield
        except BaseException:
            if self._arrived is not None:
                self._arrived.close()
            raise

    def _note_arrived(self, response: requests.Response, **_: object) -> None:
        self._arrived = response

    def _bound_redirect_body(self, response: requests.Response, **_: object) -> None:
        # requests would read all of it, of whatever size, in whatever time; and so does an auth
        # that responds to a challenge on the same connection.
        self._arrived = response
        if response.is_redirect or response.status_code in {401, 407}:
            read_body(response, self._rules, self._bound_of(response), self._clock)
        if response.is_redirect:
            close_response(response.raw, keep_out_of_pool(response.raw))
            check_target(self._session, response)

    def _adopt(self, response: requests.Response) -> None:
        """Make the response the one that is read, aborted and closed."""
        self._response = response
        raw: Any = response.raw
        self._taken_connection = keep_out_of_pool(raw)
        # The response's own: a hook may have sent other requests in between.
        self._socket.adopt(socket_of(raw))

    def chunks(self, limits: ReadLimits) -> Iterator[bytes]:
        """Yield what arrives, as soon as it does. Blocks in between.

        Args:
            limits: By when the reading must be over, asked before each read.

        Raises:
            StreamInterruptedError: The connection broke off.
            IdleTimeoutError: Nothing came for too long.
            ConnectionAborted: ``abort`` was called.
            Exception: What ``limits`` raises once its deadline has passed.
        """
        response = self._response
        assert response is not None, "open comes first"
        read = body_reader(response.raw)
        read_within = self._bound_of(response)
        left = math.inf  # until the deadline
        try:
            while True:
                deadline = limits.deadline
                if deadline is not None:
                    left = deadline - self._clock.monotonic()
                    if left <= 0:
                        raise limits.error(response)
                    read_within(left)
                chunk = read()
                self._raise_if_aborted()
                if not chunk:
                    return
                yield chunk
        except (HTTPError, OSError) as error:
            self._raise_if_aborted()
            # The verdict of TCP keep-alive is a TimeoutError, too, but none of ours.
            is_ours = getattr(root_cause(error), "errno", None) != errno.ETIMEDOUT
            if isinstance(error, ReadTimeoutError | TimeoutError) and is_ours:
                read_timeout = self._options.read_timeout
                deadline = limits.deadline
                if deadline is not None:
                    # The read may have waited several times, each for no longer than that.
                    is_over = deadline <= self._clock.monotonic()
                    if is_over or left <= (read_timeout or left):
                        raise limits.error(response) from error
                timeout = read_timeout or 0.0
                raise IdleTimeoutError(
                    f"no bytes came from {redact_url(response.url)} for {timeout:g} s",
                    timeout=timeout,
                    waited_for="bytes",
                    response=response,
                ) from error
            raise stream_interrupted(error, response) from printable_cause(error)

    def abort(self) -> None:
        """Make the thread that works on the connection stop. Thread-safe, and does not block.

        It ends with ``ConnectionAborted``, at once unless it is in the system's resolver.
        """
        self._socket.abort()

    def close(self) -> None:
        """Free the socket and all else. For the thread that reads."""
        raw = None if self._response is None else self._response.raw
        # That of urllib3-future says goodbye when it is closed, which must not block; and where its
        # pool keeps it, the next attempt would be another stream of HTTP/2 on it.
        self._socket.release(shuts_down=is_of_urllib3_future(raw))
        if raw is not None:
            with contextlib.suppress(OSError, HTTPError):
                close_response(raw, self._taken_connection)
                # A pool that blocks wants its place back; a foreign raw has no pool.
                getattr(raw, "release_conn", lambda: None)()

    def _bound_of(self, response: requests.Response) -> Callable[[float], None]:
        """Return a function that sets for how many seconds from then on reads may wait."""
        bounded = bounded_response_of(response.raw)
        return self._limit_wait if bounded is None else bounded.arrivals.read_within

    def _limit_wait(self, seconds: float) -> None:
        self._socket.limit_wait(min(seconds, self._options.read_timeout or seconds))


def _shortened(timeout: Timeout, deadline: Deadline | None) -> Timeout:
    """Return a timeout of requests that does not reach beyond a deadline."""
    if deadline is None:
        return timeout
    left = max(deadline.seconds_left(), _LEAST_TIMEOUT)
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return min(connect or left, left), min(read or left, left)
