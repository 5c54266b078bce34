"""Many streams of a worker, written by one thread."""

from __future__ import annotations

import threading

import pytest
import redis as library
from numbered_server import numbers_of, wait_for
from support import sse_client_for_tests

from sse_client.relay import RelayedStream, RelayWorker
from sse_client.relay import connection as connection_module
from sse_client.relay import shared_writer as writer_module
from sse_client.relay.connection import RedisServer
from sse_client.relay.leased_relay import End
from sse_client.relay.shared_writer import SharedWriter, SharedWriters

pytestmark = pytest.mark.usefixtures("short_delays")

LEASE = 0.6
NAMES = ["one", "two", "three"]


@pytest.fixture
def worker(redis, numbered):
    """A worker that has written five events of each stream."""
    numbered.offer(5)
    streams = [RelayedStream(numbered.url, name) for name in NAMES]
    with (
        sse_client_for_tests() as client,
        RelayWorker(client, streams, redis=redis.url, lease_time=LEASE) as started,
    ):
        goes_on(redis, numbered, 5)
        yield started


def goes_on(redis, numbered, last, names=NAMES):
    numbered.offer(last)
    for name in names:
        wait_for(lambda name=name: redis.client.xlen(name) >= last)
        assert numbers_of(redis, name) == list(range(1, last + 1))


def state_of(worker, name):
    return worker.figures()[name].state


def test_one_thread_and_few_connections_write_for_all(redis, numbered, worker):
    names = [each.name for each in threading.enumerate()]
    assert names.count("sse-client:writing") == 1
    assert not [name for name in names if name.startswith("sse-client:relay:")]
    assert len(redis.client.client_list()) <= 4
    goes_on(redis, numbered, 700)


def test_what_fails_in_a_way_that_passes_is_written_once(redis, numbered, worker):
    redis.config(maxmemory=1, maxmemory_policy="noeviction")
    numbered.offer(10)
    wait_for(lambda: {state_of(worker, name) for name in NAMES} == {"waiting for redis"})
    redis.config(maxmemory=0)
    goes_on(redis, numbered, 15)
    wait_for(lambda: {state_of(worker, name) for name in NAMES} == {"relaying"})
    redis.client.script_flush()
    goes_on(redis, numbered, 20)
    redis.kill()
    numbered.offer(25)
    wait_for(lambda: "waiting for redis" in state_of(worker, "one"))
    redis.start()
    goes_on(redis, numbered, 30)


def test_a_stream_that_is_refused_keeps_no_other_waiting(redis, numbered, worker, caplog):
    redis.client.delete("one")
    redis.client.set("one", "a string")
    goes_on(redis, numbered, 10, ["two", "three"])
    wait_for(lambda: sorted(worker.relayed) == ["three", "two"])
    assert "the relay into 'one' failed: RelayError: Redis refuses: ResponseError (WRONGTYPE)" in (
        caplog.text
    )
    assert redis.client.get("sse-client:{one}:lease") is None


def test_a_lease_and_a_position_that_are_others_end_a_stream_alone(redis, numbered, worker, caplog):
    redis.client.set("sse-client:{one}:lease", "somebody 77", px=60_000)
    redis.client.hset("sse-client:{two}:state", "sequence", 3)
    redis.client.xtrim("two", maxlen=3, approximate=False)
    redis.client.hset("sse-client:{two}:state", "id", "3")
    redis.client.delete("two")
    goes_on(redis, numbered, 10, ["three"])
    wait_for(lambda: [int(entry["data"]) for entry in redis.entries("two")] == list(range(4, 11)))
    wait_for(lambda: "one" not in worker.relayed)
    assert redis.client.xlen("one") == 5
    assert "'two': Redis is not at the position of this relay" in caplog.text


def test_a_backlog_of_many_streams_is_written_in_pieces(redis, numbered, monkeypatch):
    monkeypatch.setattr(writer_module, "_ROUND_BYTES", 100)
    numbered.offer(1500)
    streams = [RelayedStream(numbered.url, name) for name in NAMES]
    with (
        sse_client_for_tests() as client,
        RelayWorker(client, streams, redis=redis.url, lease_time=LEASE),
    ):
        goes_on(redis, numbered, 1500)


def test_a_batch_of_a_shared_writer_may_wait_for_more(redis, numbered):
    numbered.offer(5)
    streams = [RelayedStream(numbered.url, "one", batch_time=0.2)]
    with (
        sse_client_for_tests() as client,
        RelayWorker(client, streams, redis=redis.url, lease_time=5.0) as worker,
    ):
        goes_on(redis, numbered, 5, ["one"])
        wait_for(lambda: worker._streams["one"]._progress.batches >= 1)
        numbered.ends = True
        numbered.finish()
    assert numbers_of(redis, "one") == [1, 2, 3, 4, 5]


