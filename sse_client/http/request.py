"""What to send and how: the arguments of requests. Each attempt makes its own request of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from sse_client.http.causes import name_of
from sse_client.http.headers import check_headers, check_names
from sse_client.http.pending_request import PendingRequest, private_names, resolve_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from http.cookiejar import CookieJar

    import requests
    from requests.auth import AuthBase

    Text = str | bytes
    Scalar = Text | float | None
    Value = Scalar | Callable[[], Scalar]
    Headers = Mapping[str, Text | Callable[[], Text | None] | None]
    Params = Mapping[str, Value | Sequence[Text]] | Sequence[tuple[str, Value]] | Text
    Auth = tuple[str, str] | AuthBase | Callable[[requests.PreparedRequest], Any]
    Cookies = Mapping[str, str] | CookieJar
    Proxies = Mapping[str, str]
    Certificate = str | tuple[str, str]

    class RequestArguments(TypedDict, total=False):
        """The arguments of a request, for type checkers."""

        params: Params | None
        headers: Headers | None
        data: object
        json: object
        auth: Auth | None
        cookies: Cookies | None
        proxies: Proxies | None
        verify: bool | str | None
        cert: Certificate | None
        timeout: Timeout
        allow_redirects: bool


Timeout = float | tuple[float | None, float | None] | None

#: The parts of ``auth`` (user, password), ``timeout`` (connect, read) and ``cert`` with its key.
_PAIR = 2


@dataclass(repr=False)
class RequestDescription:
    """What to send, from which each attempt makes its own request. For one thread at a time."""

    method: str
    url: str
    params: Any = None
    headers: Headers | None = None
    data: Any = None
    json: Any = None
    auth: Any = None
    cookies: Any = None
    _was_made: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Check what would else be refused later, and without its name."""
        if self.headers is not None and not isinstance(self.headers, Mapping):
            raise TypeError(f"headers must be a mapping, not {type(self.headers).__name__}")
        check_names(self.headers)
        is_pair = isinstance(self.auth, tuple) and len(self.auth) == _PAIR
        if self.auth is not None and not is_pair and not callable(self.auth):
            wanted = "a pair (user, password), a callable or None"
            raise TypeError(f"auth must be {wanted}, not {type(self.auth).__name__}")

    def __repr__(self) -> str:
        """Name the method and the host: all else may be secret."""
        return f"<RequestDescription {self.method} {name_of(self.url)}>"

    @property
    def is_made_once(self) -> bool:
        """Whether the data can be read only once: a file, or an iterator."""
        return hasattr(self.data, "read") or hasattr(self.data, "__next__")

    def make(self, raise_if_aborted: Callable[[], None]) -> PendingRequest:
        """Make a request, calling each callable again.

        Args:
            raise_if_aborted: Raises once the request is no longer wanted.

        Raises:
            ValueError: The data was read already, or a header cannot be sent.
        """
        if self._was_made and self.is_made_once:
            raise ValueError("data was read already: give a function that returns it anew")
        self._was_made = True
        params, data, json = self.params, self.data, self.json
        if params and not isinstance(params, str | bytes):
            resolved = resolve_values(params)
            # With a mapping, and with that alone, requests merges those of its session.
            params = dict(resolved) if isinstance(params, Mapping) else resolved
        headers = dict(resolve_values(self.headers or {}))
        check_headers(headers)
        request = PendingRequest(
            self.method.upper(),
            self.url,
            params=params,
            headers=headers,
            data=data() if callable(data) else data,
            json=json() if callable(json) else json,
            auth=self.auth,
            cookies=self.cookies,
        )
        request.raise_if_aborted = raise_if_aborted
        request.private_headers = frozenset(private_names(self.headers or {}))
        return request

    def last_event_id(self, defaults: Mapping[str, Any]) -> str | None:
        """Return the value of a ``Last-Event-ID`` header, None if there is none.

        Args:
            defaults: The headers that are sent where the request has none of that name.
        """
        for name, value in (*(self.headers or {}).items(), *defaults.items()):
            if name.lower() == "last-event-id":
                text = value() if callable(value) else value
                return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return None


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How a request is sent, as opposed to what: the arguments of ``requests`` for that."""

    timeout: Timeout = (10.0, None)
    allow_redirects: bool = True
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # with passwords
    verify: bool | str | None = None
    cert: str | tuple[str, str] | None = None

    def __post_init__(self) -> None:
        """Check what would else be refused later, and without its name."""
        self._check_timeout()
        given: Any = self.verify
        if given is not None and not isinstance(given, bool):
            _check_path("verify", given, "True, False or the path of a CA bundle")
        given = self.cert
        if given is not None:
            for path in given if isinstance(given, tuple) and len(given) == _PAIR else (given,):
                _check_path(
                    "cert", path, "the path of a certificate, or a pair with that of its key"
                )

    def _check_timeout(self) -> None:
        given: Any = self.timeout
        pair = given if isinstance(given, tuple) else (given, given)
        wanted = "timeout must be seconds, a pair of them (connect, read), or None"
        if len(pair) != _PAIR:
            raise ValueError(f"{wanted}, not a tuple of {len(pair)}")
        for seconds in pair:
            if seconds is None:
                continue
            if not isinstance(seconds, int | float) or isinstance(seconds, bool):
                raise TypeError(f"{wanted}, not {type(seconds).__name__}")
            if not seconds > 0:
                raise ValueError(f"{wanted}, above 0, not {seconds}")

    @property
    def read_timeout(self) -> float | None:
        """How long no byte may come, in seconds."""
        return self.timeout[1] if isinstance(self.timeout, tuple) else self.timeout


def _check_path(name: str, path: object, wanted: str) -> None:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be {wanted}, not {type(path).__name__}")
    if not os.path.exists(path):  # noqa: PTH110  # Path takes "" for ".", and raises where it may not look
        raise ValueError(f"{name} must be {wanted}: there is no {str(path)!r}")
