"""Relays, consumers and positions in a forked child: all of them belong to the parent."""

from __future__ import annotations

import os

import pytest
from children import in_child, needs_fork
from numbered_server import wait_for
from support import sse_client_for_tests

from sse_client import CursorError, SessionClosedError
from sse_client.relay import (
    RedisCursor,
    RedisRelay,
    RelayedStream,
    RelayWorker,
    incoming_from_redis,
)

pytestmark = needs_fork


@pytest.fixture
def relays(redis, numbered):
    """Functions that create a relay and a worker of one stream, which are closed at the end."""
    numbered.offer(1)
    made = []
    with sse_client_for_tests() as client:

        def relay():
            made.append(RedisRelay(client, numbered.url, redis=redis.url, stream="orders"))
            return made[-1]

        def worker():
            streams = [RelayedStream(url=numbered.url, stream="orders")]
            made.append(RelayWorker(client, streams, redis=redis.url))
            return made[-1]

        yield {"relay": relay, "worker": worker}
        for each in made:
            each.close()


@pytest.fixture(params=["relay", "worker"])
def running(request, relays, redis):
    """A relay or a worker that relays."""
    started = relays[request.param]()
    started.start()
    wait_for(lambda: redis.client.xlen("orders") == 1)
    return started


def theirs(made):
    kind = type(made).__name__
    return (
        f"SessionClosedError: the {kind} belongs to process {os.getpid()}, "
        "from which this one was forked"
    )


def lease(redis, name="orders"):
    return redis.client.get(f"sse-client:{{{name}}}:lease")


def test_a_relay_goes_on_whatever_a_child_does(running, redis, numbered):
    held = lease(redis)
    assert in_child(running.wait) == theirs(running)
    assert in_child(running.start) == theirs(running)
    assert in_child(running.close) == "None"
    assert in_child(lambda: running.__exit__(None, None, None)) == "None"
    assert lease(redis) == held
    numbered.offer(2)
    wait_for(lambda: redis.client.xlen("orders") == 2)


@pytest.mark.parametrize("kind", ["relay", "worker"])
def test_a_child_makes_its_own(kind, relays):
    # Copies would have the same name, and count as one.
    made = relays[kind]()
    assert in_child(made.start) == theirs(made)
    assert in_child(made.close) == "None"
    made.start()


def test_a_child_does_not_run_a_relay_of_its_parent(relays):
    made = relays["relay"]()
    assert in_child(made.run) == theirs(made)


def test_a_child_neither_takes_nor_acknowledges_what_its_parent_has_in_hand(redis):
    redis.client.xadd("orders", {"event": "message", "data": "1", "id": "n1", "source": "x"})
    redis.client.xadd("orders", {"event": "message", "data": "2", "id": "n2", "source": "x"})
    with incoming_from_redis(redis.url, "orders", group="workers") as incoming:
        event = next(incoming)
        assert in_child(lambda: next(incoming)) == theirs(incoming)
        assert in_child(lambda: incoming.acknowledge(event)) == theirs(incoming)
        assert in_child(incoming.close) == "None"
        assert redis.client.xpending("orders", "workers")["pending"] == 2
        assert len(redis.client.xinfo_consumers("orders", "workers")) == 1
        assert next(incoming).data == "2"


def test_a_child_neither_saves_a_position_of_its_parent_nor_gives_it_back(redis):
    with RedisCursor("orders", redis=redis.url) as cursor:
        cursor.save("1")
        held = lease(redis, "orders:cursor")
        message = (
            f"CursorError: the position 'orders' belongs to process {os.getpid()}, "
            "from which this one was forked"
        )

        def close_and_load():
            cursor.close()
            cursor.close()
            return cursor.load()

        for act in cursor.load, lambda: cursor.save("1"), lambda: cursor.save("2"):
            assert in_child(act) == message
        assert in_child(close_and_load).endswith("is in use by another cursor")
        assert lease(redis, "orders:cursor") == held
        cursor.save("3")
    assert in_child(cursor.load) == "'3'"


def test_seen_from_within(redis, relays, monkeypatch):
    """What a child sees, run in this process, because coverage does not follow a fork."""
    relay, worker = relays["relay"](), relays["worker"]()
    incoming = incoming_from_redis(redis.url, "orders", group="workers")
    cursor = RedisCursor("orders", redis=redis.url)
    cursor.save("1")
    keeper = cursor._keeper
    for made in relay, worker, incoming, cursor:
        monkeypatch.setattr(made._process, "id", 0)
    for made in relay, worker:
        made.close()
        with pytest.raises(SessionClosedError, match=f"the {type(made).__name__} belongs to"):
            made.wait()
    with pytest.raises(SessionClosedError, match="the RedisIncoming belongs to"):
        next(incoming)
    incoming.close()
    for act in cursor.load, lambda: cursor.save("1"), lambda: cursor.save("2"):
        with pytest.raises(CursorError, match="'orders' belongs to process 0, from which"):
            act()
    held = cursor._lease
    cursor.close()
    assert lease(redis, "orders:cursor") == held.text.encode()
    monkeypatch.undo()
    keeper.close(1.0)
    held.release()
    incoming.close()
    cursor.close()
