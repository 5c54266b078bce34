"""Failures of Redis: the relay waits or reports the failure, and nothing is lost or repeated."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from contextlib import closing

import pytest
import redis as library
from numbered_server import numbers_of, wait_for
from redis_process import RedisProcess
from support import Running, Signal, sse_client_for_tests

from sse_client.relay import RedisRelay, RelayError, RelayState
from sse_client.relay import connection as connection_module
from sse_client.relay import failures as failures_module
from sse_client.relay import patience as patience_module
from sse_client.relay.outage import Outage
from sse_client.relay.progress import Progress
from sse_client.relay.scripts import WRITE
from sse_client.relay.stop_flag import StopFlag

pytestmark = pytest.mark.usefixtures("short_delays", "short_timeouts")

LEASE = 0.5


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
    """Wait until all entries up to ``last`` exist, and check that each exists once."""
    numbered.offer(last)
    wait_for(lambda: redis.client.xlen("orders") >= last)
    assert numbers_of(redis, "orders") == list(range(1, last + 1))
    wait_for(lambda: relay.state is RelayState.RELAYING)


def waits(relay, numbered, code, last=80):
    """Offer more events, and wait until the relay reports the reason for its wait."""
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


def test_a_replica_refuses_until_it_is_the_master(redis, relay, numbered, tmp_path):
    with RedisProcess(tmp_path) as other:
        redis.client.replicaof("127.0.0.1", str(other.port))
        redis.client.config_set("replica-serve-stale-data", "yes")
        waits(relay, numbered, "ReadOnlyError|READONLY")
        redis.client.replicaof("NO", "ONE")
        # Its data was replaced by that of the other server, which was empty.
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
            assert f"(127.0.0.1:{process.port})" in shown


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
        (
            "MOVED 1 127.0.0.1:7001",
            "this Redis is one of a cluster, whose address begins with redis+cluster://",
        ),
        ("unknown command 'SENTINEL', with args: x", "ResponseError (unknown command 'SENTINEL')"),
    ],
)
def test_a_failure_is_named_by_its_code(text, shown):
    assert failures_module.describe(library.ResponseError(text)) == shown


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
    patience = patience_module.Patience(server, stopping, progress.target_fails)
    progress.move(RelayState.RELAYING)
    stopping.set()
    with pytest.raises(patience_module.Interrupted):
        patience.ask(lambda: server.execute("PING"))
    assert progress.state is RelayState.RELAYING
    assert re.fullmatch(
        r"ConnectionError: Error \d+ connecting to 127\.0\.0\.1:1\. Connection refused\.",
        progress.last_error,
    )
    server.close()


@pytest.mark.parametrize("step", range(5))
def test_a_signal_handler_may_end_the_wait_that_it_interrupts(step):
    flag, left = StopFlag(), step

    def interrupt(*_):
        nonlocal left
        left -= 1
        if left < 0 and not flag.is_set():
            flag.set()
        return interrupt

    # Like a tracer, a signal handler can run between any two steps of the thread.
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


def test_a_wait_for_a_flag_lasts_for_longer_than_one_wait_for_its_lock(monkeypatch):
    monkeypatch.setattr("sse_client.relay.stop_flag._LONGEST_WAIT", 0.01)
    flag, began = StopFlag(), time.monotonic()
    assert not flag.wait(0.05)
    assert time.monotonic() - began >= 0.05
    waiting = Running(flag.wait)
    flag.set()
    assert waiting.outcome() is True


def test_a_client_that_another_thread_has_created_first_is_used(monkeypatch):
    server = connection_module.RedisServer("redis://127.0.0.1:1")
    create, late = connection_module.client_for, []

    def create_late(*words):
        made = create(*words)
        if not late:
            late.append(made)
            server._client  # noqa: B018  # as from another thread
        return made

    closed = []
    monkeypatch.setattr(connection_module, "client_for", create_late)
    monkeypatch.setattr(connection_module, "close_client", closed.append)
    used = server._client
    assert closed == late
    assert used not in late
    assert server._client is used
    server.close()
    assert closed == [*late, used]


def test_a_client_without_one_pool_of_connections_is_left_alone():
    class Cluster:
        def execute_command(self, *words):
            return words

    server = connection_module.RedisServer(Cluster())
    assert server.passes(library.exceptions.ReadOnlyError("no"))
    assert server.execute("PING") == ("PING",)


def test_the_log_says_once_that_target_fails_and_once_that_it_is_over(
    redis, relay, numbered, caplog
):
    with caplog.at_level(logging.INFO, "sse_client"):
        redis.kill()
        waits(relay, numbered, "ConnectionError")
        wait_for(lambda: relay.statistics.redis_errors > 3)
        redis.start()
        goes_on(redis, relay, numbered)
        wait_for(lambda: "Redis replies again" in caplog.text)
    said = [each for each in caplog.records if each.getMessage().startswith(f"{relay.owner}: ")]
    assert [each.levelname for each in said] == ["WARNING"] * 2
    assert "waiting for it: ConnectionError: " in said[0].getMessage()


def test_an_outage_is_logged_for_all_that_wait(caplog):
    outage = Outage("me", "Redis")
    outage.fails("one", "no")
    outage.fails("two", "no")
    outage.replies("one")
    outage.replies("three")
    outage.gives_up("two")
    assert "again" not in caplog.text
    outage.replies("three")
    outage.replies("three")
    outage._is_on = True
    outage._waiting.add("four")
    outage.replies("one")
    assert [each.getMessage() for each in caplog.records] == [
        "me: Redis fails, waiting for it: no",
        "me: Redis replies again",
    ]


def test_an_outage_that_another_thread_has_ended_is_not_ended_again(caplog):
    outage = Outage("", "Redis")

    class Late(set):
        def discard(self, who):
            outage._is_on = False

    outage.fails("one", "no")
    outage._waiting = Late()
    outage.replies("one")
    assert "again" not in caplog.text


def test_a_missing_right_is_named_with_its_command_and_key(redis):
    redis.client.acl_setuser(
        "limited", enabled=True, passwords="+secret", keys=["orders"], commands=["+get", "+eval"]
    )
    address = redis.url.replace("//", "//limited:secret@")
    with closing(connection_module.RedisServer(address)) as server:
        found = []
        for words in (
            ("XLEN", "orders"),
            ("EVAL", "return redis.call('XLEN', KEYS[1])", 1, "orders"),
            ("GET", "others"),
        ):
            with pytest.raises(library.exceptions.ResponseError) as caught:
                server.execute(*words)
            found.append(failures_module.describe(caught.value))
        (reply,) = server.execute_all([("GET", "others")])
    assert found[0] == "NoPermissionError (NOPERM: xlen on 'orders')"
    assert found[1] == "ResponseError (NOPERM: xlen on 'orders')"
    assert found[2] == "NoPermissionError (NOPERM: get on 'others')"
    assert found[2] == failures_module.describe(reply)


def test_a_missing_right_of_a_script_is_named_with_its_command_and_keys(redis):
    redis.client.acl_setuser(
        "limited", enabled=True, passwords="+p", keys="*", commands=["+eval", "+evalsha", "+get"]
    )
    keys = ["orders", "sse-client:{orders}:lease", "sse-client:{orders}:state"]
    redis.client.set(keys[1], "me 1")
    address = redis.url.replace("//", "//limited:p@")
    with closing(connection_module.RedisServer(address)) as server:
        for _ in range(2):  # the first script is sent as text, the second by its digest
            with pytest.raises(library.exceptions.ResponseError) as caught:
                server.run(WRITE, keys, ["me 1", 1000, 0, "1", 1, "", "x", "message", "a", "1"])
            shown = failures_module.describe(caught.value)
            assert shown == f"ResponseError (NOPERM: hmget on {', '.join(map(repr, keys))})"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("on @user_script:1.", "get on 'k'"),
        ("@user_script: 2: no", "eval on 'k'"),
        ("on @user_script:9.", "eval on 'k'"),
        ("no line", "eval on 'k'"),
    ],
)
def test_a_script_of_which_redis_names_a_line_without_a_command(text, shown):
    error = library.ResponseError(f"The user executing the script can't run this command {text}")
    script = "return redis.call('GET', KEYS[1])\nreturn 1"
    failures_module.note_command(error, ["EVAL", script, 1, "k"], ["k"], "")
    assert failures_module.describe(error) == f"ResponseError (NOPERM: {shown})"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no", "NoPermissionError (NOPERM)"),
        ("User a has no permissions to run the 'get' command", "NoPermissionError (NOPERM: get)"),
    ],
)
def test_a_missing_right_of_which_little_is_known(text, shown):
    assert failures_module.describe(library.exceptions.NoPermissionError(text)) == shown


def test_the_reason_of_tls_is_named(tls_server):
    port = tls_server.port
    with (
        closing(connection_module.RedisServer(f"rediss://:secret@127.0.0.1:{port}/0")) as server,
        pytest.raises(library.ConnectionError) as caught,
    ):
        server.execute("PING")
    shown = failures_module.describe(caught.value)
    assert "secret" not in shown
    assert f"127.0.0.1:{port}" in shown
    assert "CERTIFICATE_VERIFY_FAILED" in shown


def test_a_failure_of_a_cluster_is_named_by_its_cause():
    error = library.exceptions.RedisClusterException("cannot be connected")
    assert failures_module.describe(error) == "RedisClusterException"
    reason = "Cluster mode is not enabled on this node"
    told = library.exceptions.RedisClusterException(reason)
    assert failures_module.describe(told) == f"RedisClusterException: {reason}"
    error.__cause__ = library.ConnectionError("Error 111 connecting to a:1.")
    shown = "RedisClusterException: ConnectionError: Error 111 connecting to a:1."
    assert failures_module.describe(error) == shown


def test_a_redis_that_has_lost_its_last_entries(redis, relay, numbered, caplog):
    # As after a crash with appendfsync everysec: entries, position and sequence are older again.
    state = redis.client.hgetall("sse-client:{orders}:state")
    goes_on(redis, relay, numbered, 100)
    with redis.client.pipeline() as pipeline:
        for id, _fields in redis.client.xrange("orders")[50:]:
            pipeline.xdel("orders", id)
        pipeline.hset("sse-client:{orders}:state", mapping={**state, "writer": ""})
        pipeline.execute()
    goes_on(redis, relay, numbered, 150)
    assert numbered.positions[-1] == "50"
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    # The first message is missing if the loss of the lease is detected before an event must be
    # written.
    *moved, lost = (each for each in said if each.startswith("'orders': "))
    assert [each.split(" not at the ")[1] for each in moved] in (
        [],
        ["position of this relay (100 entries, last ID '100')"],
    )
    assert lost.startswith("'orders': Redis has lost 50 entries and goes back to the position '50'")


def test_entries_without_a_position_are_a_warning(redis, numbered, caplog):
    redis.client.xadd("orders", {"data": "0"})
    numbered.ends = False
    numbered.offer(1)
    with (
        sse_client_for_tests() as client,
        RedisRelay(client, numbered.url, redis=redis.url, stream="orders") as relay,
    ):
        wait_for(lambda: relay.statistics.written == 1)
    assert "'orders' holds entries, but no position is known" in caplog.text
