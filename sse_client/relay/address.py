"""Addresses of Redis: a single server, a master that Sentinels monitor, or a cluster.

=====================  =============================================================================
one server             ``redis://[[user]:password@]host[:port][/database]``, ``rediss://`` with TLS,
                       ``unix://[:password@]/path``
Sentinels              ``redis+sentinel://[[user]:password@]host[:port],...[/service[/database]]``
a cluster              ``redis+cluster://[[user]:password@]host[:port],...``
=====================  =============================================================================

``rediss+sentinel`` and ``rediss+cluster`` use TLS. The forms of other clients are accepted too:
``redis-sentinel``, ``sentinel``, ``redis-cluster``, ``valkey`` instead of ``redis``, the service as
``?sentinelMasterId=``, and addresses of single hosts that are separated by ``;``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEME = re.compile(r"(?P<plain>(?:redis|valkey)(?P<tls>s?))(?:[+-](?P<kind>sentinel|cluster))?")

#: The name of the master in the documentation of Sentinel.
_DEFAULT_SERVICE = "mymaster"

_SENTINEL_PORT = 26379
#: The default port of Redis.
REDIS_PORT = 6379

#: The parameters with which other clients name the service.
_SERVICE_NAMES = ("sentinelMasterId", "service_name", "master_name")


@dataclass(frozen=True)
class Address:
    """The parts of an address.

    Attributes:
        kind: ``single``, ``sentinel`` or ``cluster``.
        url: The form that redis-py understands: one host, and the options of connections.
        hosts: The nodes, or the Sentinels; empty for ``single``.
        service: The name of the master for the Sentinels.
        sentinel_options: User and password of the Sentinels, if they have any.
    """

    kind: str
    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_options: dict[str, str] = field(default_factory=dict, repr=False)


def parse_address(address: str) -> Address:
    """Parse an address.

    Raises:
        ValueError: It is not an address.
    """
    first, *others = address.split(";")
    if first.startswith("unix:"):
        return Address("single", address)
    scheme, _, rest = first.partition("://")
    if scheme.startswith("sentinel"):
        scheme = f"redis-{scheme}"
    found = _SCHEME.fullmatch(scheme)
    if found is None or not rest:
        raise ValueError("the scheme of the address is unknown")
    plain = f"redis{found['tls']}"
    if found["kind"] is None:
        if others or "," in urlsplit(first).netloc.rpartition("@")[2]:
            raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
        return Address("single", f"{plain}://{rest}")
    return _with_hosts(plain, found["kind"], [first, *others])


def _with_hosts(plain: str, kind: str, addresses: list[str]) -> Address:
    parts = [urlsplit(each) for each in addresses]
    user = parts[0].netloc.rpartition("@")[0]
    port = _SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    hosts = tuple(
        _host(host, port)
        for each in parts
        for host in each.netloc.rpartition("@")[2].split(",")
        if host
    )
    if not hosts:
        raise ValueError("the address has no host")
    # Path and query follow the last host.
    path = [unquote(each) for each in parts[-1].path.split("/") if each]
    query = dict(parse_qsl(parts[-1].query))
    service = ""
    sentinel_options: dict[str, str] = {}
    if kind == "sentinel":
        named = [query.pop(name) for name in _SERVICE_NAMES if name in query]
        if not named and path:
            named = [path.pop(0)]
        service = named[0] if named else _DEFAULT_SERVICE
        for name in ("username", "password"):
            if f"sentinel_{name}" in query:
                sentinel_options[name] = query.pop(f"sentinel_{name}")
    database = path[0] if path else "0"
    if len(path) > 1 or not database.isdigit() or (kind == "cluster" and database != "0"):
        raise ValueError("the path of the address is wrong")
    host = hosts[0][0]
    shown = f"[{host}]" if ":" in host else host
    url = (
        f"{plain}://{f'{user}@' if user else ''}{shown}:{hosts[0][1]}/{database}?{urlencode(query)}"
    )
    return Address(kind, url, hosts, service, sentinel_options)


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host of the address is empty")
    return parts.hostname, parts.port or default_port


def client_for(library: Any, address: Address, options: dict[str, Any]) -> Any:  # noqa: ANN401  # redis-py's
    """Create a client of redis-py. Blocks for a cluster, whose nodes it queries for their slots.

    Args:
        library: The package ``redis``.
        address: The address.
        options: The options of each connection.

    Raises:
        redis.RedisError, redis.exceptions.RedisClusterException: The cluster can't be reached.
    """
    never = library.retry.Retry(library.backoff.NoBackoff(), 0)
    if address.kind == "single":
        return library.Redis.from_url(address.url, **options, retry=never)
    if address.kind == "cluster":
        return _cluster_client(library, address, {**options, "retry": never})
    given = connection_options(library, address)
    is_secure = given.pop("connection_class", None) is not None
    for name in ("host", "port"):
        given.pop(name)
    times = {name: value for name, value in options.items() if name.startswith("socket_")}
    tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
    if is_secure:
        tls["ssl"] = True
    sentinel = library.sentinel.Sentinel(
        address.hosts,
        sentinel_kwargs={**times, **tls, **address.sentinel_options, "retry": never},
    )
    return sentinel.master_for(address.service, **{**given, **tls, **options, "retry": never})


def _cluster_client(library: Any, address: Address, options: dict[str, Any]) -> Any:  # noqa: ANN401
    nodes = [library.cluster.ClusterNode(*each) for each in address.hosts]
    try:
        return library.cluster.RedisCluster(url=address.url, startup_nodes=nodes, **options)
    except BaseException:
        # It leaves the connections to nodes that have replied to the garbage collector.
        _disconnect(nodes)
        raise


def close_client(client: Any) -> None:  # noqa: ANN401  # redis-py's
    """Close a client, and the connections that it leaves open."""
    client.close()
    pool = getattr(client, "connection_pool", None)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        sentinel.close()
    manager = getattr(client, "nodes_manager", None)
    if manager is not None:
        _disconnect([*manager.nodes_cache.values(), *manager.startup_nodes.values()])


def _disconnect(nodes: Iterable[Any]) -> None:
    """Close the connections to nodes of a cluster: those of an address have pools that stay."""
    for node in nodes:
        if node.redis_connection is not None:
            node.redis_connection.connection_pool.disconnect()


def check_options(library: Any, address: Address, options: dict[str, Any]) -> None:  # noqa: ANN401  # a module
    """Refuse an option that redis-py doesn't know. It would refuse it with the first command.

    Raises:
        TypeError, ValueError: There is such an option.
    """
    given = connection_options(library, address)
    made = given.pop("connection_class", library.Connection)
    others = {name: value for name, value in options.items() if name != "max_connections"}
    made(**{**given, **others})


def connection_options(library: Any, address: Address) -> dict[str, Any]:  # noqa: ANN401  # a module
    """Return the options of connections in the address."""
    found: dict[str, Any] = library.connection.parse_url(address.url)
    return found
