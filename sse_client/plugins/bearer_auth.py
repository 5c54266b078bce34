"""The BearerAuth plugin: a token for all requests of a client, refreshed once for all of them.

Threads: any number of them send requests at the same time. Whoever needs a token that is not there
calls ``load`` or ``refresh`` itself, on its own thread; the others wait for that flight to land. A
wait looks up every now and then, whether its request is still wanted: closing a session or the
client ends it, while the flight goes on for the others.

There is no lock: a signal handler may send a request between any two steps of another, on the same
thread, and a process may fork there. Who flies is decided by ``dict.setdefault``, which is atomic:
each token has a place for the one flight that replaces it, and one that has landed stays there.

A request made by ``load`` or ``refresh`` itself, or by a signal handler meanwhile, on the same
thread, is not held up and carries no token: else it would wait for itself.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase
from requests.utils import get_auth_from_url

from sse_client.errors import ConnectionFailedError
from sse_client.http.causes import printable_cause, reason_of
from sse_client.plugins.registry import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.http.pending_request import PendingRequest

#: How long a thread waits for another's flight before it looks whether it still should, in seconds.
_LOOK_AGAIN = 0.1

#: What may stand behind "Bearer" (RFC 6750, section 2.1, and a little more that is in use).
_TOKEN = re.compile(r"[\x21-\x7e]+")

#: The statuses with which a token server refuses, and those among them that pass.
_REFUSALS = range(400, 500)
_PASSING = frozenset({408, 425, 429})


class BearerAuth(Plugin):
    """Sends a bearer token with each request (RFC 6750): ``client.install(BearerAuth, ...)``.

    ``load`` is called before the first request. When a response is 401, whether to a plain request
    or to any attempt of a stream, ``refresh`` is called, and the request is made and sent again at
    once; a second 401 is final. All requests of the client share the token: however many get a 401
    for the same one, ``refresh`` is called once. Thread-safe.

    The token goes to whatever address the client is asked for, so use a client for each service.
    An ``Authorization`` header, ``auth`` or the user info in the address of a request win over it
    (``headers={"Authorization": None}`` sends nothing); it wins over those of the session of
    requests and over ``.netrc``. It does not follow a redirect to another origin, whose 401 is
    final, as is one to a request whose data can be read only once.

    Example:
        >>> client.install(BearerAuth, load=read_token, refresh=fetch_token)  # doctest: +SKIP

    Args:
        load: Returns the token to begin with. Called once, unless it raises.
        refresh: Returns a new token. Both run on the thread of the request that needs it. They may
            send plain requests with the same client, on that same thread, which carry no token.

    What these raise fails the requests that wait for it with a ``ConnectionFailedError``: worth
    another attempt of a stream for an OSError, those of requests included; ``permanent`` for
    anything else, and for an HTTPError with a status that will not change by itself, as 400 for a
    refresh token that has expired.

    Raises:
        TypeError: An option is missing, or can't be called.
    """

    def __init__(self, *, load: Callable[[], str], refresh: Callable[[], str]) -> None:
        for name, option in {"load": load, "refresh": refresh}.items():
            if not callable(option):
                raise TypeError(f"{name} must be a callable, not {type(option).__name__}")
        self._load = load
        self._refresh = refresh
        self._token = _Token(self, None)

    def on_request(self, request: PendingRequest) -> None:
        """Add the token, unless the request says itself how it authenticates. May wait for it."""
        flight = self._token.flight
        if (flight is not None and flight.is_own) or _authenticates(request):
            return
        request.auth = self._token_other_than(None, request.raise_if_aborted)

    def on_unauthorized(self, request: PendingRequest, response: requests.Response) -> bool:
        """Refresh the token that was refused, unless that was done already. May wait for it."""
        refused: object = request.auth
        if not isinstance(refused, _Token) or refused.owner is not self:
            return False
        if response.request.headers.get("Authorization") != refused.header:
            return False  # a redirect has taken it away: it was not the token that was refused
        self._token_other_than(refused, request.raise_if_aborted)
        return True

    def _token_other_than(
        self, refused: _Token | None, raise_if_aborted: Callable[[], None]
    ) -> _Token:
        """Return the token; fetch it, or wait for it, if there is none but the refused one."""
        while True:
            raise_if_aborted()
            token = self._token
            own = _Flight("refresh" if token.is_there else "load")
            flight = token.flight
            if flight is None:
                if token.is_there and token is not refused:
                    return token
                flight = token.flights.setdefault(own.process, own)
            if flight is own:
                self._fetch(flight, token)
            else:
                flight.wait(raise_if_aborted)
            if flight.failure is not None:
                raise _failed(flight.name, flight.failure) from _printable(flight.failure)

    def _fetch(self, flight: _Flight, replaced: _Token) -> None:
        """Call the user's function, and let the flight land, whatever that does."""
        token: _Token | None = None
        try:
            value: object = self._load() if flight.name == "load" else self._refresh()
            token = _Token(self, _checked(flight.name, value))
        except Exception as error:  # noqa: BLE001  # raised by each that waits for the flight
            flight.failure = error
        finally:
            if token is None:
                del replaced.flights[flight.process]  # for another attempt
            else:
                self._token = token
            flight.landed.set()


