"""Many streams, shared by workers that join, leave and die."""

from __future__ import annotations

import errno
import math
import re
import sys
import threading
from contextlib import ExitStack

import pytest
import redis as library
from numbered_server import numbers_of, wait_for
from support import PATIENCE, sse_client_for_tests

from sse_client import ConnectionFailedError
from sse_client.relay import RelayedStream, RelayError, RelayWorker
from sse_client.relay import connection as connection_module
from sse_client.relay import patience as patience_module
from sse_client.relay import worker_stream as worker_stream_module
from sse_client.relay.descriptors import prepare_descriptors
from sse_client.relay.lease import acquire
from sse_client.relay.leased_relay import End, LeasedRelay
from sse_client.relay.pool import Pool
from sse_client.relay.progress import Progress
from sse_client.relay.status import read_status
from sse_client.relay.unheld import UnheldStreams

LEASE = 0.45
STREAMS = [f"s{number}" for number in range(7)]


def worker_of(redis, client, url, streams=STREAMS, **options):
    relayed = [RelayedStream(url, name) for name in streams]
    return RelayWorker(client, relayed, redis=redis.url, lease_time=LEASE, **options)


def shares(*workers):
    return [len(worker.relayed) for worker in workers]


def is_fair(*workers):
    """All streams are relayed, each by one worker, and no worker has more than its share."""
    relayed = [name for worker in workers for name in worker.relayed]
    share = math.ceil(len(STREAMS) / len(workers))
    return sorted(relayed) == STREAMS and max(shares(*workers)) <= share


def test_workers_that_join_and_leave_share_the_streams(redis, client, numbered):
    numbered.offer(10)
    with ExitStack() as stack:
        first = stack.enter_context(worker_of(redis, client, numbered.url))
        wait_for(lambda: is_fair(first))
        second = stack.enter_context(worker_of(redis, client, numbered.url))
        wait_for(lambda: is_fair(first, second))
        third = stack.enter_context(worker_of(redis, client, numbered.url))
        wait_for(lambda: is_fair(first, second, third))
        numbered.offer(20)
        second.close()
        assert shares(second) == [0]
        wait_for(lambda: is_fair(first, third))
        numbered.offer(30)
        for name in STREAMS:
            wait_for(lambda name=name: redis.client.xlen(name) >= 30)
        assert str(len(first.relayed)) in repr(first)
        assert first.name != third.name
    for name in STREAMS:
        assert numbers_of(redis, name) == list(range(1, 31))
    assert redis.client.zcard("sse-client:{relays}:workers") == 0


def test_the_share_of_a_dead_worker_goes_to_the_others(redis, client, numbered):
    dead = worker_of(redis, client, numbered.url)
    dead._pool.count()
    for name in STREAMS[:4]:
        redis.client.set(f"sse-client:{{{name}}}:lease", "dead 1", px=60_000)
    with worker_of(redis, client, numbered.url) as alive:
        wait_for(lambda: shares(alive) == [3])
        # Its leases expire, and so does its registration.
        for name in STREAMS[:4]:
            redis.client.delete(f"sse-client:{{{name}}}:lease")
        wait_for(lambda: is_fair(alive))
    dead.close()


def test_a_signal_handler_may_close_the_worker_that_it_interrupts(redis, client, numbered):
    with worker_of(redis, client, numbered.url) as worker:
        wait_for(lambda: is_fair(worker))

        with worker._lock:
            # Otherwise the following call would block forever.
            assert worker._lock.acquire(blocking=False)
            worker._lock.release()
            worker.close(0.0)
        assert worker.wait(PATIENCE)


def test_workers_go_on_when_redis_comes_back(redis, client, numbered, monkeypatch):
    monkeypatch.setattr(patience_module, "LONGEST_DELAY", 0.1)
    numbered.offer(5)
    with worker_of(redis, client, numbered.url) as worker:
        wait_for(lambda: is_fair(worker))
        redis.kill()
        numbered.offer(10)
        redis.start()
        for name in STREAMS:
            wait_for(lambda name=name: redis.client.xlen(name) >= 10)
    for name in STREAMS:
        assert numbers_of(redis, name) == list(range(1, 11))


