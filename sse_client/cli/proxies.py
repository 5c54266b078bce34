"""Determines the proxy of a request, for messages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from sse_client import SSEClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def proxy_for(url: str, chosen: Mapping[str, str] | None = None) -> str | None:
    """Return the proxy for an address without its user info, or None.

    Args:
        url: The address.
        chosen: The proxies from the options. They take precedence over the environment.
    """
    explicit = dict(chosen or {})
    found = select_proxy(url, explicit)
    if found is None:
        found = select_proxy(url, get_environ_proxies(url, no_proxy=explicit.get("no_proxy")))
    return None if found is None else _without_user_info(found)


@contextlib.contextmanager
def noting_proxy(url: str, chosen: Mapping[str, str] | None) -> Iterator[None]:
    """Add a note on the proxy to a failure of the block that does not name it.

    Args:
        url: The address that is requested in the block.
        chosen: The proxies from the options.
    """
    try:
        yield
    except SSEClientError as error:
        proxy = proxy_for(url, chosen)
        if proxy and f"through the proxy {proxy}" not in str(error):
            # The same as add_note of Python 3.11.
            vars(error)["__notes__"] = [f"the request went through the proxy {proxy}"]
        raise


def _without_user_info(proxy: str) -> str:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