class _Token(AuthBase):
    """A token, as requests takes it. Two that are equal are still not the same."""

    def __init__(self, owner: BearerAuth, value: str | None) -> None:
        self.owner = owner
        self.is_there = value is not None  # else there is none yet
        self.header = f"Bearer {value}"
        #: That which replaces it, by the process: one of a parent never lands in a forked child.
        self.flights: dict[int, _Flight] = {}

    @property
    def flight(self) -> _Flight | None:
        """The flight that replaces it, if one is under way, or has landed."""
        return self.flights.get(os.getpid())

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = self.header
        return prepared


class _Flight:
    """One call of ``load`` or ``refresh``, for which any number of threads may wait."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.landed = threading.Event()
        #: What it raised. If it was ended by something else, a waiting thread starts the next.
        self.failure: Exception | None = None
        self.process = os.getpid()
        self._thread = threading.get_ident()

    @property
    def is_own(self) -> bool:
        """Whether it is under way, on the current thread."""
        return self._thread == threading.get_ident() and not self.landed.is_set()

    def wait(self, raise_if_aborted: Callable[[], None]) -> None:
        """Block until it has landed, or the request that waits is not wanted any more."""
        while not self.landed.wait(_LOOK_AGAIN):
            raise_if_aborted()


def _authenticates(request: requests.Request) -> bool:
    """Whether a request says itself how it authenticates, or that it does not."""
    headers: Any = request.headers or {}
    if request.auth is not None or any(name.lower() == "authorization" for name in headers):
        return True
    try:
        return any(get_auth_from_url(request.url or ""))
    except ValueError:
        return False  # an address that will be refused in a moment


def _checked(name: str, token: object) -> str:
    if not isinstance(token, str):
        raise TypeError(f"{name}() must return a str, not {type(token).__name__}")
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{name}() must return printable ASCII without blanks")
    return token


def _failed(name: str, cause: Exception) -> ConnectionFailedError:
    status = None
    if isinstance(cause, requests.HTTPError) and cause.response is not None:
        status = cause.response.status_code
    is_final = not isinstance(cause, OSError) or (status in _REFUSALS and status not in _PASSING)
    reason = reason_of(cause) if isinstance(cause, OSError) else type(cause).__name__
    return ConnectionFailedError(
        f"no bearer token: {name}() failed: {reason}{'' if status is None else f' {status}'}",
        permanent=is_final,
    )


def _printable(cause: Exception) -> BaseException | None:
    """Return the cause to chain: no error of requests, which might spell out an address."""
    return printable_cause(cause) if isinstance(cause, OSError) else cause
