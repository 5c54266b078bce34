"""Prepares the connection pools of a session to serve streams.

The pools of a session's adapter get connections that can be aborted. While a thread opens a stream,
its pool neither retries by itself nor logs queries. This is registered with the pool managers, not
with single pools, because a manager keeps only ten pools, and another thread may evict a pool
before it serves.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import queue
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util import Retry, parse_url

from sse_client.http.abortable_connections import (
    AbortableConnection,
    abortable,
    begin_hop,
    current_watcher,
    with_query,
)
from sse_client.http.niquests import ForeignSession, take_from_pool
from sse_client.http.private_names import keep_from_pool, pool_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

#: The default of requests.
_NO_RETRIES = Retry(0, read=False)


class StreamPool(HTTPConnectionPool):
    """Opens streams without retrying or logging queries. Mixed into the class of any pool."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ConnectionCls = abortable(self.ConnectionCls)

    def urlopen(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        """Send a request, and return the response. Blocks."""
        if current_watcher() is None:
            return super().urlopen(method, url, *args, **kwargs)
        # The session reconnects by its own policy. A retry of urllib3 could not be aborted, and
        # would read bodies of any size and log the query.
        kwargs["retries"] = _NO_RETRIES
        shown, mark, query = url.partition("?")
        encoded = parse_url(f"/?{query}").query or ""  # as urllib3 would encode it
        with with_query(mark + encoded):
            return super().urlopen(method, shown, *args, **kwargs)


class _Managers(dict[str, Any]):
    """The managers of an adapter's proxies, each of which creates pools for streams.

    An adapter creates a manager when it first needs it. Two threads may both create one.
    """

    def __setitem__(self, proxy: str, manager: Any) -> None:
        _register(manager)
        super().__setitem__(proxy, manager)


@functools.cache
def _for_streams(usual: type[Any]) -> type[Any]:
    """Return a subclass of a pool class for streams. It has the same name for messages."""
    if not _is_of_urllib3(usual):
        members = {"ConnectionCls": abortable(usual.ConnectionCls)}
        is_done = members["ConnectionCls"] is usual.ConnectionCls
        return usual if is_done else type(usual.__name__, (usual,), members)
    if issubclass(usual, StreamPool):
        return usual
    return type(usual.__name__, (StreamPool, usual), {})


def _is_of_urllib3(pool: Any) -> bool:
    """Return whether its connections are those of urllib3, not of urllib3-future."""
    return issubclass(pool.ConnectionCls, http.client.HTTPConnection)


def _register(manager: Any) -> None:
    """Make a manager create pools for streams from now on, and forget its old pools."""
    usual: Any = getattr(manager, "pool_classes_by_scheme", {})
    classes = {scheme: _for_streams(kind) for scheme, kind in usual.items()}
    if classes == usual:
        return
    if not all(map(_is_of_urllib3, usual.values())):
        manager.pool_classes_by_scheme = classes
        return  # ``watch_pool`` handles its old pools one by one
    # A thread that requests a pool also takes this lock, so it cannot get an old pool after the new
    # classes are set.
    with manager.pools.lock:
        manager.pool_classes_by_scheme = classes  # its own, instead of the shared default
        forgotten = [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118  # not a dict
        manager.clear()  # requests that are being served keep their pools
    for pool in forgotten:
        # Otherwise they stay open as long as any of their responses is in use.
        close_idle_connections(pool)


def _register_managers_of(adapter: Any) -> None:
    _register(getattr(adapter, "poolmanager", None))
    usual = getattr(adapter, "proxy_manager", None)
    if isinstance(usual, dict) and not isinstance(usual, _Managers):
        managers = _Managers()
        for proxy, manager in list(usual.items()):
            managers[proxy] = manager
        adapter.proxy_manager = managers


def watch_pool(
    session: requests.Session, prepared: requests.PreparedRequest, settings: Mapping[str, Any]
) -> bool:
    """Make the pool that will serve this request create connections that can be aborted.

    Returns:
        Whether its connections report when the request is sent.
    """
    begin_hop()
    adapter = session.get_adapter(prepared.url or "")
    sender: object = session
    pool: Any
    if isinstance(adapter, HTTPAdapter):
        _register_managers_of(adapter)
        pool = adapter.get_connection_with_tls_context(
            prepared, settings["verify"], proxies=settings["proxies"], cert=settings["cert"]
        )
    elif isinstance(sender, ForeignSession):
        _register_managers_of(adapter)
        pool = sender.pool_for(prepared, settings["proxies"])
    else:
        return False  # another transport, which can be aborted only after it has responded
    if not isinstance(pool, StreamPool):
        _watch_connections(pool)
    return _is_of_urllib3(pool)


def _watch_connections(pool: Any) -> None:
    """Prepare a pool that its manager had before, or that something else created."""
    pool.ConnectionCls = abortable(pool.ConnectionCls)
    if not _is_of_urllib3(pool):
        return
    # An idle connection of another class could not be aborted before it responds, so it is closed.
    # Such connections may return to the pool later, so this is done each time.
    close_idle_connections(pool)


def close_idle_connections(pool: Any) -> None:
    """Close the idle connections that cannot be aborted. The pool can still be used.

    This uses only documented methods of the queue, because gevent and eventlet replace its class.
    So it briefly takes all connections out. Other threads then wait for a connection or create one.
    """
    idle = pool.pool
    if idle is None:
        return  # it is closed
    taken: list[Any] = []
    with contextlib.suppress(queue.Empty):
        while True:
            taken.append(idle.get(block=False))
    for connection in reversed(taken):  # the queue is last in, first out
        if isinstance(connection, AbortableConnection):
            try:
                idle.put(connection, block=False)
            except queue.Full:  # other threads have returned theirs
                connection.close()
            continue
        if connection is not None:
            connection.close()
        if pool.block:  # such a pool needs all its slots, with or without a connection
            idle.put(None, block=False)


def keep_out_of_pool(raw: Any) -> Any:
    """Keep a connection out of its pool, because the server may be about to close it.

    Otherwise the user could give it back a second time, on another thread, by closing the response.

    Returns:
        What must be closed in addition to the response: the connection, or its place in a pool that
        blocks. None if there is nothing.
    """
    pool = pool_of(raw)
    if pool is None or getattr(raw, "connection", None) is None:
        return None
    if not pool.block:
        keep_from_pool(raw)  # otherwise urllib3 puts it back, and a full pool logs a warning
        return take_from_pool(raw)
    if _is_of_urllib3(pool):
        keep_from_pool(raw)
        return _Place(pool)
    return None  # urllib3-future gives it back


class _Place:
    """The place of a connection in a pool that blocks."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def close(self) -> None:
        """Give the place back, without the connection. Call this once."""
        with contextlib.suppress(AttributeError, queue.Full):  # the pool is closed, or was refilled
            self._pool.pool.put(None, block=False)