def test_a_stream_that_fails_is_tried_again_and_keeps_no_other_waiting(
    redis, client, server, monkeypatch, caplog
):
    monkeypatch.setattr(worker_stream_module, "REST", 0.0)

    def respond(exchange):
        if exchange.request.target == "/good":
            exchange.send("1", id="1")
            exchange.wait_closed(20.0)
        else:
            exchange.respond(404)

    server.handler = respond
    streams = [RelayedStream(server.url_for(f"/{name}"), name) for name in ("good", "bad")]
    with RelayWorker(client, streams, redis=redis.url, lease_time=LEASE) as worker:
        wait_for(lambda: redis.client.xlen("good"))
        wait_for(lambda: caplog.text.count("the relay into 'bad' failed") > 1)
        wait_for(lambda: worker.relayed == ["good"])
        status = redis.client.hgetall("sse-client:{bad}:status")
        assert b"404" in status[b"last_error"]
        assert int(status[b"errors"]) > 0
    assert "404" in caplog.text


def test_a_stream_that_has_ended_rests(redis, client, numbered):
    numbered.ends = True
    numbered.offer(3)
    with worker_of(redis, client, numbered.url, ["one"]) as worker:
        wait_for(lambda: redis.client.xlen("one") == 3)
        wait_for(lambda: worker.relayed == [])
        requests = len(numbered.positions)
        assert not worker.wait(2 * LEASE)
        assert len(numbered.positions) == requests


def begin_nothing(monkeypatch):
    """Let each acquired lease be given back at once, and return the names of the streams."""
    taken = []

    def begin(stream, lease):
        taken.append(stream.name)
        lease.release()

    monkeypatch.setattr(worker_stream_module.WorkerStream, "_begin", begin)
    return taken


def test_a_lease_that_somebody_else_was_faster_to_take_is_left(redis, client, monkeypatch):
    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one", "two"])
    free = worker._look()
    redis.client.set("sse-client:{one}:lease", "other 1")
    taken = begin_nothing(monkeypatch)
    worker._take(free, 2)
    assert taken == ["two"]
    worker.close()


def test_a_round_takes_no_more_than_the_share_that_is_missing(redis, client, monkeypatch):
    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one", "two", "three"])
    taken = begin_nothing(monkeypatch)
    worker._take(worker._look(), 2)
    assert len(taken) == 2
    worker.close()


def test_workers_of_different_lists_share_each_list_for_itself(redis, client, numbered):
    lists = (STREAMS[:4], STREAMS[4:], STREAMS[2:6])
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker_of(redis, client, numbered.url, names)) for names in lists
        ]
        wait_for(lambda: sorted(name for each in workers for name in each.relayed) == STREAMS)


def test_a_list_that_is_changed_by_one_worker_after_the_other_is_relayed(redis, client, numbered):
    with ExitStack() as stack:
        old = [
            stack.enter_context(worker_of(redis, client, numbered.url, STREAMS[:4]))
            for _ in range(2)
        ]
        wait_for(lambda: shares(*old) == [2, 2])
        new = stack.enter_context(worker_of(redis, client, numbered.url))
        wait_for(lambda: sorted(new.relayed) == STREAMS[4:])
        old[0].close()
        wait_for(lambda: sorted(new.relayed + old[1].relayed) == STREAMS)


def test_a_clock_that_was_moved_back_keeps_no_lease_of_the_dead(redis, client, numbered):
    numbered.offer(3)
    server = connection_module.RedisServer(redis.url)
    dead = worker_of(redis, client, numbered.url, ["one", "two"])
    dead._pool.count()
    for name in ("one", "two"):
        acquire(server, name, dead.name, LEASE)
        redis.client.pexpire(f"sse-client:{{{name}}}:lease", 3_600_000)
    redis.client.zincrby("sse-client:{relays}:workers", 3_600_000, dead._pool._member)
    with worker_of(redis, client, numbered.url, ["one", "two"]) as alive:
        wait_for(lambda: sorted(alive.relayed) == ["one", "two"])
    server.close()
    dead.close()


def test_a_lease_of_somebody_else_is_believed(redis, client):
    server = connection_module.RedisServer(redis.url)
    acquire(server, "one", "a", LEASE).release()
    redis.client.set("sse-client:{one}:lease", "somebody 77", px=60_000)
    assert acquire(server, "one", "b", LEASE).seconds > 50
    server.close()


def test_a_stream_that_nobody_holds_is_logged_once(caplog):
    unheld = UnheldStreams("me", 0.0)
    unheld.note("one", is_held=True)
    for _ in range(3):
        unheld.note("one", is_held=False)
        threading.Event().wait(0.001)
    unheld.note("one", is_held=True)
    said = [each.getMessage() for each in caplog.records]
    assert re.fullmatch(r"me: nobody has relayed 'one' for \d+\.\d seconds", said[0])
    assert said[1:] == ["me: 'one' is relayed again"]
    assert {each.levelname for each in caplog.records} == {"WARNING"}


