"""The connection pools of a session, made to serve streams as well.

Every pool that a session's adapter makes is one whose connections can be aborted. While a thread
opens a stream, its pool also neither retries by itself nor logs queries. This is registered with
the managers of the pools, not with single pools: a manager keeps ten of them, and another thread
may push a pool out before it serves.
"""

from __future__ import annotations

import functools
import http.client
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

#: What requests asks for, unless an adapter says otherwise.
_NO_RETRIES = Retry(0, read=False)


class StreamPool(HTTPConnectionPool):
    """Opens streams without retrying, or logging queries. Mixed into the class of any pool."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ConnectionCls = abortable(self.ConnectionCls)

    def urlopen(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        """Send a request, and return the response. Blocks."""
        if current_watcher() is None:
            return super().urlopen(method, url, *args, **kwargs)
        # The session is to reconnect, as its policy says: urllib3 would wait where nothing can
        # abort it, read bodies of any size, and log the query.
        kwargs["retries"] = _NO_RETRIES
        shown, mark, query = url.partition("?")
        encoded = parse_url(f"/?{query}").query or ""  # as urllib3 would do it
        with with_query(mark + encoded):
            return super().urlopen(method, shown, *args, **kwargs)


class _Managers(dict[str, Any]):
    """The managers of an adapter's proxies, each of which makes pools for streams.

    An adapter makes a manager when it first needs it, and two threads may both make it.
    """

    def __setitem__(self, proxy: str, manager: Any) -> None:
        _register(manager)
        super().__setitem__(proxy, manager)


@functools.cache
def _for_streams(usual: type[Any]) -> type[Any]:
    """Return the class of pools, made to serve streams. Its name, which is in messages, stays."""
    if not _is_of_urllib3(usual):
        members = {"ConnectionCls": abortable(usual.ConnectionCls)}
        is_done = members["ConnectionCls"] is usual.ConnectionCls
        return usual if is_done else type(usual.__name__, (usual,), members)
    if issubclass(usual, StreamPool):
        return usual
    return type(usual.__name__, (StreamPool, usual), {})


def _is_of_urllib3(pool: Any) -> bool:
    """Return whether it makes connections of urllib3, not of urllib3-future in its place."""
    return issubclass(pool.ConnectionCls, http.client.HTTPConnection)


def _register(manager: Any) -> None:
    """Have a manager make pools for streams from now on, and forget those that it has."""
    usual: Any = getattr(manager, "pool_classes_by_scheme", {})
    classes = {scheme: _for_streams(kind) for scheme, kind in usual.items()}
    if classes == usual:
        return
    if not all(map(_is_of_urllib3, usual.values())):
        manager.pool_classes_by_scheme = classes
        return  # its old pools are dealt with one by one
    # Whoever asks the manager for a pool takes this lock, too, so none gets an old one after the
    # first has seen the new classes.
    with manager.pools.lock:
        manager.pool_classes_by_scheme = classes  # its own, in place of one that all share
        forgotten = [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118  # not a dict
        manager.clear()  # requests that are being served keep their pools
    for pool in forgotten:
        # Otherwise they stay open for as long as anybody holds a response of theirs.
        _close_idle_connections(pool)


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
    """Have the pool that will serve this request make connections that can be aborted.

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
        return False  # someone else's transport: it can be aborted once it has responded
    if not isinstance(pool, StreamPool):
        _watch_connections(pool)
    return _is_of_urllib3(pool)


def _watch_connections(pool: Any) -> None:
    """Do what can be done with a pool that its manager had before, or that has another maker."""
    pool.ConnectionCls = abortable(pool.ConnectionCls)
    if not _is_of_urllib3(pool):
        return
    # An idle connection of another class could not be aborted before it responds: none is taken
    # over. They may come back later, so this looks each time.
    _close_idle_connections(pool)


def _close_idle_connections(pool: Any) -> None:
    """Close those that cannot be aborted. The pool can still be used."""
    if pool.pool is None:
        return  # it is closed
    strangers = []
    with pool.pool.mutex:
        idle = pool.pool.queue
        for index, connection in enumerate(idle):
            if connection is not None and not isinstance(connection, AbortableConnection):
                strangers.append(connection)
                idle[index] = None
    for connection in strangers:
        connection.close()


def keep_out_of_pool(raw: Any) -> Any:
    """Never give a connection back: its server may be about to close it.

    A pool that blocks wants its place back, though.

    Returns:
        What then has to be closed beside the response, None if nothing has.
    """
    pool = pool_of(raw)
    if pool is None or pool.block:
        return None
    keep_from_pool(raw)  # or urllib3 would put it back, and a full pool logs a warning
    return take_from_pool(raw)
