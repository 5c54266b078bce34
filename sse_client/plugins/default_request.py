"""The DefaultRequest plugin: defaults for all requests of a client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from requests.structures import CaseInsensitiveDict

from sse_client.http.headers import check_names
from sse_client.http.pending_request import private_names, resolve_values
from sse_client.plugins.registry import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from sse_client.http.pending_request import PendingRequest

    Value = str | bytes | Callable[[], str | bytes]


#: The scheme of an address that is not relative (RFC 3986, section 3.1).
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class DefaultRequest(Plugin):
    """Completes each plain request and each stream: ``client.install(DefaultRequest, ...)``.

    The values of a request take precedence. Thread-safe.

    Example:
        >>> client = HttpClient().install(DefaultRequest, base_url="http://127.0.0.1:8080/v1")
        >>> client.sse(path="/events")  # doctest: +SKIP

    Args:
        base_url: The address to which a relative address is appended. It must not have a query.
        headers: Headers to add. A callable value is called for each request.
        params: Query parameters to add. A callable value is called for each request.

    Raises:
        TypeError, ValueError: An option has a wrong type or value.
    """

    def __init__(
        self,
        *,
        base_url: str = "",
        headers: Mapping[str, Value] | None = None,
        params: Mapping[str, Value] | None = None,
    ) -> None:
        given: dict[str, object] = {"base_url": base_url}
        if not isinstance(given["base_url"], str):
            raise TypeError(f"base_url must be a str, not {type(base_url).__name__}")
        if base_url and not _is_base(base_url):
            raise ValueError("base_url must be an http or https address without a query")
        for name, option in {"headers": headers, "params": params}.items():
            if option is not None and not isinstance(option, Mapping):
                raise TypeError(f"{name} must be a mapping, not {type(option).__name__}")
        check_names(headers)
        self._base_url = base_url
        self._headers = dict(headers or {})
        self._params = dict(params or {})

    def on_request(self, request: PendingRequest) -> None:
        """Complete the request."""
        url = request.url or ""
        if self._base_url and not _SCHEME.match(url):
            request.url = self._base_url.rstrip("/") + "/" + url.lstrip("/")
        headers: Any = CaseInsensitiveDict(request.headers or {})
        for name, value in self._headers.items():
            if name not in headers:
                headers.update(resolve_values({name: value}))
        request.headers = headers
        request.private_headers |= private_names(self._headers)
        if self._params:
            self._add_params(request)

    def _add_params(self, request: requests.Request) -> None:
        query = (request.url or "").partition("#")[0].partition("?")[2]
        given: Any = request.params or {}
        if isinstance(given, bytes):
            given = given.decode()
        is_text = isinstance(given, str)
        own = parse_qsl(given, keep_blank_values=True) if is_text else resolve_values(given)
        names = {name for name, _ in [*parse_qsl(query, keep_blank_values=True), *own]}
        missing = {name: value for name, value in self._params.items() if name not in names}
        defaults = resolve_values(missing)
        if is_text:
            parts = (urlencode(defaults, doseq=True), given)
            request.params = "&".join(part for part in parts if part)
        else:
            pairs = [*defaults, *own]
            # requests merges the params of its session only with a mapping.
            request.params = dict(pairs) if isinstance(given, Mapping) else pairs


def _is_base(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    is_complete = parts.scheme in {"http", "https"} and bool(parts.hostname)
    return is_complete and not (parts.query or parts.fragment)
