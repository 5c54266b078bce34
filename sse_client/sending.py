"""Sends the requests of a client through its ``requests`` session and its plugins."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import InsecureRequestWarning

from sse_client.errors import SessionClosedError
from sse_client.http.redirects import keep_secrets_from_others
from sse_client.http.stream_connection import StreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from sse_client.clock import Clock
    from sse_client.http.pending_request import PendingRequest
    from sse_client.http.request import RequestDescription, SendOptions
    from sse_client.plugins.registry import PluginRegistry

_UNAUTHORIZED = 401


class Sender:
    """Creates requests from descriptions, passes them to the plugins, and sends them. Thread-safe.

    Args:
        session: The ``requests`` session to send with.
        plugins: The plugins that see each request and each response.
        clock: Measures the waits of streams.

    Attributes:
        is_closed: Set once nothing may be sent.
    """

    def __init__(self, session: requests.Session, plugins: PluginRegistry, clock: Clock) -> None:
        self.is_closed = False
        self._session = session
        self._plugins = plugins
        self._clock = clock
        # Only one thread gets this and warns, because ``pop`` is atomic.
        self._warning = ["the certificate of {} is not verified, so anybody may be the server; "]

    def raise_if_closed(self) -> None:
        """Raise SessionClosedError if nothing may be sent."""
        if self.is_closed:
            raise SessionClosedError("the client is closed")

    def send(self, description: RequestDescription, options: SendOptions) -> requests.Response:
        """Send a plain request, and repeat it if a plugin asks for that after a 401. Blocks."""
        request, response = self._exchange(description, options)
        if response.status_code == _UNAUTHORIZED and self._repeats(description, request, response):
            _, response = self._exchange(description, options)
        return response

    def connection(self, description: RequestDescription, options: SendOptions) -> StreamConnection:
        """Return a new connection, for one attempt to open a stream. Does not block."""
        return StreamConnection(
            self._session,
            partial(self._describe, description),
            options,
            self._plugins.on_response,
            partial(self._repeats, description),
            on_unverified=self._warn_unverified,
            clock=self._clock,
        )

    def _exchange(
        self, description: RequestDescription, options: SendOptions
    ) -> tuple[PendingRequest, requests.Response]:
        session = self._session
        request = self._describe(description, self.raise_if_closed)
        prepared = session.prepare_request(request)
        keep_secrets_from_others(session, prepared, request.private_headers)
        settings: Any = session.merge_environment_settings(
            prepared.url or "",
            dict(options.proxies or {}),
            stream=False,
            verify=options.verify,
            cert=options.cert,
        )
        response = session.send(
            prepared, timeout=options.timeout, allow_redirects=options.allow_redirects, **settings
        )
        self._plugins.on_response(response)
        return request, response

    def _describe(
        self, description: RequestDescription, raise_if_aborted: Callable[[], None]
    ) -> PendingRequest:
        """Create a request, and pass it to the plugins."""
        request = description.make(raise_if_aborted)
        self._plugins.on_request(request)
        names = {name.lower() for name in (*(request.headers or {}), *self._session.headers)}
        if request.auth is None and not self._session.auth and "authorization" in names:
            # Otherwise requests would prefer the credentials of a .netrc file.
            request.auth = _leave_as_it_is
        return request

    def _repeats(
        self, description: RequestDescription, request: PendingRequest, response: requests.Response
    ) -> bool:
        """Return whether to repeat a request whose response was a 401."""
        return not description.is_made_once and self._plugins.on_unauthorized(request, response)

    def _warn_unverified(self, host: str) -> None:
        """Warn about ``verify=False`` only once, because a stream may reconnect for months."""
        try:
            message = self._warning.pop().format(host)
        except IndexError:
            return
        warnings.warn(
            f"{message}this client does not warn again", InsecureRequestWarning, stacklevel=2
        )


def _leave_as_it_is(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    return prepared
