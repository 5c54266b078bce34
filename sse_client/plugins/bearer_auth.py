"""The BearerAuth plugin: a token for all requests of a client, refreshed once for all of them.

Any number of threads may send requests at the same time. The first thread that needs a missing
token calls ``load`` or ``refresh`` itself. The others wait for that call to finish (single-call).
They check from time to time whether their request has been cancelled, because closing a session or
the client must end the wait. The call continues for the other threads.

There is no lock, because a signal handler may send a request between any two steps of another, on
the same thread, and a process may fork there. ``dict.setdefault``, which is atomic, decides which
thread makes the call. Each token keeps the one call that replaces it, even after that has finished.

A request that ``load`` or ``refresh`` sends, or that a signal handler sends on the same thread in
the meantime, carries no token. Otherwise it would wait for itself.
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

#: How often a waiting thread checks whether its request has been cancelled, in seconds.
_LOOK_AGAIN = 0.1

#: What may follow "Bearer" (RFC 6750, section 2.1, and some other characters in use).
_TOKEN = re.compile(r"[\x21-\x7e]+")

#: The statuses with which a token server refuses, and the temporary ones among them.
_REFUSALS = range(400, 500)
_PASSING = frozenset({408, 425, 429})


class BearerAuth(Plugin):
    """Sends a bearer token with each request (RFC 6750): ``client.install(BearerAuth, ...)``.

    ``load`` is called before the first request. If the response to a plain request or to an attempt
    of a stream is a 401, ``refresh`` is called, and the request is created and sent again at once.
    A second 401 is final. All requests of the client share the token: ``refresh`` is called once,
    even if many requests get a 401 for the same token. Thread-safe.

    The token is sent to every address, so use a separate client for each service. An
    ``Authorization`` header, ``auth`` or user info in the address of a request takes precedence
    over the token (``headers={"Authorization": None}`` sends nothing). The token takes precedence
    over those of the ``requests`` session and over ``.netrc``. It does not follow a redirect to
    another origin. A 401 from there is final, and so is a 401 to a request whose data can be read
    only once.

    Example:
        >>> client.install(BearerAuth, load=read_token, refresh=fetch_token)  # doctest: +SKIP

    Args:
        load: Returns the first token. Called once, unless it raises an error.
        refresh: Returns a new token. Both run on the thread of the request that needs the token.
            They may send plain requests with the same client on that thread. These carry no token.

    If one of these raises an error, the waiting requests fail with a ``ConnectionFailedError``. A
    stream tries again after an OSError, such as an error of requests. Any other error is
    ``permanent``, and so is an HTTPError with a status that will not change by itself, such as 400
    for an expired refresh token.

    Raises:
        TypeError: An option is missing, or is not callable.
    """

    def __init__(self, *, load: Callable[[], str], refresh: Callable[[], str]) -> None:
        for name, option in {"load": load, "refresh": refresh}.items():
            if not callable(option):
                raise TypeError(f"{name} must be a callable, not {type(option).__name__}")
        self._load = load
        self._refresh = refresh
        self._token = _Token(self, None)

    def on_request(self, request: PendingRequest) -> None:
        """Add the token, unless the request has its own authentication. May wait for the token."""
        call = self._token.call
        if (call is not None and call.is_own) or _authenticates(request):
            return
        request.auth = self._token_other_than(None, request.raise_if_aborted)

    def on_unauthorized(self, request: PendingRequest, response: requests.Response) -> bool:
        """Refresh the refused token, unless that was already done. May wait for the new token."""
        refused: object = request.auth
        if not isinstance(refused, _Token) or refused.owner is not self:
            return False
        if response.request.headers.get("Authorization") != refused.header:
            return False  # a redirect has removed the token, so it was not refused
        self._token_other_than(refused, request.raise_if_aborted)
        return True

    def _token_other_than(
        self, refused: _Token | None, raise_if_aborted: Callable[[], None]
    ) -> _Token:
        """Return a token that was not refused. Fetch it or wait for it if necessary."""
        while True:
            raise_if_aborted()
            token = self._token
            own = _Call("refresh" if token.is_there else "load")
            call = token.call
            if call is None:
                if token.is_there and token is not refused:
                    return token
                call = token.calls.setdefault(own.process, own)
            if call is own:
                self._fetch(call, token)
            else:
                call.wait(raise_if_aborted)
            if call.failure is not None:
                raise _failed(call.name, call.failure) from _printable(call.failure)

    def _fetch(self, call: _Call, replaced: _Token) -> None:
        """Call the user's function, and finish the call in any case."""
        token: _Token | None = None
        try:
            value: object = self._load() if call.name == "load" else self._refresh()
            token = _Token(self, _checked(call.name, value))
        except Exception as error:  # noqa: BLE001  # each waiting thread raises it
            call.failure = error
        finally:
            if token is None:
                del replaced.calls[call.process]  # for another attempt
            else:
                self._token = token
            call.done.set()


class _Token(AuthBase):
    """A token as an auth of requests. Equal tokens are still distinct."""

    def __init__(self, owner: BearerAuth, value: str | None) -> None:
        self.owner = owner
        self.is_there = value is not None
        self.header = f"Bearer {value}"
        #: The call that replaces it, by process: a parent's call never finishes in a forked child.
        self.calls: dict[int, _Call] = {}

    @property
    def call(self) -> _Call | None:
        """The call that replaces this token, in progress or finished, or None."""
        return self.calls.get(os.getpid())

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = self.header
        return prepared


class _Call:
    """One call to ``load`` or ``refresh``, for which any number of threads may wait."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = threading.Event()
        #: Its error. If the call ends without a token or an error, a waiting thread starts another.
        self.failure: Exception | None = None
        self.process = os.getpid()
        self._thread = threading.get_ident()

    @property
    def is_own(self) -> bool:
        """Whether it is in progress on the current thread."""
        return self._thread == threading.get_ident() and not self.done.is_set()

    def wait(self, raise_if_aborted: Callable[[], None]) -> None:
        """Block until it has finished, or the waiting request is cancelled."""
        while not self.done.wait(_LOOK_AGAIN):
            raise_if_aborted()


def _authenticates(request: requests.Request) -> bool:
    """Whether a request has its own authentication, or explicitly none."""
    headers: Any = request.headers or {}
    if request.auth is not None or any(name.lower() == "authorization" for name in headers):
        return True
    try:
        return any(get_auth_from_url(request.url or ""))
    except ValueError:
        return False  # the address will be refused later


def _checked(name: str, token: object) -> str:
    if not isinstance(token, str):
        raise TypeError(f"{name}() must return a str, not {type(token).__name__}")
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{name}() must return printable ASCII without spaces")
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
    """Return the cause to chain, but no error of requests that might contain an address."""
    return printable_cause(cause) if isinstance(cause, OSError) else cause
