"""One or more relays for the same stream: each event is written once, whatever breaks."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import closing

import pytest
import redis as library
from numbered_server import Numbered, numbers_of, wait_for
from redis_process import RedisProcess
from support import PATIENCE, Running, Signal, silent_listener, sse_client_for_tests
from tables import each_of

from sse_client import (
    SSE,
    ChannelClosed,
    HttpClient,
    IncomingChannel,
    ReadyState,
    SessionClosedError,
    StreamInterruptedError,
    UnexpectedStatusError,
)
from sse_client.relay import RedisRelay, RelayError, RelayState
from sse_client.relay import connection as connection_module
from sse_client.relay import redis_relay as relay_module
from sse_client.relay.connection import RedisServer
from sse_client.relay.held_lease import Wait
from sse_client.relay.lease import acquire
from sse_client.relay.leased_relay import End, LeasedRelay
from sse_client.relay.progress import Progress
from sse_client.relay.scripts import WRITE
from sse_client.relay.stop_flag import StopFlag
from sse_client.relay.writer import (
    CONNECTION_OPENED,
    BatchReader,
    RepeatFilter,
    StreamWriter,
    WriteOptions,
)

LEASE = 0.6


@pytest.fixture
def numbered():
    """A server of numbered events whose stream ends."""
    with Numbered() as server:
        yield server


def relay_to(redis, client, url, **options):
    return RedisRelay(
        client, url, **{"redis": redis.url, "stream": "orders", "lease_time": LEASE, **options}
    )


def wait_for_entries(redis, count, stream="orders"):
    wait_for(lambda: redis.client.xlen(stream) >= count)


def play(server, *scripts):
    """Respond to the requests with these, one after another, and then with 204."""
    left = deque(scripts)
    server.handler = lambda exchange: left.popleft()(exchange) if left else exchange.respond(204)


# The entry of an event.


def test_an_entry_holds_the_event_its_id_and_where_it_came_from(redis, server):
    def respond(exchange):
        exchange.write("event: note\nid: é 1\ndata: ä\ndata: b\n\n".encode())

    play(server, respond)
    url = server.url.replace("http://", "http://user:secret@") + "?token=secret"
    with sse_client_for_tests() as client:
        relay_to(redis, client, url).run()
    assert redis.entries("orders") == [
        {"event": "note", "data": "ä\nb", "id": "é 1", "source": server.url}
    ]


def test_what_is_waiting_is_written_in_one_round_trip(redis, numbered):
    numbered.last = 300
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url, batch_events=100)
        relay.run()
    assert numbers_of(redis, "orders") == list(range(1, 301))
    assert relay.statistics.written == 300
    assert 3 <= relay.statistics.batches < 300


def test_a_batch_may_wait_until_it_is_full(redis, numbered):
    # The wait before each attempt is twice the previous one.
    numbered.last, numbered.per_connection = 5, 1
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url, batch_time=1.0, batch_events=5)
        relay.run()
    assert numbers_of(redis, "orders") == [1, 2, 3, 4, 5]
    assert relay.statistics.batches < 5


def test_closing_ends_a_batch_that_waits(redis, numbered):
    numbered.ends = False
    numbered.offer(1)
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url, batch_time=600.0)
        relay.start()
        wait_for(lambda: relay.state is RelayState.RELAYING)
        numbered.offer(2)
        relay.close()
    assert relay.state is RelayState.CLOSED


def test_a_stream_is_trimmed_if_asked_for(redis, numbered):
    numbered.last = 3000
    with sse_client_for_tests() as client:
        relay_to(redis, client, numbered.url, max_length=500).run()
    assert redis.client.xlen("orders") < 1000
    assert numbers_of(redis, "orders")[-1] == 3000


def test_a_client_of_typed_sessions_relays_texts(redis, server):
    play(server, lambda exchange: exchange.send('{"a": 1}', id="1"))
    with sse_client_for_tests(types=dict, overflow="drop_oldest") as client:
        relay_to(redis, client, server.url).run()
    assert [entry["data"] for entry in redis.entries("orders")] == ['{"a": 1}']


def test_comments_and_times_stay_behind_whatever_the_client_shows(redis, server):
    play(server, lambda exchange: exchange.write(b"id: 1\n\n: beat\n\nretry: 1\n\ndata: a\n\n"))
    with sse_client_for_tests(show_comment_events=True, show_retry_events=True) as client:
        relay_to(redis, client, server.url).run()
    assert [entry["data"] for entry in redis.entries("orders")] == ["a"]


# Repeated events.


def test_a_new_relay_goes_on_behind_the_old_one(redis, numbered):
    with sse_client_for_tests() as client:
        for last in (10, 25):
            numbered.last = last
            relay_to(redis, client, numbered.url).run()
    assert numbers_of(redis, "orders") == list(range(1, 26))
    assert numbered.positions == ["", "10", "10", "25"]


def test_connections_that_break_double_nothing(redis, numbered):
    numbered.last, numbered.per_connection = 100, 7
    # Each connection breaks early, which would count as a failed attempt from the third time on.
    with sse_client_for_tests(max_reconnection_time=0.0) as client:
        relay = relay_to(redis, client, numbered.url)
        relay.run()
    assert numbers_of(redis, "orders") == list(range(1, 101))
    assert relay.statistics.losses > 10


def unnumbered(exchange):
    """Send an ID once, then events without an ID (the same ones after that ID), and break off."""
    if "Last-Event-ID" not in exchange.request.headers:
        exchange.send("0", id="a")
    exchange.send("1")
    exchange.send("2")
    exchange.drop()


def numbered_end(exchange):
    for data in "123":
        exchange.send(data)
    exchange.send("4", id="b")


@pytest.mark.parametrize("restart", [False, True], ids=["reconnection", "another relay"])
def test_events_without_ids_that_come_again_are_left_out(redis, server, restart):
    play(server, unnumbered, numbered_end)
    if restart:
        with (
            sse_client_for_tests(reconnect="never") as client,
            pytest.raises(StreamInterruptedError),
        ):
            relay_to(redis, client, server.url).run()
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, server.url)
        relay.run()
    assert numbers_of(redis, "orders") == [0, 1, 2, 3, 4]
    assert relay.statistics.repeated == 2


def test_a_server_that_repeats_no_unnumbered_events_loses_none(redis, server):
    play(server, unnumbered, lambda exchange: [exchange.send(data) for data in "34"])
    with sse_client_for_tests() as client:
        relay_to(redis, client, server.url, resends_unnumbered=False).run()
    assert numbers_of(redis, "orders") == [0, 1, 2, 3, 4]


def test_a_relay_begins_behind_the_id_that_it_is_given(redis, numbered):
    numbered.last = 9
    with sse_client_for_tests() as client:
        relay_to(redis, client, numbered.url, last_event_id="5").run()
    assert numbers_of(redis, "orders") == [6, 7, 8, 9]


# Which relay may write.


def test_of_many_relays_one_writes_and_another_takes_over_when_it_leaves(redis, numbered):
    numbered.ends = False
    numbered.offer(20)
    with sse_client_for_tests() as client:
        relays = [relay_to(redis, client, numbered.url) for _ in range(3)]
        for relay in relays:
            relay.start()
        try:
            for count in (20, 40, 60):
                numbered.offer(count)
                wait_for_entries(redis, count)
                owners = [each for each in relays if each.state is RelayState.RELAYING]
                assert len(owners) == 1
                if count < 60:
                    owners[0].close()
                    relays.remove(owners[0])
        finally:
            for relay in relays:
                relay.close()
    assert numbers_of(redis, "orders") == list(range(1, 61))


def test_who_has_lost_the_lease_writes_nothing_and_stands_by(redis, numbered):
    numbered.ends = False
    numbered.offer(10)
    with sse_client_for_tests() as client, relay_to(redis, client, numbered.url) as relay:
        wait_for_entries(redis, 10)
        redis.client.set("sse-client:{orders}:lease", "somebody 77", px=60_000)
        numbered.offer(20)
        wait_for(lambda: relay.state is RelayState.STANDBY)
        assert redis.client.xlen("orders") == 10
        redis.client.delete("sse-client:{orders}:lease")
        wait_for_entries(redis, 20)
    assert numbers_of(redis, "orders") == list(range(1, 21))
    assert relay.statistics.leases == 2


def test_who_loses_the_lease_of_a_quiet_stream_leaves_the_server(redis, numbered):
    numbered.ends = False
    numbered.offer(1)
    with sse_client_for_tests() as client, relay_to(redis, client, numbered.url) as relay:
        wait_for_entries(redis, 1)
        redis.client.set("sse-client:{orders}:lease", "somebody 77", px=60_000)
        wait_for(lambda: relay.state is RelayState.STANDBY)


def test_the_token_of_a_lease_only_grows(redis):
    server = RedisServer(redis.url)
    first = acquire(server, "orders", "a", 5.0)
    assert isinstance(acquire(server, "orders", "b", 5.0), Wait)
    again = acquire(server, "orders", "a", 5.0)
    again.release()
    last = acquire(server, "orders", "b", 5.0)
    assert [lease.text for lease in (first, again, last)] == ["a 1", "a 2", "b 3"]
    first.renew()
    first.renew()
    assert first.lost.is_set()
    first.release()
    last.renew()
    assert not last.lost.is_set()
    server.close()


def test_another_address_for_the_same_stream_is_a_warning(redis, numbered, caplog):
    numbered.last = 3
    with sse_client_for_tests() as client:
        for query in ("", "?topic=secret", "?topic=secret"):
            relay_to(redis, client, f"{numbered.url}{query}").run()
        numbered.ends = False
        with relay_to(redis, client, f"{numbered.url}?topic=secret") as relay:
            wait_for(lambda: relay.state is RelayState.RELAYING)
            with relay_to(redis, client, numbered.url):
                wait_for(lambda: caplog.text.count("relayed from") == 2)
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    url = numbered.url
    assert said[0].startswith(f"'orders': relayed from {url}, but before from {url} with another")
    assert len(said) == 2
    assert "secret" not in "".join(said)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_batch_waits_for_replicas(redis, numbered, tmp_path, monkeypatch, forgotten):
    monkeypatch.setattr(connection_module, "_WAIT_FOR_REPLICAS", 20)
    redis.config(repl_diskless_sync_delay=0)
    numbered.ends = False
    numbered.offer(3)
    with (
        sse_client_for_tests() as client,
        relay_to(redis, client, numbered.url, wait_replicas=1, lease_time=5.0) as relay,
    ):
        wait_for(lambda: relay.state is RelayState.WAITING)
        assert "NOREPLICAS" in relay.statistics.last_error
        assert relay.statistics.written == 0
        if forgotten:
            redis.client.script_flush()
        with RedisProcess(tmp_path) as replica:
            replica.client.replicaof("127.0.0.1", str(redis.port))
            wait_for(lambda: relay.statistics.written == 3)
            assert replica.client.xlen("orders") == 3
    assert numbers_of(redis, "orders") == [1, 2, 3]


def test_a_batch_that_is_sent_again_waits_for_its_replica_on_any_connection(
    redis, tmp_path, monkeypatch
):
    monkeypatch.setattr(connection_module, "_WAIT_FOR_REPLICAS", 20)
    redis.config(repl_diskless_sync_delay=0)
    with (
        RedisProcess(tmp_path) as replica,
        closing(RedisServer(redis.url)) as one,
        closing(RedisServer(redis.url)) as other,
    ):
        replica.client.replicaof("127.0.0.1", str(redis.port))
        lease = acquire(one, "orders", "a", 60.0)
        wait_for(lambda: replica.client.exists(lease.key) and redis.client.wait(1, 100))
        replica.freeze()
        keys = ["orders", lease.key, lease.state_key]
        words = [lease.text, 60_000, 0, "1", 1, "", "x", "message", "data", "1"]
        for server in (one, other):
            with pytest.raises(library.ResponseError, match="NOREPLICAS"):
                server.run_on_replicas(WRITE, keys, words, 1)
        replica.thaw()
        wait_for(lambda: replica.client.xlen("orders") == 1)
        assert other.run_on_replicas(WRITE, keys, words, 1) == b"again"


# Refusals, and the end.


def test_the_error_of_the_stream_is_the_relays(redis, server):
    play(server, lambda exchange: exchange.respond(404))
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, server.url)
        with pytest.raises(UnexpectedStatusError):
            relay.run()
        with pytest.raises(UnexpectedStatusError):
            relay.wait()
    assert relay.state is RelayState.FAILED
    assert isinstance(relay.error, UnexpectedStatusError)
    assert "404" in relay.statistics.last_error
    assert redis.client.get("sse-client:{orders}:lease") is None


def test_a_key_of_another_type_is_told(redis, numbered):
    numbered.last = 3
    redis.client.set("orders", "a string")
    with sse_client_for_tests() as client, pytest.raises(RelayError, match="WRONGTYPE"):
        relay_to(redis, client, numbered.url).run()


def test_a_relay_begins_once(redis, numbered):
    numbered.last = 1
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url)
        relay.run()
        with pytest.raises(RuntimeError, match="once"):
            relay.start()
        other = relay_to(redis, client, numbered.url)
        other.close()
        other.close()
        assert other.state is RelayState.CLOSED
        assert other.wait(PATIENCE)


def test_a_signal_handler_may_close_the_relay_that_it_interrupts(redis, numbered, monkeypatch):
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url)
        monkeypatch.setattr(relay, "_hold_leases", relay.close)
        relay.run()
    assert relay.state is RelayState.CLOSED


def test_closing_just_when_the_lease_comes_relays_nothing(redis, numbered, monkeypatch):
    numbered.offer(5)
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url)

        def acquire_and_close(*args, **options):
            lease = acquire(*args, **options)
            relay._stopping.set()
            return lease

        monkeypatch.setattr(relay_module, "acquire", acquire_and_close)
        relay.run()
    assert redis.client.xlen("orders") == 0
    assert redis.client.get("sse-client:{orders}:lease") is None


def connecting(redis, client):
    """Start a relay without a server, and wait until an attempt has failed."""
    failing = Signal()
    relay = relay_to(redis, client, "http://127.0.0.1:9/", on_disconnect=failing)
    relay.start()
    failing.await_()
    return relay


def test_closing_the_client_ends_a_relay_that_is_connecting(redis):
    with sse_client_for_tests(reconnection_time=0.01) as client:
        relay = connecting(redis, client)
        client.close()
        with pytest.raises(SessionClosedError):
            relay.wait(PATIENCE)
        relay.close()


def test_an_end_behind_nothing_but_a_new_connection_is_the_end():
    channel = IncomingChannel()
    channel.put(CONNECTION_OPENED)
    channel.end()
    with pytest.raises(ChannelClosed):
        BatchReader(
            channel, RepeatFilter("", 0), 10, patience=0.0, stopping=threading.Event()
        ).take()


def test_what_is_over_stays_over_and_waiting_remembers_where_it_was():
    progress = Progress()
    progress.target_fails(None)
    progress.move(RelayState.CONNECTING)
    progress.target_fails(OSError())
    progress.target_fails(OSError())
    progress.move(RelayState.RELAYING)
    assert progress.state is RelayState.WAITING
    progress.target_fails(None)
    assert progress.state is RelayState.RELAYING
    progress.move(RelayState.CLOSED)
    progress.move(RelayState.STANDBY)
    progress.target_fails(OSError())
    assert progress.state is RelayState.CLOSED


def test_the_last_error_is_that_of_a_connection_too(redis, server):
    play(server, lambda exchange: exchange.drop(), lambda exchange: exchange.respond(503))
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, server.url)
        relay.run()
    assert relay.statistics.losses == 2
    assert "503" in relay.statistics.last_error


def test_closing_ends_a_relay_whose_server_is_not_there(redis):
    with sse_client_for_tests(reconnection_time=0.01) as client:
        relay = connecting(redis, client)
        relay.close()
    assert relay.state is RelayState.CLOSED


@pytest.mark.parametrize("signalled", [False, True], ids=["another thread", "a signal handler"])
def test_closing_ends_a_relay_whose_first_attempt_hangs(redis, signalled):
    with silent_listener() as (port, accept), sse_client_for_tests() as client:
        relay = relay_to(redis, client, f"http://127.0.0.1:{port}/")
        running = Running(relay.run)
        connection = accept()
        if signalled:
            # It runs on the thread that it interrupts, so it cannot wait for that thread.
            relay._runner = threading.current_thread()
        relay.close(0.0 if signalled else PATIENCE)
        assert running.outcome() is None
        assert relay.state is RelayState.CLOSED
        assert redis.client.get("sse-client:{orders}:lease") is None
        connection.close()  # the rest of the attempt ends with it


def test_a_stream_that_opens_after_its_relay_was_closed_is_dropped(redis):
    opening, closed = Signal(), threading.Event()

    def authorize(request):
        opening()
        assert closed.wait(PATIENCE)
        return request

    with Numbered() as numbered, sse_client_for_tests() as client:
        numbered.ends = False
        relay = relay_to(redis, client, numbered.url, auth=authorize)
        relay.start()
        opening.await_()
        relay.close()
        closed.set()
        wait_for(lambda: numbered.positions == [""])
        wait_for(lambda: all(each.name != "sse-client:opening" for each in threading.enumerate()))
        assert redis.client.xlen("orders") == 0


@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_that_opens_just_when_its_relay_is_closed_is_dropped(redis, numbered, fails):
    server, progress = RedisServer(redis.url), Progress()
    numbered.ends = False
    with sse_client_for_tests() as client:

        def open_and_stop(last_event_id, relay):
            session = client.sse(numbered.url)
            relay.stop()
            if fails:
                session.close()
                raise OSError
            opened.append(session)
            return session

        opened = []
        lease = acquire(server, "orders", "a", 5.0)
        relay = under(server, lease, open_and_stop, progress)
        relay._is_settled = Settled(relay)
        assert relay.run() is End.STOPPED
        assert all(session.state is ReadyState.CLOSED for session in opened)
    server.close()


def under(server, lease, open_stream, progress):
    """A relay under a lease."""
    options = WriteOptions("x")
    writer = StreamWriter(server, lease, options)
    return LeasedRelay(server, lease, open_stream, options, progress, writer=writer)


class Settled(StopFlag):
    """For a relay with a lease: set once its stream was opened, but not when it is stopped."""

    def __init__(self, relay):
        super().__init__()
        self._relay = relay

    def set(self):
        if self._relay._outcome is not None:
            super().set()


def test_what_an_attempt_that_was_left_alone_comes_to_changes_no_state(redis, numbered):
    server, progress = RedisServer(redis.url), Progress()
    numbered.ends = False
    with sse_client_for_tests() as client, client.sse(numbered.url) as session:
        lease = acquire(server, "orders", "a", 5.0)
        relay = under(server, lease, client.sse, progress)
        relay.stop()
        relay.opened(session)
        relay.disconnected(session, OSError())
        assert session.state is ReadyState.CLOSED
    assert progress.state is RelayState.STANDBY
    assert progress.losses == 0
    server.close()


def test_what_opens_after_ctrl_c_is_dropped(redis, numbered):
    server = RedisServer(redis.url)
    numbered.ends = False
    interrupted, opened = threading.Event(), Signal()

    def open_later(last_event_id, relay):
        assert interrupted.wait(PATIENCE)
        session = client.sse(numbered.url, on_close=opened)
        sessions.append(session)
        return session

    class Interrupting(Settled):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    sessions = []
    with sse_client_for_tests() as client:
        lease = acquire(server, "orders", "a", 5.0)
        relay = under(server, lease, open_later, Progress())
        relay._is_settled = Interrupting(relay)
        with pytest.raises(KeyboardInterrupt):
            relay.run()
        interrupted.set()
        opened.await_()
        assert sessions[0].state is ReadyState.CLOSED
    server.close()


def test_an_error_behind_the_closing_is_none_of_the_relays(redis, numbered, monkeypatch):
    def fail():
        relay._stopping.set()
        raise OSError

    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url)
        monkeypatch.setattr(relay, "_hold_leases", fail)
        relay.run()
    assert relay.state is RelayState.CLOSED


def test_a_standby_asks_seldom_for_a_lease_that_never_ends(redis, numbered):
    redis.client.set("sse-client:{orders}:lease", "somebody 1")
    server = RedisServer(redis.url)
    assert acquire(server, "orders", "a", 5.0) == Wait(5.0)
    server.close()


@each_of(
    ("options", "error", "named"),
    [
        ({"stream": ""}, ValueError, "stream"),
        ({"stream": 5}, TypeError, "stream"),
        ({"stream": "a{b"}, ValueError, "stream"),
        ({"stream": "a}b"}, ValueError, "stream"),
        ({"max_length": 0}, ValueError, "max_length"),
        ({"max_length": True}, TypeError, "max_length"),
        ({"batch_events": None}, TypeError, "batch_events"),
        ({"batch_time": -1}, ValueError, "batch_time"),
        ({"wait_replicas": -1}, ValueError, "wait_replicas"),
        ({"wait_replicas": True}, TypeError, "wait_replicas"),
        ({"batch_time": True}, TypeError, "batch_time"),
        ({"lease_time": 0}, ValueError, "lease_time"),
        ({"lease_time": "5"}, TypeError, "lease_time"),
        ({"overflow": "error"}, TypeError, "overflow"),
        ({"cursor": None}, TypeError, "cursor"),
        ({"types": dict}, TypeError, "types"),
        ({"show_comment_events": True}, TypeError, "show_comment_events"),
        ({"redis": 5}, TypeError, "redis"),
        ({"url": 5}, TypeError, "url"),
        ({"url": "http://secret@[x"}, ValueError, "url"),
        ({"redis": "http://secret"}, ValueError, "redis must be an address"),
        ({"capacity": 0}, ValueError, "capacity"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, error, named):
    given = {"redis": "redis://127.0.0.1", "stream": "orders", **options}
    with HttpClient().install(SSE) as client, pytest.raises(error, match=named) as caught:
        RedisRelay(client, given.pop("url", "http://127.0.0.1:9"), **given)
    assert "secret" not in str(caught.value)


def test_keys_of_a_tagged_stream_are_in_its_slot():
    from redis.crc import key_slot

    from sse_client.relay.options import key_of

    for name in ("orders", "{orders}:eu", "eu:{orders}"):
        assert key_slot(key_of(name, "lease").encode()) == key_slot(name.encode())
    assert key_of("{orders}:eu", "lease") != key_of("{orders}:us", "lease")


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with HttpClient().install(SSE) as client, pytest.raises(ImportError, match=r"\[redis\]"):
        RedisRelay(client, "http://127.0.0.1:9", redis="redis://127.0.0.1", stream="orders")