def test_the_end_and_the_failure_of_a_stream_are_noted(redis, server, caplog):
    def respond(exchange):
        exchange.send("1", id="1")
        if exchange.request.target == "/fails":
            exchange.drop()

    server.handler = respond
    streams = [RelayedStream(server.url_for(f"/{name}"), name) for name in ("ends", "fails")]
    with (
        sse_client_for_tests(reconnect="on_error", max_reconnection_attempts=0) as client,
        caplog.at_level("INFO"),
        RelayWorker(client, streams, redis=redis.url, lease_time=LEASE) as worker,
    ):
        wait_for(lambda: worker._streams["ends"].is_resting and worker._streams["fails"].is_resting)
    assert "'ends': no longer relaying: the stream ended" in caplog.text
    assert "the relay into 'fails' failed" in caplog.text
    assert [redis.client.xlen(name) for name in ("ends", "fails")] == [1, 1]


class Relay:
    """A stand-in for a relay with one batch to write."""

    is_stopping = False
    lease = type("Lease", (), {"key": "k", "text": "t"})

    def __init__(self):
        self.failures = []

    def call(self, batch):
        return ["a", "b", "c"], []

    def target_fails(self, error):
        self.failures.append(error)

    def close_session(self):
        pass


def test_a_script_that_is_unknown_and_cannot_be_sent_is_tried_again(monkeypatch):
    server = RedisServer("redis://127.0.0.1:1")
    shared = SharedWriter(server)
    job = writer_module._Job(Relay(), None, batch=object())
    reply = [library.exceptions.NoScriptError("no")]
    monkeypatch.setattr(server, "execute_all", lambda _: reply)
    failure = library.ConnectionError("no")

    def fail(*_):
        raise failure

    monkeypatch.setattr(server, "run", fail)
    assert shared._write([job]) == []
    assert job.relay.failures == [failure]
    assert job.retry_at > 0
    server.close()


def test_who_comes_when_it_is_closed_is_stopped(caplog):
    found = []
    with caplog.at_level("INFO"):
        shared = SharedWriter(RedisServer("redis://127.0.0.1:1"))
        shared.close(1.0)
        shared.add(Relay(), found.append)
    assert found == [End.STOPPED]
    assert "leases could not be released, and will expire: ConnectionError" in caplog.text


def test_each_master_of_a_cluster_has_a_writer_of_its_own(monkeypatch):
    masters = {"one": "a", "two": "b", "three": "a"}
    server = RedisServer("redis://127.0.0.1:1")

    def by_master(keys):
        if keys == ["gone"]:
            raise library.exceptions.RedisClusterException("no")
        return {masters[keys[0]]: [0]}

    monkeypatch.setattr(server, "by_master", by_master)
    writers = SharedWriters(server)
    assert writers.of("one") is writers.of("three")
    assert writers.of("one") is not writers.of("two")
    writers.close(1.0)
    found = []
    writers.of("gone").add(Relay(), found.append)
    assert found == [End.STOPPED]


def test_the_thread_that_writes_does_not_wait_for_itself(redis, numbered, worker):
    shared, closed = worker._writers.of("one"), threading.Event()
    stream = worker._streams["one"]
    finish = stream._finish

    def close_and_finish(*words):
        shared.close(5.0)
        closed.set()
        finish(*words)

    stream._finish = close_and_finish
    stream.stop()
    assert closed.wait(20.0)


def test_a_frozen_redis_is_waited_for(redis, numbered, short_timeouts, worker):
    redis.freeze()
    numbered.offer(10)
    wait_for(lambda: state_of(worker, "one") == "waiting for redis")
    redis.thaw()
    goes_on(redis, numbered, 15)


def test_a_stream_that_waits_for_replicas_has_a_thread(redis, numbered, monkeypatch):
    monkeypatch.setattr(connection_module, "_WAIT_FOR_REPLICAS", 20)
    numbered.offer(1)  # a second event may miss the waiting batch
    streams = [RelayedStream(numbered.url, "one", wait_replicas=1)]
    with (
        sse_client_for_tests() as client,
        RelayWorker(client, streams, redis=redis.url, lease_time=5.0) as worker,
    ):
        wait_for(lambda: worker.relayed and worker.figures()["one"].errors > 2)
        assert state_of(worker, "one") == "waiting for redis"
        assert "NOREPLICAS" in worker.figures()["one"].last_error
    assert numbers_of(redis, "one") == [1]