def test_the_workers_report_how_their_streams_are(redis, client, numbered):
    numbered.offer(5)
    server = connection_module.RedisServer(redis.url)
    with worker_of(redis, client, numbered.url) as worker:

        def is_reported():
            found = read_status(server, STREAMS)
            return all(each.owner == worker.name and each.state == "relaying" for each in found)

        wait_for(is_reported)
    server.close()


def test_a_refusal_of_redis_is_told(redis, client):
    redis.client.set("sse-client:{relays}:workers", "no set")
    worker = worker_of(redis, client, "http://127.0.0.1:9/")
    worker.start()
    with pytest.raises(RelayError, match="WRONGTYPE"):
        worker.wait(20.0)
    worker.close()
    with pytest.raises(RuntimeError, match="once"):
        worker.start()


@pytest.mark.parametrize("key", ["lease", "state"])
def test_a_stream_that_redis_refuses_keeps_no_other_waiting(redis, client, numbered, caplog, key):
    redis.client.lpush(f"sse-client:{{one}}:{key}", "no string")
    numbered.offer(3)
    with worker_of(redis, client, numbered.url, ["one", "two"]) as worker:
        wait_for(lambda: redis.client.xlen("two") == 3)
        wait_for(lambda: "the relay into 'one' failed" in caplog.text)
        assert not worker.wait(LEASE)
        assert worker.relayed == ["two"]
    assert "WRONGTYPE" in caplog.text


@pytest.mark.parametrize("refused", ["PTTL", "EVALSHA"])
def test_a_failure_that_passes_stops_the_round(redis, client, monkeypatch, refused):
    def fail(*_):
        raise library.BusyLoadingError("LOADING")

    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one"])
    if refused == "PTTL":
        reply = [library.BusyLoadingError("LOADING")]
        monkeypatch.setattr(worker._server, "execute_all", lambda _: reply)
    else:
        monkeypatch.setattr(worker._server, "run", fail)
    with pytest.raises(library.BusyLoadingError):
        worker._take(worker._look(), 1)
    worker.close()


def test_a_master_of_a_cluster_that_is_away_keeps_no_other_stream_waiting(
    redis, client, monkeypatch
):
    def fail(*_):
        raise library.ConnectionError("away")

    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one"])
    monkeypatch.setattr(connection_module.RedisServer, "is_cluster", True)
    monkeypatch.setattr(worker._server, "run", fail)
    for reply in (-2, library.ConnectionError("away")):
        monkeypatch.setattr(worker._server, "execute_all", lambda _, reply=reply: [reply])
        worker._take(worker._look(), 1)
    assert worker.relayed == []
    worker.close()


def test_a_stream_that_may_not_be_asked_for_rests(redis, client, monkeypatch, caplog):
    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one"])
    reply = [library.exceptions.NoPermissionError("no")]
    monkeypatch.setattr(worker._server, "execute_all", lambda _: reply)
    assert worker._look() == worker._look() == []
    assert caplog.text.count("the relay into 'one' failed") == 1
    worker.close()


def test_workers_that_cannot_be_counted_are_those_of_before_until_they_count_as_dead(
    redis, monkeypatch, caplog
):
    server = connection_module.RedisServer(redis.url)
    pools = [Pool(server, "relays", name, STREAMS, 60.0) for name in ("one", "two")]
    assert [pool.count() for pool in pools] == [1, 2]
    monkeypatch.setattr(connection_module.RedisServer, "is_cluster", True)
    run = server.run

    def fail(*_):
        raise library.ConnectionError("away")

    monkeypatch.setattr(server, "run", fail)
    assert [pools[1].count(), pools[1].count()] == [2, 2]
    pools[1]._counted_at -= 61
    assert pools[1].count() == 1
    monkeypatch.setattr(server, "run", run)
    monkeypatch.undo()
    assert pools[1].count() == 2
    said = [each.getMessage() for each in caplog.records]
    assert said[0].startswith("two cannot count the workers of its pool: ConnectionError")
    assert said[1:] == ["two can count the workers of its pool again"]
    server.close()


def test_the_streams_of_a_worker_can_be_changed(redis, client, numbered):
    numbered.offer(3)
    names = ["same", "gone", "changed"]
    with worker_of(redis, client, numbered.url, names) as worker:
        wait_for(lambda: [redis.client.xlen(name) for name in names] == [3, 3, 3])
        same = worker._streams["same"].relay
        with pytest.raises(ValueError, match="twice"):
            worker.reload([RelayedStream(numbered.url, "same")] * 2)
        worker.reload(
            [
                RelayedStream(numbered.url, "same"),
                RelayedStream(numbered.url, "changed", max_length=5),
                RelayedStream(numbered.url, "new"),
            ]
        )
        wait_for(lambda: sorted(worker.relayed) == ["changed", "new", "same"])
        assert worker.streams == ["same", "changed", "new"]
        assert worker._streams["same"].relay is same
        assert worker._streams["changed"].definition.max_length == 5
        wait_for(lambda: redis.client.get("sse-client:{gone}:lease") is None)
        assert redis.client.zcard("sse-client:{relays}:workers") == 1
        numbered.offer(6)
        for name in worker.streams:
            wait_for(lambda name=name: redis.client.xlen(name) == 6)
    assert redis.client.xlen("gone") == 3
    assert redis.client.zcard("sse-client:{relays}:workers") == 0


