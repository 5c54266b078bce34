"""The session of requests that a client makes for itself.

Its connections notice a dead peer by TCP keep-alive, and the number and size of its cookies are
bounded.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.utils import default_user_agent
from urllib3.connection import HTTPConnection

from sse_client.http.private_names import cookie_lock_of, renew_cookie_lock

if TYPE_CHECKING:
    from http.cookiejar import Cookie

#: A dead peer is noticed after at most 45 + 4 * 15 seconds without any traffic.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 45), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


#: What browsers keep of cookies (RFC 6265, section 6.1, asks for as much at least): the bytes of
#: one, and how many. A server may set others with each of a month's responses, and gets all of them
#: back with each request, until it refuses that as too large.
MAX_COOKIE_SIZE = 4096
MAX_COOKIES = 180


def new_session(user_agent: str) -> requests.Session:
    """Make a session whose connections notice a dead peer, and whose cookies are bounded."""
    session = requests.Session()
    session.cookies = _BoundedCookies()
    session.headers["User-Agent"] = f"{user_agent} {default_user_agent()}"
    mount_adapters(session)
    return session


def mount_adapters(session: requests.Session) -> None:
    """Give a session of our own new pools of connections, and leave the old ones as they are."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _KeepAliveAdapter())


def renew_locks(session: Any) -> None:
    """Free a session from threads that held a lock of it at the fork, in the child.

    It may be anybody's: what has no such locks is left as it is.
    """
    renew_cookie_lock(getattr(session, "cookies", None))
    for adapter in getattr(session, "adapters", {}).values():
        proxies = getattr(adapter, "proxy_manager", {})
        for manager in (getattr(adapter, "poolmanager", None), *proxies.values()):
            _renew_locks_of_pools(getattr(manager, "pools", None))


def _renew_locks_of_pools(pools: Any) -> None:
    if not hasattr(pools, "lock"):
        return  # it has no manager of urllib3's
    pools.lock = threading.RLock()
    for key in pools.keys():  # noqa: SIM118  # it is not a dict, and refuses to be iterated over
        idle = pools[key].pool
        if idle is not None:  # else it is closed
            idle.mutex = threading.Lock()
            for name in ("not_empty", "not_full", "all_tasks_done"):
                setattr(idle, name, threading.Condition(idle.mutex))


class _KeepAliveAdapter(HTTPAdapter):
    """The adapter of requests, with TCP keep-alive on each connection."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_keep_alive_options(), **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, socket_options=_keep_alive_options(), **kwargs)


def _keep_alive_options() -> list[tuple[int, int, int]]:
    options = [*HTTPConnection.default_socket_options]
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):  # not everywhere
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return cast("list[tuple[int, int, int]]", options)


class _BoundedCookies(RequestsCookieJar):
    """The cookies of requests, all of which are dropped when there would be too many."""

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> None:
        if len(cookie.name) + len(cookie.value or "") + len(cookie.path) > MAX_COOKIE_SIZE:
            return
        with cookie_lock_of(self):
            if len(self) >= MAX_COOKIES and not self._has(cookie):
                self.clear()
            super().set_cookie(cookie, *args, **kwargs)

    def _has(self, cookie: Cookie) -> bool:
        """Return whether this one would only be renewed (RFC 6265, section 5.3)."""
        key = cookie.domain, cookie.path, cookie.name
        return any((each.domain, each.path, each.name) == key for each in self)
