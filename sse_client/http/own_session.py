"""The ``requests`` session that a client creates for itself.

Its connections detect a dead peer through TCP keep-alive. The number and size of its cookies are
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
    from collections.abc import Iterator
    from http.cookiejar import Cookie

#: A dead peer is detected after at most 45 + 4 * 15 = 105 seconds without any traffic. If an option
#: has two names, the second is that of macOS.
_KEEP_ALIVE = (
    (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), 45),
    (("TCP_KEEPINTVL",), 15),
    (("TCP_KEEPCNT",), 4),
)


#: The maximum bytes of a cookie and the maximum number of cookies, as in browsers (RFC 6265,
#: section 6.1, requires no less). A server may set new cookies with each response for months. It
#: gets all of them back with each request, until it refuses the request as too large.
MAX_COOKIE_SIZE = 4096
MAX_COOKIES = 180


def new_session(user_agent: str) -> requests.Session:
    """Create a session that detects dead peers and bounds its cookies."""
    session = requests.Session()
    session.cookies = _BoundedCookies()
    session.headers["User-Agent"] = f"{user_agent} {default_user_agent()}"
    mount_adapters(session)
    return session


def mount_adapters(session: requests.Session) -> None:
    """Give our own session new connection pools, and leave the old ones unchanged."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _KeepAliveAdapter())


def close_session(session: requests.Session) -> None:
    """Close our own session, and its idle connections at once.

    Otherwise urllib3 closes them when the garbage collector finds their pools. With gevent that may
    make the current greenlet wait at any point, and it may never run again.
    """
    for pools in _pools_of(session):
        with pools.lock:
            found = [pools[key] for key in pools.keys()]  # noqa: SIM118  # not a dict
        for pool in found:
            pool.close()
    session.close()


def _pools_of(session: Any) -> Iterator[Any]:
    """Yield the container of the pools of each manager. The session may be of any class."""
    for adapter in getattr(session, "adapters", {}).values():
        proxies = getattr(adapter, "proxy_manager", {})
        for manager in (getattr(adapter, "poolmanager", None), *proxies.values()):
            pools = getattr(manager, "pools", None)
            if hasattr(pools, "lock"):  # otherwise the manager is not urllib3's
                yield pools


def renew_locks(session: Any) -> None:
    """Replace the locks of a session in a forked child, because the parent's threads may hold them.

    The session may be of any class. Parts without such locks are left unchanged.
    """
    renew_cookie_lock(getattr(session, "cookies", None))
    for pools in _pools_of(session):
        pools.lock = threading.RLock()
        for key in pools.keys():  # noqa: SIM118  # not a dict
            idle = pools[key].pool
            # A closed pool has no queue. The queue of gevent or eventlet has no lock.
            if hasattr(idle, "mutex"):
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
    for names, value in _KEEP_ALIVE:
        # Older systems lack some of them.
        name = next((each for each in names if hasattr(socket, each)), None)
        if name is not None:
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return cast("list[tuple[int, int, int]]", options)


class _BoundedCookies(RequestsCookieJar):
    """A cookie jar that drops all its cookies when there would be too many."""

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> None:
        if len(cookie.name) + len(cookie.value or "") + len(cookie.path) > MAX_COOKIE_SIZE:
            return
        with cookie_lock_of(self):
            if len(self) >= MAX_COOKIES and not self._has(cookie):
                self.clear()
            super().set_cookie(cookie, *args, **kwargs)

    def _has(self, cookie: Cookie) -> bool:
        """Return whether the jar already has this cookie (RFC 6265, section 5.3)."""
        key = cookie.domain, cookie.path, cookie.name
        return any((each.domain, each.path, each.name) == key for each in self)
