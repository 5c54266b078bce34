"""Many streams, shared by workers that join, leave and die."""

from __future__ import annotations

import math
import threading
from contextlib import ExitStack

import pytest
import redis as library
from numbered_server import Numbered, numbers_of, wait_for
from support import PATIENCE, sse_client_for_tests

from sse_client.relay import RelayedStream, RelayError, RelayWorker
from sse_client.relay import connection as connection_module
from sse_client.relay import worker as worker_module
from sse_client.relay.status import read_status

LEASE = 0.45
STREAMS = [f"s{number}" for number in range(7)]


@pytest.fixture
def numbered():
    with Numbered() as server:
        server.ends = False
        yield server


@pytest.fixture
def client():
    with sse_client_for_tests() as made:
        yield made


def worker_of(redis, client, url, streams=STREAMS, **options):
    relayed = [RelayedStream(url, name) for name in streams]
    return RelayWorker(client, relayed, redis=redis.url, lease_time=LEASE, **options)


def shares(*workers):
    return [len(worker.relayed) for worker in workers]


def is_fair(*workers):
    """All are relayed, each once, and nobody has more than its share."""
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
    redis.client.zadd("sse-client:{relays}:workers", {"dead": 2**50})
    for name in STREAMS[:4]:
        redis.client.set(f"sse-client:{{{name}}}:lease", "dead 1", px=60_000)
    with worker_of(redis, client, numbered.url) as alive:
        wait_for(lambda: shares(alive) == [3])
        # Its leases end, and so does its life.
        redis.client.zadd("sse-client:{relays}:workers", {"dead": 1})
        for name in STREAMS[:4]:
            redis.client.delete(f"sse-client:{{{name}}}:lease")
        wait_for(lambda: is_fair(alive))


def test_a_signal_handler_may_close_the_worker_that_it_interrupts(redis, client, numbered):
    with worker_of(redis, client, numbered.url) as worker:
        wait_for(lambda: is_fair(worker))

        with worker._lock:
            # Or else what follows would block for ever.
            assert worker._lock.acquire(blocking=False)
            worker._lock.release()
            worker.close(0.0)
        assert worker.wait(PATIENCE)


def test_workers_go_on_when_redis_comes_back(redis, client, numbered, monkeypatch):
    monkeypatch.setattr(connection_module, "_LONGEST_DELAY", 0.1)
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
    monkeypatch.setattr(worker_module, "_REST", 0.0)

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


def test_a_lease_that_somebody_else_was_faster_to_take_is_left(redis, client, monkeypatch):
    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one", "two"])
    redis.client.set("sse-client:{one}:lease", "other 1")
    monkeypatch.setattr(
        connection_module.RedisServer, "execute_all", lambda _, commands: [None] * len(commands)
    )
    monkeypatch.setattr(worker, "_relay_stream", lambda each, lease: lease.release())
    worker._take(2)
    assert worker.relayed == []
    worker.close()


def test_a_round_takes_no_more_than_the_share_that_is_missing(redis, client, monkeypatch):
    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one", "two", "three"])
    taken = []
    monkeypatch.setattr(
        worker, "_relay_stream", lambda each, lease: (taken.append(each.stream), lease.release())
    )
    worker._take(2)
    assert len(taken) == 2
    worker.close()


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


@pytest.mark.parametrize("refused", ["GET", "EVALSHA"])
def test_a_failure_that_passes_stops_the_round(redis, client, monkeypatch, refused):
    def fail(*_):
        raise library.BusyLoadingError("LOADING")

    worker = worker_of(redis, client, "http://127.0.0.1:9/", ["one"])
    if refused == "GET":
        reply = [library.BusyLoadingError("LOADING")]
        monkeypatch.setattr(worker._server, "execute_all", lambda _: reply)
    else:
        monkeypatch.setattr(worker._server, "run", fail)
    with pytest.raises(library.BusyLoadingError):
        worker._take(1)
    worker.close()


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
        assert redis.client.get("sse-client:{one}:lease") is None
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
        wait_for(lambda: "is waited for" in caplog.text)
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