def test_a_stream_that_cannot_be_opened_is_left_to_other_workers(redis, monkeypatch, caplog):
    monkeypatch.setattr(worker_stream_module, "ATTEMPTS", 1)
    with (
        sse_client_for_tests(reconnection_time=0.01, max_reconnection_time=0.01) as client,
        worker_of(redis, client, "http://127.0.0.1:9/", ["one"]) as worker,
    ):
        wait_for(lambda: "'one': no longer relaying: the stream could not be opened" in caplog.text)
        wait_for(lambda: worker.relayed == [])
        assert redis.client.get("sse-client:{one}:lease") is None
        assert worker._streams["one"].is_resting


def test_a_process_without_descriptors_leaves_a_stream_at_once(redis, server):
    failure = ConnectionFailedError("no")
    failure.__cause__ = OSError(errno.EMFILE, "Too many open files")
    connection = connection_module.RedisServer(redis.url)
    lease = acquire(connection, "one", "a", LEASE)
    relay = LeasedRelay(
        *(connection, lease, None, None, Progress()),
        writer=None,
        attempts=5,
    )
    relay.disconnected(None, None)
    relay.disconnected(None, ConnectionFailedError("no"))
    assert not relay.is_stopping
    relay.disconnected(None, failure)
    assert relay.is_stopping
    assert relay.end() is End.UNREACHABLE
    connection.close()


@pytest.mark.parametrize(
    ("limits", "wanted", "warned"),
    [
        ((64, 2000), 264, False),
        ((64, -1), 264, False),
        ((64, 100), 100, True),
        ((64, 3000), None, True),
        ((300, 300), None, False),
        ((-1, -1), None, False),
    ],
)
def test_the_limit_of_descriptors_is_raised_or_said(monkeypatch, caplog, limits, wanted, warned):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    found = []

    def set_limit(_, given):
        if given[1] == 3000:
            raise ValueError("not allowed")
        found.append(given)

    monkeypatch.setattr(resource, "setrlimit", set_limit)
    prepare_descriptors(100)
    assert found == ([] if wanted is None else [(wanted, limits[1])])
    assert ("LimitNOFILE" in caplog.text) is warned


def test_a_system_without_limits_needs_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    prepare_descriptors(10**6)


def test_a_worker_that_gets_no_thread_gives_the_stream_back(
    redis, client, numbered, monkeypatch, caplog
):
    start = threading.Thread.start

    def start_few(thread):
        if thread.name == "sse-client:relay:one":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    numbered.offer(3)
    with worker_of(redis, client, numbered.url, ["one", "two"]) as worker:
        wait_for(lambda: redis.client.xlen("two") == 3)
        wait_for(lambda: "the relay into 'one' failed: RuntimeError" in caplog.text)
        wait_for(lambda: redis.client.get("sse-client:{one}:lease") is None)
    assert worker.wait(PATIENCE)


def test_a_worker_that_was_closed_before_it_began_is_over(redis, client):
    worker = worker_of(redis, client, "http://127.0.0.1:9/")
    worker.close()
    worker.close()
    assert worker.wait(PATIENCE)
    with pytest.raises(RuntimeError, match="once"):
        worker.start()


def test_closing_does_not_wait_for_a_redis_that_is_gone(redis, client, numbered, caplog):
    with worker_of(redis, client, numbered.url) as worker:
        wait_for(lambda: is_fair(worker))
        redis.kill()
        wait_for(lambda: "waiting for it" in caplog.text)
    assert worker.relayed == []


@pytest.mark.parametrize(
    ("streams", "options", "error", "named"),
    [
        ([], {}, ValueError, "streams"),
        (["one", "one"], {}, ValueError, "streams"),
        (["one"], {"pool": ""}, ValueError, "pool"),
        (["one"], {"lease_time": 0}, ValueError, "lease_time"),
    ],
)
def test_a_wrong_option_is_refused_by_name(client, streams, options, error, named):
    relayed = [RelayedStream("http://127.0.0.1:9", name) for name in streams]
    with pytest.raises(error, match=named):
        RelayWorker(client, relayed, redis="redis://127.0.0.1", **options)
