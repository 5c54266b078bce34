"""The parts of addresses and errors that a message may show, without any secret.

No message contains a query, user info or a header.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

from sse_client.errors import ConnectionFailedError, StreamInterruptedError

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Shown instead of an address that may contain a secret anywhere.
_UNPARSABLE = "(an address that cannot be parsed)"

_DEFAULT_PORTS = {"http": 80, "https": 443}


class _PublicParts(NamedTuple):
    """The parts of an address without secrets: neither user info nor a query."""

    scheme: str
    host: str
    port: int | None
    path: str


def _public_parts(url: str) -> _PublicParts | None:
    """Split an address, without user info, query and fragment. Return None if that fails."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    # The user info of an address without a scheme is parsed as a part of the path. A password may
    # extend into the query.
    if not host and not url.startswith("/") and "@" in parts.query + parts.fragment:
        return None
    path = parts.path if host else parts.path.rpartition("@")[2]
    return _PublicParts(parts.scheme, host, port, path)


def redact_url(url: str) -> str:
    """Return the URL without user info, query and fragment, which may contain secrets."""
    parts = _public_parts(url)
    if parts is None:
        return _UNPARSABLE
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def server_of(url: str) -> tuple[str, int] | None:
    """Return the host and the port of an http or https URL, or None for any other."""
    parts = _public_parts(url)
    if parts is None or not parts.host or parts.scheme not in _DEFAULT_PORTS:
        return None
    return parts.host, parts.port or _DEFAULT_PORTS[parts.scheme]


def name_of(address: str) -> str:
    """Return the name of a stream: its host, or the path that DefaultRequest completes."""
    parts = _public_parts(address)
    return _UNPARSABLE if parts is None else parts.host or parts.path


def root_cause(error: BaseException) -> BaseException:
    """Unwrap the error that requests and urllib3 have wrapped."""
    while True:
        inner: object = None
        if isinstance(error, MaxRetryError):
            inner = error.reason
        elif isinstance(error, requests.RequestException | HTTPError):
            # It is in the arguments, or it is the cause if urllib3 wrote its own message.
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
            inner = inner or (error.__cause__ if isinstance(error.__cause__, OSError) else None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


def printable_cause(error: BaseException) -> BaseException | None:
    """Return the cause to chain, or None if it might contain a URL and so a secret."""
    cause = root_cause(error)
    is_about_a_value = isinstance(cause, ValueError) and not isinstance(cause, OSError)
    return None if is_about_a_value or isinstance(cause, requests.RequestException) else cause


def reason_of(error: BaseException) -> str:
    """Return a short reason, without any secret."""
    if isinstance(root_cause(error), requests.TooManyRedirects):
        return "too many redirects"
    cause = printable_cause(error)
    return type(root_cause(error)).__name__ if cause is None else f"{cause}"


@contextlib.contextmanager
def making_request() -> Iterator[None]:
    """Turn a failure of the user's functions that may be temporary into a failed connection."""
    try:
        yield
    except (requests.RequestException, OSError) as error:
        # For example, a token could not be fetched. The next attempt may succeed.
        reason = f"the request could not be made: {reason_of(error)}"
        raise ConnectionFailedError(reason) from printable_cause(error)


def cannot_be_sent(error: ValueError, url: str) -> ValueError:
    """Return the error of a request that cannot be sent. Do not chain its cause."""
    return ValueError(f"the request to {redact_url(url)} cannot be sent: {type(error).__name__}")


def connection_failed(
    error: BaseException, url: str, *, was_sent: bool = False, proxy: str | None = None
) -> ConnectionFailedError:
    """Return the error of a request without a response.

    Args:
        error: The error of requests or urllib3.
        url: The address of the request.
        was_sent: Whether it may have reached the server.
        proxy: The address of the proxy, if there is one.
    """
    was_sent = was_sent and not _never_connected(error)
    hopeless = ssl.SSLCertVerificationError, requests.TooManyRedirects, ValueError
    target = redact_url(url)
    if proxy is not None:
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        target = f"{target} through the proxy {redact_url(proxy)}"
    problem = f"no response from {target}" if was_sent else f"cannot connect to {target}"
    return ConnectionFailedError(
        f"{problem}: {_missing_package(error, proxy) or reason_of(error)}",
        permanent=isinstance(root_cause(error), hopeless),
        was_sent=was_sent,
    )


def _never_connected(error: BaseException) -> bool:
    """Return whether the error itself shows that there was no connection."""
    # Other transports than urllib3 raise the last two.
    never_sent = (
        *(NewConnectionError, ssl.SSLCertVerificationError),
        *(ConnectionRefusedError, socket.gaierror),
    )
    return isinstance(error, requests.ConnectTimeout) or isinstance(root_cause(error), never_sent)


def _missing_package(error: BaseException, proxy: str | None) -> str | None:
    """Return a message that names the package a proxy needs, or None if that is not the reason."""
    is_socks = proxy is not None and proxy.lower().startswith("socks")
    if is_socks and isinstance(error, requests.exceptions.InvalidSchema):
        return "a SOCKS proxy needs the package PySocks: pip install 'sse-client[socks]'"
    return None


def stream_interrupted(error: BaseException, response: requests.Response) -> StreamInterruptedError:
    """Return the error of a stream that broke off."""
    return StreamInterruptedError(
        f"the stream of {redact_url(response.url)} broke off: {reason_of(error)}",
        response=response,
    )
