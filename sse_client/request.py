"""What a request consists of, in the words of requests, and how it is described anew each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from sse_client.plugins import PendingRequest, resolve_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from http.cookiejar import CookieJar

    import requests
    from requests.auth import AuthBase

    from sse_client.transport import Timeout

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


@dataclass
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

    @property
    def is_made_once(self) -> bool:
        """Whether the data can be read only once: a file, or an iterator."""
        return hasattr(self.data, "read") or hasattr(self.data, "__next__")

    def make(self, raise_if_aborted: Callable[[], None]) -> PendingRequest:
        """Make a request, asking each callable anew.

        Args:
            raise_if_aborted: Raises once the request isn't wanted any more.

        Raises:
            ValueError: The data was read already.
        """
        if self._was_made and self.is_made_once:
            raise ValueError("data was read already: give a function that returns it anew")
        self._was_made = True
        params, data, json = self.params, self.data, self.json
        if params and not isinstance(params, str | bytes):
            resolved = resolve_values(params)
            # With a mapping, and with that alone, requests merges those of its session.
            params = dict(resolved) if isinstance(params, Mapping) else resolved
        request = PendingRequest(
            self.method.upper(),
            self.url,
            params=params,
            headers=dict(resolve_values(self.headers or {})),
            data=data() if callable(data) else data,
            json=json() if callable(json) else json,
            auth=self.auth,
            cookies=self.cookies,
        )
        request.raise_if_aborted = raise_if_aborted
        return request

    def last_event_id(self) -> str | None:
        """Return the value of a ``Last-Event-ID`` header, None if there is none."""
        for name, value in (self.headers or {}).items():
            if name.lower() == "last-event-id":
                text = value() if callable(value) else value
                return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return None


def join_address(
    url: str | None, scheme: str, host: str | None, port: int | None, path: str
) -> str:
    """Return the address, given whole or in parts."""
    if url is not None:
        given: object = url
        if not isinstance(given, str):
            raise TypeError(f"url must be a str, not {type(given).__name__}")
        if host is not None or port is not None or (scheme, path) != ("http", "/"):
            raise TypeError("give either url, or scheme, host, port and path")
        return url
    if scheme not in {"http", "https"}:
        raise ValueError(f"scheme must be 'http' or 'https', not {scheme!r}")
    if host is None:
        if path == "/" or port is not None:
            raise TypeError("url is missing, or host")
        return path  # which DefaultRequest completes
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{scheme}://{shown}{'' if port is None else f':{port}'}/{path.removeprefix('/')}"


def name_of(address: str) -> str:
    """Return what to call a stream: its host, or the path that DefaultRequest completes."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "(an address that cannot be parsed)"
    # Without its scheme, an address has its user info in what then counts as the path.
    return parts.hostname or parts.path.rpartition("@")[2]
