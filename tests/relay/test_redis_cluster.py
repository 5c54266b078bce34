"""A cluster of three masters, some or all of which are unavailable."""

from __future__ import annotations

from contextlib import closing, suppress

import pytest
import redis as library
from numbered_server import numbers_of, wait_for
from redis_cluster import RedisClusterProcesses
from support import Running

from sse_client.cli import main
from sse_client.relay import (
    RedisRelay,
    RelayedStream,
    RelayError,
    RelayState,
    RelayWorker,
    incoming_from_redis,
)
from sse_client.relay.connection import RedisServer
from sse_client.relay.lease import acquire
from sse_client.relay.lease_keeper import LeaseKeeper

pytestmark = pytest.mark.usefixtures("short_delays", "short_timeouts")

LEASE = 1.0


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with RedisClusterProcesses(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def cluster(processes):
    """The three masters, empty."""
    processes.flush()
    yield processes
    for node in processes.nodes:
        node.thaw()
        node.client.close()


def length(cluster, name):
    """The length of a stream, unless its master is not ready yet."""
    with suppress(library.RedisError):
        return cluster.node_of(name).client.xlen(name)


def test_no_node_can_be_reached_for_a_moment(cluster, numbered, client):
    numbered.offer(10)
    master = cluster.node_of("orders")
    streams = [RelayedStream(numbered.url, name) for name in ("one", "two", "three")]
    with (
        closing(RedisServer(cluster.url)) as server,
        RedisRelay(
            client, numbered.url, redis=cluster.url, stream="orders", lease_time=LEASE
        ) as relay,
        RelayWorker(client, streams, redis=cluster.url, lease_time=LEASE) as worker,
        incoming_from_redis(cluster.url, "orders", group="g") as incoming,
    ):
        assert [next(incoming).id for _ in range(10)] == [str(n) for n in range(1, 11)]
        wait_for(lambda: len(worker.relayed) == 3)
        lease = acquire(server, "other", "a", 5.0)
        for node in cluster.nodes:
            node.kill()
        lease.release()  # the lease is left to expire
        numbered.offer(20)
        waiting = Running(lambda: [next(incoming).id for _ in range(10)])
        wait_for(lambda: relay.state is RelayState.WAITING)
        assert not worker.wait(0.0)
        late = RedisRelay(client, numbered.url, redis=cluster.url, stream="late")
        late.start()
        wait_for(lambda: late.state is RelayState.WAITING)
        for node in cluster.nodes:
            node.start()
        assert waiting.outcome() == [str(n) for n in range(11, 21)]
        for name in ("one", "two", "three"):
            wait_for(lambda name=name: length(cluster, name) == 20)
        wait_for(lambda: late.statistics.written == 20)
        late.close()
    assert numbers_of(master, "orders") == list(range(1, 21))


@pytest.mark.parametrize("fault", ["frozen", pytest.param("killed", marks=pytest.mark.ci)])
def test_a_dead_master_costs_no_lease_on_a_living_one(cluster, fault):
    dead, living = cluster.nodes[0], cluster.nodes[1]
    server = RedisServer(cluster.url)
    leases = [
        acquire(server, name, "a", LEASE)
        for node in (dead, living)
        for name in cluster.names_of(node, 2)
    ]
    keeper = LeaseKeeper(server, LEASE)
    for lease in leases:
        keeper.keep(lease)
    keeper.start()
    if fault == "killed":
        dead.kill()
    else:
        dead.freeze()
    living.client.config_resetstat()

    def has_renewed():
        assert not any(lease.lost.is_set() for lease in leases[2:])
        found = living.client.info("commandstats").get("cmdstat_pexpire", {"calls": 0})
        return found["calls"] >= 2 * 5

    wait_for(has_renewed)
    dead.thaw()
    keeper.close(5.0)
    server.close()


@pytest.mark.ci
def test_a_worker_takes_streams_though_the_master_of_its_pool_is_dead(cluster, numbered, client):
    numbered.offer(5)
    dead = cluster.node_of("sse-client:{relays}:workers")
    living = [node for node in cluster.nodes if node is not dead]
    names = [name for node in cluster.nodes for name in cluster.names_of(node, 2)]
    dead.kill()
    streams = [RelayedStream(numbered.url, name) for name in names]
    with RelayWorker(client, streams, redis=cluster.url, lease_time=0.3) as worker:
        for node in living:
            for name in cluster.names_of(node, 2):
                wait_for(lambda name=name: length(cluster, name) == 5)
        dead.start()
        for name in cluster.names_of(dead, 2):
            wait_for(lambda name=name: length(cluster, name) == 5)
        assert sorted(worker.relayed) == sorted(names)


@pytest.mark.ci
def test_the_command_relays_into_a_cluster(cluster, numbered, monkeypatch, capsys):
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    numbered.ends = True
    numbered.last = 4
    words = ["relay", "--redis", cluster.url]
    assert main([*words, "--stream", "orders", numbered.url]) == 0
    assert numbers_of(cluster.node_of("orders"), "orders") == [1, 2, 3, 4]
    assert main([*words, "--status", "--stream", "orders"]) == 0
    assert " 4 " in capsys.readouterr().out


def test_an_address_of_one_server_is_refused_by_a_cluster(cluster, numbered, client):
    node = cluster.nodes[0]
    name = cluster.names_of(cluster.nodes[1], 1)[0]
    with pytest.raises(RelayError, match=r"redis\+cluster://"):
        RedisRelay(client, numbered.url, redis=node.url, stream=name).run()


def test_a_client_of_a_cluster_may_be_given(cluster, numbered, client):
    numbered.ends = True
    numbered.last = 4
    node = cluster.nodes[0]
    with library.cluster.RedisCluster(host="127.0.0.1", port=node.port, protocol=2) as given:
        RedisRelay(client, numbered.url, redis=given, stream="orders").run()
        assert given.xlen("orders") == 4


def test_what_of_a_cluster_is_waited_for():
    server = RedisServer("redis+cluster://127.0.0.1:1")
    with pytest.raises(library.exceptions.RedisClusterException) as caught:
        server.execute("GET", "a")
    assert server.passes(caught.value)
    refused = library.exceptions.RedisClusterException("Redis Cluster cannot be connected.")
    for cause, passes in {
        library.exceptions.AuthenticationError("no"): False,
        library.exceptions.RedisClusterException("Cluster mode is not enabled"): False,
        library.exceptions.ConnectionError("no"): True,
    }.items():
        refused.__cause__ = cause
        assert server.passes(refused) is passes
    assert server.passes(library.exceptions.SlotNotCoveredError("no"))
    assert not server.passes(library.exceptions.RedisClusterException("keys of several slots"))
    server.close()
