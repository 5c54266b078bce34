"""The script that writes: the effect of sending it again, late, or from the wrong relay."""

from __future__ import annotations

import threading

import pytest
import redis as library

from sse_client import ChannelClosed, IncomingChannel, ServerSentEvent
from sse_client.relay.connection import RedisServer
from sse_client.relay.lease import acquire
from sse_client.relay.lease_keeper import LeaseKeeper
from sse_client.relay.scripts import RENEW
from sse_client.relay.writer import (
    Batch,
    BatchReader,
    Outcome,
    RepeatFilter,
    StreamWriter,
    WriteOptions,
)

BATCH = Batch([b"message", b"one", b"1", b"message", b"two", b"2"])
POSITION = RepeatFilter("2", 1)


@pytest.fixture
def server(redis):
    made = RedisServer(redis.url)
    yield made
    made.close()


def writer_of(server, owner="a", seconds=5.0):
    lease = acquire(server, "orders", owner, seconds)
    return StreamWriter(server, lease, WriteOptions("x")), lease


def test_a_batch_whose_response_was_lost_is_written_once(redis, server):
    writer, _ = writer_of(server)
    assert writer.write(BATCH, POSITION) is Outcome.WRITTEN
    writer.sequence = 0  # as if no reply had arrived
    assert writer.write(BATCH, POSITION) is Outcome.AGAIN
    assert writer.sequence == 2
    assert redis.client.xlen("orders") == 2
    assert writer.write(BATCH, POSITION) is Outcome.WRITTEN


def test_who_is_behind_or_ahead_of_redis_writes_nothing(redis, server):
    writer, _ = writer_of(server)
    for sequence in (1, 7):
        writer.sequence = sequence
        assert writer.write(BATCH, POSITION) is Outcome.MOVED
    assert redis.client.xlen("orders") == 0


def test_what_another_has_written_is_not_taken_for_ones_own(redis, server):
    first, lease = writer_of(server)
    first.write(BATCH, POSITION)
    lease.release()
    second, _ = writer_of(server, "b")
    assert second.sequence == 2
    second.sequence = 0
    assert second.write(BATCH, POSITION) is Outcome.MOVED
    assert first.write(BATCH, POSITION) is Outcome.LOST
    assert redis.client.xlen("orders") == 2


def test_the_same_owner_is_refused_under_its_earlier_lease(server):
    first, _ = writer_of(server)
    second, _ = writer_of(server)
    assert first.write(BATCH, POSITION) is Outcome.LOST
    assert second.write(BATCH, POSITION) is Outcome.WRITTEN


def test_the_position_comes_with_the_lease(server):
    writer, lease = writer_of(server)
    writer.write(BATCH, RepeatFilter("ä", 3))
    lease.release()
    _, lease = writer_of(server)
    position = lease.position
    assert (position.id, position.within, position.sequence) == ("ä", 3, 2)


def test_a_write_renews_the_lease(redis, server):
    writer, lease = writer_of(server, seconds=60.0)
    redis.client.pexpire(lease.key, 1000)
    writer.write(BATCH, POSITION)
    assert redis.client.pttl(lease.key) > 50_000


def test_leases_are_renewed_also_where_the_script_is_forgotten(redis, server):
    _, kept = writer_of(server, seconds=60.0)
    _, lost = acquire(server, "others", "a", 60.0), acquire(server, "lost", "a", 60.0)
    server.run(RENEW, *kept.renewal())
    keeper = LeaseKeeper(server, 60.0)
    for lease in (kept, lost):
        keeper.keep(lease)
    redis.client.delete(lost.key)
    for forgotten in (False, True):
        redis.client.pexpire(kept.key, 1000)
        if forgotten:
            redis.client.script_flush()
        keeper._round()
        assert redis.client.pttl(kept.key) > 50_000
        assert lost.lost.is_set()
        assert not kept.lost.is_set()
    keeper.close(1.0)


def test_a_lease_that_cannot_be_renewed_keeps_no_other_from_it(redis, server):
    leases = [acquire(server, name, "a", 60.0) for name in ("one", "two", "three")]
    keeper = LeaseKeeper(server, 60.0)
    redis.client.delete(leases[0].key)
    redis.client.lpush(leases[0].key, "no string")
    for lease in leases[1:]:
        redis.client.pexpire(lease.key, 1000)
    for lease in leases:
        keeper.keep(lease)
    redis.client.script_flush()
    keeper._round()
    assert all(redis.client.pttl(lease.key) > 50_000 for lease in leases[1:])


def test_a_failure_that_passes_leaves_the_renewals_to_the_next_round(redis, server, monkeypatch):
    def fail(*_):
        raise library.BusyLoadingError("LOADING")

    keeper = LeaseKeeper(server, 60.0)
    lease = acquire(server, "orders", "a", 60.0)
    monkeypatch.setattr(server, "run", fail)
    keeper.keep(lease)
    redis.client.script_flush()
    with pytest.raises(library.BusyLoadingError):
        keeper._round()
    assert not lease.lost.is_set()


@pytest.mark.parametrize(
    ("stopped", "most", "patience"),
    [(True, 10, 600.0), (False, 2, 600.0), (False, 10, 0.001)],
    ids=["until it is stopped", "until it is full", "until its time is over"],
)
def test_a_batch_waits_for_more(stopped, most, patience):
    channel = IncomingChannel()
    for number in "12":
        channel.put(ServerSentEvent(number, id=number))
    stopping = threading.Event()
    if stopped:
        stopping.set()
    reader = BatchReader(channel, RepeatFilter("", 0), most, patience=patience, stopping=stopping)
    assert reader.take().fields == [b"message", b"1", b"1", b"message", b"2", b"2"]


def test_the_end_is_told_behind_the_last_batch():
    channel = IncomingChannel()
    channel.put(ServerSentEvent("1", id="1"))
    channel.end()
    reader = BatchReader(channel, RepeatFilter("", 0), 10, patience=0.0, stopping=threading.Event())
    assert reader.take().count == 1
    with pytest.raises(ChannelClosed):
        reader.take()
