"""The address of a stream, given as a whole or in parts, and its errors."""

from __future__ import annotations

import ipaddress
import re

_ABSOLUTE = re.compile(r"\s*https?://[^/?#]", re.IGNORECASE)

#: The scheme and the user info of a possible address. The user info may contain a secret, and a
#: password may contain an unencoded slash.
_USER_INFO = re.compile(r"^(https?:/*|[a-z][a-z0-9+.-]*://|//|).*@", re.IGNORECASE | re.DOTALL)

#: Characters that cannot be in a host (WHATWG URL, forbidden host code points).
_NOT_IN_HOST = re.compile(r"[\x00-\x20\x7f#/:<>?@\[\\\]^|%]")

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

_HIGHEST_PORT = 65_535


def check_url(url: str) -> None:
    """Refuse any text that is not an absolute http or https address.

    Raises:
        ValueError: It is not such an address. The message has no user info and no query.
    """
    if _ABSOLUTE.match(url):
        return
    if not url:
        raise ValueError("url must not be empty")
    wanted = "url must begin with http:// or https:// and a host"
    public = re.split("[?#]", url, maxsplit=1)[0]
    if "@" in url[len(public) :]:
        raise ValueError(wanted)  # the public part may contain a part of a password
    shown = _USER_INFO.sub(r"\1", public)
    raise ValueError(f"{wanted}, not {_problem(shown)}")


def _problem(shown: str) -> str:
    if shown.startswith("//"):
        return f"{shown!r}: the scheme is missing; did you mean {'http:' + shown!r}?"
    if shown.startswith("/"):
        return f"{shown!r}: scheme and host are missing; the plugin DefaultRequest can add them"
    scheme, separator, _ = shown.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        return f"{shown!r}: the host is missing"
    if separator:
        return f"{shown!r}: the scheme is {scheme!r}"
    return f"{shown!r}: the scheme is missing; did you mean {'http://' + shown!r}?"


def join_address(
    url: str | None, scheme: str, host: str | None, port: int | None, path: str
) -> str:
    """Return the address, given as a whole or in parts.

    Raises:
        TypeError, ValueError: A part is wrong. The message names it.
    """
    if url is not None:
        given: object = url
        if not isinstance(given, str):
            raise TypeError(f"url must be a str, not {type(given).__name__}")
        if host is not None or port is not None or (scheme, path) != ("http", "/"):
            raise TypeError("give either url, or scheme, host, port and path")
        return url
    if scheme not in {"http", "https"}:
        raise ValueError(f"scheme must be 'http' or 'https', not {scheme!r}")
    _check_port(port)
    _check_path(path)
    if host is None:
        if path == "/" or port is not None:
            raise TypeError("url or host is missing")
        return path  # DefaultRequest completes it
    return f"{scheme}://{_host(host)}{'' if port is None else f':{port}'}/{path.removeprefix('/')}"


def _host(host: object) -> str:
    """Return a host as it is written in an address."""
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {type(host).__name__}")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:
        try:
            ipaddress.IPv6Address(bare)
        except ValueError:
            wanted = "a host name or an IP address; the port has its own argument"
            raise ValueError(f"host must be {wanted}, not {_without_user(host)!r}") from None
        return f"[{bare}]"
    if not bare or _NOT_IN_HOST.search(host):
        raise ValueError(f"host must be a host name or an IP address, not {_without_user(host)!r}")
    return host


def _without_user(host: str) -> str:
    """Return a given host without any user info."""
    return host.rpartition("@")[2]


def _check_port(port: object) -> None:
    if port is None:
        return
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an int or None, not {type(port).__name__}")
    if not 0 < port <= _HIGHEST_PORT:
        raise ValueError(f"port must be from 1 to {_HIGHEST_PORT}, not {port}")


def _check_path(path: object) -> None:
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {type(path).__name__}")
    if _CONTROLS.search(path):
        raise ValueError("path must not contain a line break or another control character")
