"""Checks the arguments of a request. An error names the argument, but does not show its value."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from http.cookiejar import CookieJar
from typing import Any

#: The length of ``auth`` (user, password), ``timeout`` (connect, read), ``cert`` with its key, and
#: an item of ``params`` or ``data``.
PAIR = 2

#: In seconds. A socket counts milliseconds in 31 bits.
LONGEST_TIMEOUT = 2_147_483

#: A token (RFC 9110, section 5.6.2).
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_method(method: object) -> None:
    """Refuse a value that is not the name of a method.

    Raises:
        TypeError, ValueError: It is not a method.
    """
    if not isinstance(method, str):
        raise _wrong("method", "a str", method)
    if not TOKEN.fullmatch(method):
        raise ValueError(f"method must be a token such as 'GET', not {method!r}")


def check_address(url: object) -> None:
    """Refuse an address that is not a str.

    Raises:
        TypeError: It is not a str.
    """
    if not isinstance(url, str):
        raise _wrong("url", "a str", url)


def check_params(params: object) -> None:
    """Refuse a value that cannot be the query of an address.

    Raises:
        TypeError: It cannot be a query.
    """
    if params is not None and not _is_form(params):
        raise _wrong("params", "a mapping, pairs, or text", params)


def check_data(data: object) -> None:
    """Refuse a value that cannot be a body.

    Raises:
        TypeError: It cannot be a body.
    """
    is_body = _is_form(data) if isinstance(data, list | tuple) else isinstance(data, Iterable)
    if data is not None and not is_body and not hasattr(data, "read") and not callable(data):
        wanted = "text, bytes, a mapping, pairs, a file, an iterable or a function"
        raise _wrong("data", wanted, data)


def _is_form(given: object) -> bool:
    """Return whether these may be names and values. An iterator must not be consumed for this."""
    if isinstance(given, list | tuple):
        return all(isinstance(item, list | tuple) and len(item) == PAIR for item in given)
    return isinstance(given, Iterable) or hasattr(given, "items")


def check_auth(auth: object) -> None:
    """Refuse a value that cannot be an auth.

    Raises:
        TypeError: It cannot be an auth.
    """
    is_pair = isinstance(auth, tuple) and len(auth) == PAIR
    if auth is not None and not is_pair and not callable(auth):
        raise _wrong("auth", "a pair (user, password), a callable or None", auth)


def check_cookies(cookies: object) -> None:
    """Refuse a value that cannot be cookies.

    Raises:
        TypeError: It cannot be cookies.
    """
    if cookies is None or isinstance(cookies, CookieJar):
        return
    if not isinstance(cookies, Mapping):
        raise _wrong("cookies", "a mapping or a CookieJar", cookies)
    for value in cookies.values():
        if value is not None and not isinstance(value, str):
            raise _wrong("each value of cookies", "a str", value)


def check_proxies(proxies: object) -> None:
    """Refuse a value that cannot be the addresses of proxies.

    Raises:
        TypeError: It cannot be addresses of proxies.
    """
    if proxies is None:
        return
    if not isinstance(proxies, Mapping):
        raise _wrong("proxies", "a mapping of schemes to addresses", proxies)
    for address in proxies.values():
        if address is not None and not isinstance(address, str):
            raise _wrong("each value of proxies", "a str", address)


def check_timeout(timeout: object) -> None:
    """Refuse a value that cannot be a timeout.

    Raises:
        TypeError, ValueError: It cannot be a timeout.
    """
    pair: Any = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    wanted = "timeout must be seconds, a pair of them (connect, read), or None"
    if len(pair) != PAIR:
        raise ValueError(f"{wanted}, not a tuple of {len(pair)}")
    for seconds in pair:
        if seconds is None:
            continue
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise TypeError(f"{wanted}, not {type(seconds).__name__}")
        if not seconds > 0:
            raise ValueError(f"{wanted}, above 0, not {seconds}")
        if seconds > LONGEST_TIMEOUT:
            raise ValueError(f"{wanted}, at most {LONGEST_TIMEOUT}, not {seconds}")


def check_allow_redirects(allow_redirects: object) -> None:
    """Refuse a value that is not a bool.

    Raises:
        TypeError: It is not a bool.
    """
    if not isinstance(allow_redirects, bool):
        raise _wrong("allow_redirects", "True or False", allow_redirects)


def check_verify(verify: object) -> None:
    """Refuse a value that cannot be ``verify``.

    Raises:
        TypeError, ValueError: It is not a bool or a path, or the file does not exist.
    """
    if verify is not None and not isinstance(verify, bool):
        _check_path("verify", verify, "True, False or the path of a CA bundle")


def check_cert(cert: object) -> None:
    """Refuse a value that cannot be a client certificate.

    Raises:
        TypeError, ValueError: It is not a path or a pair of paths, or a file does not exist.
    """
    if cert is not None:
        paths: Any = cert if isinstance(cert, tuple) and len(cert) == PAIR else (cert,)
        for path in paths:
            _check_path("cert", path, "the path of a certificate, or a pair with that of its key")


def _check_path(name: str, path: object, wanted: str) -> None:
    if not isinstance(path, str | os.PathLike):
        raise _wrong(name, wanted, path)
    if not os.path.exists(path):  # noqa: PTH110  # Path takes "" for ".", and may raise PermissionError
        raise ValueError(f"{name} must be {wanted}: {str(path)!r} does not exist")


def _wrong(name: str, wanted: str, given: object) -> TypeError:
    return TypeError(f"{name} must be {wanted}, not {type(given).__name__}")
