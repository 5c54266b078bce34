"""The arguments of a request, from which each attempt creates its own request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from sse_client.http.arguments import (
    check_address,
    check_allow_redirects,
    check_auth,
    check_cert,
    check_cookies,
    check_data,
    check_method,
    check_params,
    check_proxies,
    check_timeout,
    check_verify,
)
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
    Params = Mapping[str, Value | Sequence[Scalar]] | Sequence[tuple[str, Value]] | Text
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


@dataclass(repr=False)
class RequestDescription:
    """What to send. Each attempt creates its own request from it. Not thread-safe."""

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
        """Check values that would otherwise fail later, without their names."""
        if self.headers is not None and not isinstance(self.headers, Mapping):
            raise TypeError(f"headers must be a mapping, not {type(self.headers).__name__}")
        check_names(self.headers)
        check_method(self.method)
        check_address(self.url)
        check_params(self.params)
        check_data(self.data)
        check_auth(self.auth)
        check_cookies(self.cookies)

    def __repr__(self) -> str:
        """Show the method and the host. Everything else may be secret."""
        return f"<RequestDescription {self.method} {name_of(self.url)}>"

    @property
    def is_made_once(self) -> bool:
        """Whether the data can be read only once: a file, or an iterator."""
        return hasattr(self.data, "read") or hasattr(self.data, "__next__")

    def make(self, raise_if_aborted: Callable[[], None]) -> PendingRequest:
        """Create a request, and call each callable value again.

        Args:
            raise_if_aborted: Raises an error if the request is cancelled.

        Raises:
            ValueError: The data was already read, or a header cannot be sent.
        """
        if self._was_made and self.is_made_once:
            raise ValueError("data was already read: give a function that returns it each time")
        self._was_made = True
        params, data, json = self.params, self.data, self.json
        if params and not isinstance(params, str | bytes):
            resolved = resolve_values(params)
            # requests merges the params of its session only with a mapping.
            params = dict(resolved) if isinstance(params, Mapping) else resolved
        if callable(data):
            data = data()
            check_data(data)
        headers = dict(resolve_values(self.headers or {}))
        check_headers(headers)
        request = PendingRequest(
            self.method.upper(),
            self.url,
            params=params,
            headers=headers,
            data=data,
            json=json() if callable(json) else json,
            auth=self.auth,
            cookies=self.cookies,
        )
        request.raise_if_aborted = raise_if_aborted
        request.private_headers = frozenset(private_names(self.headers or {}))
        return request

    def last_event_id(self, defaults: Mapping[str, Any]) -> str | None:
        """Return the value of a ``Last-Event-ID`` header, or None if there is none.

        Args:
            defaults: The headers that are sent unless the request has one of the same name.
        """
        for name, value in (*(self.headers or {}).items(), *defaults.items()):
            if name.lower() == "last-event-id":
                text = value() if callable(value) else value
                return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return None


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How to send a request: the remaining arguments of ``requests``."""

    timeout: Timeout = (10.0, None)
    allow_redirects: bool = True
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # may contain passwords
    verify: bool | str | None = None
    cert: str | tuple[str, str] | None = None

    def __post_init__(self) -> None:
        """Check values that would otherwise fail later, without their names."""
        check_timeout(self.timeout)
        check_allow_redirects(self.allow_redirects)
        check_proxies(self.proxies)
        check_verify(self.verify)
        check_cert(self.cert)

    @property
    def read_timeout(self) -> float | None:
        """The maximum time without any byte, in seconds."""
        return self.timeout[1] if isinstance(self.timeout, tuple) else self.timeout
