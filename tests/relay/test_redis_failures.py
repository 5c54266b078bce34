"""What Redis can do to a relay: each is waited for or told, and nothing is lost or doubled."""

from __future__ import annotations

import logging
import re
import sys
import threading

import pytest
import redis as library
from numbered_server import Numbered, numbers_of, wait_for
from redis_process import RedisProcess
from support import Running, Signal, sse_client_for_tests

from sse_client.relay import RedisRelay, RelayError, RelayState
from sse_client.relay import connection as connection_module
from sse_client.relay.connection import StopFlag
from sse_client.relay.status import Progress

LEASE = 0.5


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Time-outs that a test can wait for."""
    monkeypatch.setattr(connection_module, "SOCKET_TIMEOUT", 0.3)
    monkeypatch.setattr(connection_module, "_LONGEST_DELAY", 0.1)


@pytest.fixture
def numbered():
    with Numbered() as server:
        server.ends = False
        yield server


@pytest.fixture
def relay(redis, numbered):
    """A relay that has written 50 events."""
    numbered.offer(50)
    with (
        sse_client_for_tests() as client,
        RedisRelay(
            client, numbered.url, redis=redis.url, stream="orders", lease_time=LEASE
        ) as started,
    ):
        wait_for(lambda: redis.client.xlen("orders") == 50)
        yield started


def goes_on(redis, relay, numbered, last=100):
    """Wait until all up to ``last`` is there, and look whether each is there once."""
    numbered.offer(last)
    wait_for(lambda: redis.client.xlen("orders") >= last)
    assert numbers_of(redis, "orders") == list(range(1, last + 1))
    wait_for(lambda: relay.state is RelayState.RELAYING)


def waits(relay, numbered, code, last=80):
    """Offer more, and wait until the relay says what it waits for."""
    numbered.offer(last)
    wait_for(lambda: relay.state is RelayState.WAITING)
    assert re.search(code, relay.statistics.last_error)


def test_a_redis_that_is_killed_and_comes_back(redis, relay, numbered):
    redis.kill()
    waits(relay, numbered, "ConnectionError")
    redis.start()
    goes_on(redis, relay, numbered)


def test_a_redis_that_has_forgotten_the_scripts(redis, relay, numbered):
    redis.client.script_flush()
    goes_on(redis, relay, numbered)


def test_a_redis_that_is_frozen(redis, relay, numbered):
    redis.freeze()
    waits(relay, numbered, "TimeoutError")
    redis.thaw()
    goes_on(redis, relay, numbered)


def test_a_redis_that_has_lost_its_last_entries(redis, relay, numbered, tmp_path):
    # As after appendfsync everysec: entries, position and sequence are back where they were.
    state = redis.client.hgetall("sse-client:{orders}:state")
    goes_on(redis, relay, numbered, 100)
    with redis.client.pipeline() as pipeline:
        for id, _fields in redis.client.xrange("orders")[50:]:
            pipeline.xdel("orders", id)
        pipeline.hset("sse-client:{orders}:state", mapping={**state, "writer": ""})
        pipeline.execute()
    goes_on(redis, relay, numbered, 150)
    assert numbered.positions[-1] == "50"


def test_a_replica_refuses_until_it_is_the_master(redis, relay, numbered, tmp_path):
    with RedisProcess(tmp_path) as other:
        redis.client.replicaof("127.0.0.1", str(other.port))
        redis.client.config_set("replica-serve-stale-data", "yes")
        waits(relay, numbered, "ReadOnlyError|READONLY")
        redis.client.replicaof("NO", "ONE")
        # What it had is gone with the other's data: that of the other was empty.
        goes_on(redis, relay, numbered)


def test_a_redis_that_is_out_of_memory(redis, relay, numbered):
    redis.config(maxmemory=1, maxmemory_policy="noeviction")
    waits(relay, numbered, "OutOfMemoryError|OOM")
    redis.config(maxmemory=0)
    goes_on(redis, relay, numbered)


def test_a_redis_that_has_too_few_replicas(redis, relay, numbered):
    redis.config(min_replicas_to_write=1)
    waits(relay, numbered, "NOREPLICAS")
    redis.config(min_replicas_to_write=0)
    goes_on(redis, relay, numbered)


def test_waiting_for_redis_holds_the_server_back(redis, numbered):
    with (
        sse_client_for_tests(capacity=10) as client,
        RedisRelay(
            client, numbered.url, redis=redis.url, stream="orders", lease_time=LEASE
        ) as relay,
    ):
        wait_for(lambda: relay.state is RelayState.RELAYING)
        redis.config(maxmemory=1, maxmemory_policy="noeviction")
        numbered.offer(5000)
        wait_for(lambda: relay.state is RelayState.WAITING)
        wait_for(lambda: relay._leased_relay.waiting == 10)
        redis.config(maxmemory=0)
        goes_on(redis, relay, numbered, 5000)


def test_closing_ends_a_relay_that_has_something_to_write(redis, relay, numbered):
    redis.kill()
    waits(relay, numbered, "ConnectionError")
    relay.close()
    assert relay.state is RelayState.CLOSED


def test_closing_ends_a_relay_that_has_no_lease_yet(redis, numbered):
    redis.kill()
    with (
        sse_client_for_tests() as client,
        RedisRelay(client, numbered.url, redis=redis.url, stream="orders") as relay,
    ):
        wait_for(lambda: relay.state is RelayState.WAITING)
    assert relay.state is RelayState.CLOSED


def test_a_wrong_password_is_final_and_not_shown(tmp_path, numbered, caplog):
    with RedisProcess(tmp_path, requirepass="right") as process, sse_client_for_tests() as client:
        for password in (":wrong-secret@", ""):
            url = process.url.replace("//", f"//{password}")
            relay = RedisRelay(client, numbered.url, redis=url, stream="orders")
            with pytest.raises(RelayError) as caught:
                relay.run()
            shown = f"{caught.value} {relay!r} {relay.statistics} {caplog.text}"
            assert "wrong-secret" not in shown
            assert "AuthenticationError" in shown


def test_what_is_waited_for_and_what_is_final():
    server = connection_module.RedisServer("redis://127.0.0.1:1")
    errors = library.exceptions
    passing = [
        errors.BusyLoadingError("LOADING"),
        errors.ClusterDownError("down"),
        errors.MasterDownError("down"),
        errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        errors.ResponseError("ERR Error running script: -OOM command not allowed"),
        errors.ReadOnlyError("no"),
        errors.ResponseError("BUSY Redis is busy running a script"),
        OSError(),
    ]
    final = [
        errors.NoPermissionError("no"),
        errors.AuthenticationError("no"),
        errors.ResponseError("ERR unknown command"),
        errors.DataError("no"),
    ]
    assert all(server.passes(error) for error in passing)
    assert not any(server.passes(error) for error in final)
    assert repr(server) == "<RedisServer>"
    server.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("WRONGTYPE Operation against a key", "ResponseError (WRONGTYPE)"),
        ("Error running script (call to f_1): @user_script:5: -OOM no", "ResponseError (OOM)"),
        (
            "Error running script (call to f_1): @user_script: 5: NOGROUP",
            "ResponseError (NOGROUP)",
        ),
        ("the password is SECRET", "ResponseError"),
    ],
)
def test_a_failure_is_named_by_its_code(text, shown):
    assert connection_module.describe(library.ResponseError(text)) == shown


@pytest.mark.parametrize(
    "error",
    [
        library.ReadOnlyError("You can't write against a read only replica."),
        library.ResponseError("ERR Error running script: @user_script:5: -READONLY You can't"),
    ],
)
def test_a_replica_that_refuses_is_left_for_a_new_connection(monkeypatch, error):
    server = connection_module.RedisServer("redis://127.0.0.1:1")
    left = Signal()
    monkeypatch.setattr(server, "disconnect", left)
    assert server.passes(error)
    assert left.is_set()
    server.close()


def test_who_waits_for_redis_no_longer_does_not_say_so():
    progress, stopping = Progress(), threading.Event()
    server = connection_module.RedisServer("redis://127.0.0.1:1")
    patience = connection_module.Patience(server, stopping, progress.redis_fails)
    progress.move(RelayState.RELAYING)
    stopping.set()
    with pytest.raises(connection_module.Interrupted):
        patience.ask(lambda: server.execute("PING"))
    assert progress.state is RelayState.RELAYING
    assert progress.last_error == "ConnectionError"
    server.close()


@pytest.mark.parametrize("step", range(6))
def test_a_signal_handler_may_end_the_wait_that_it_interrupts(step):
    flag, left = StopFlag(), step

    def interrupt(*_):
        nonlocal left
        left -= 1
        if left < 0 and not flag.is_set():
            flag.set()
        return interrupt

    # A handler comes between any two steps of the thread, as a tracer does.
    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        flag.wait(0.0)
    finally:
        sys.settrace(before)
    assert flag.wait(0.0)


def test_any_number_of_threads_may_wait_for_a_flag():
    flag = StopFlag()
    assert not flag.wait(0.0)
    waiting = [Running(flag.wait) for _ in range(3)]
    flag.set()
    flag.set()
    assert [each.outcome() for each in waiting] == [True] * 3
    assert flag.wait()
    assert flag.is_set()


def test_a_client_without_one_pool_of_connections_is_left_alone():
    class Cluster:
        def execute_command(self, *words):
            return words

    server = connection_module.RedisServer(Cluster())
    assert server.passes(library.exceptions.ReadOnlyError("no"))
    assert server.execute("PING") == ("PING",)


def test_the_log_says_once_that_redis_fails_and_once_that_it_is_over(
    redis, relay, numbered, caplog
):
    with caplog.at_level(logging.INFO, "sse_client"):
        redis.kill()
        waits(relay, numbered, "ConnectionError")
        wait_for(lambda: relay.statistics.redis_errors > 3)
        redis.start()
        goes_on(redis, relay, numbered)
    assert "Redis replies again" in caplog.text
    assert caplog.text.count("is waited for") <= 2
