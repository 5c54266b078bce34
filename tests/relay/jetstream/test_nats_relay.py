"""A relay into JetStream, from its start to its end."""

from __future__ import annotations

import os

import pytest
from numbered_server import wait_for
from support import PATIENCE

from sse_client import SessionClosedError
from sse_client.relay import RelayState
from sse_client.relay.failures import RelayError
from sse_client.relay.held_lease import Wait
from sse_client.relay.jetstream.bucket import BUCKET, Bucket
from sse_client.relay.jetstream.lease import BucketLease, read_value
from sse_client.relay.jetstream.relay import JetStreamRelay
from sse_client.relay.jetstream.stream import JetStreamStream, LastMessage


def numbers(last):
    return [str(number) for number in range(1, last + 1)]


def test_a_stream_is_relayed_to_its_end_and_continued(nats, stream, numbered, relay_to, caplog):
    numbered.ends = True
    numbered.last = 700
    relay = relay_to(nats, stream, numbered.url)
    relay.run()
    assert nats.ids(stream)[:700] == numbers(700)
    assert relay.state is RelayState.CLOSED
    assert (relay.statistics.written, relay.statistics.leases) == (700, 1)
    assert f"{stream!r}: the stream is created, with one replica and no limits" in caplog.text
    numbered.last = 702
    numbered.positions.clear()
    with relay_to(nats, stream, numbered.url) as relay:
        assert relay.wait(PATIENCE)
    assert relay.statistics.written == 2
    assert len(nats.ids(stream)) == 702
    assert "700" in numbered.positions


def test_another_relay_takes_over(nats, stream, numbered, relay_to):
    numbered.offer(3)
    with relay_to(nats, stream, numbered.url) as first:
        wait_for(lambda: first.state is RelayState.RELAYING)
        with relay_to(nats, stream, numbered.url) as second:
            wait_for(lambda: nats.length(stream) == 3)
            assert isinstance(second._acquire(), Wait)
            assert second.state is RelayState.STANDBY
            assert second.trouble == ""
            assert list(first.figures()) == [stream]
            assert second.figures() == {}
            first.close()
            numbered.offer(5)
            wait_for(lambda: nats.length(stream) == 5)
            assert second.state is RelayState.RELAYING
            owner = read_value(Bucket(nats.nats, BUCKET).get(stream))["owner"]
            assert owner == second.owner
    assert nats.ids(stream) == numbers(5)
    assert read_value(Bucket(nats.nats, BUCKET).get(stream)) == {}


def test_a_relay_that_has_just_taken_the_lease_is_starting(nats, stream, numbered, relay_to):
    relay = relay_to(nats, stream, numbered.url)
    lease = relay._acquire()
    assert isinstance(lease, BucketLease)
    value = read_value(Bucket(nats.nats, BUCKET).get(stream))
    assert (value["owner"], value["state"]) == (relay.owner, "starting")
    lease.release()
    relay.close()


def test_a_relay_that_was_overtaken_continues_after_the_other(
    nats, stream, numbered, relay_to, caplog
):
    """Both have a lease, because they use different buckets."""
    numbered.offer(2)
    options = [{"bucket": f"{name}-{stream}"} for name in ("one", "two")]
    with (
        relay_to(nats, stream, numbered.url, **options[0]),
        relay_to(nats, stream, numbered.url, **options[1]),
    ):
        for last in range(2, 30, 3):
            numbered.offer(last)
            wait_for(lambda last=last: nats.length(stream) == last)
    assert nats.ids(stream) == numbers(29)
    assert "NATS is not at the position of this relay" in caplog.text


def test_a_server_that_restarts_loses_nothing(own_nats, stream, numbered, relay_to, caplog):
    numbered.offer(3)
    with relay_to(own_nats, stream, numbered.url) as relay:
        wait_for(lambda: relay.statistics.written == 3)
        own_nats.kill()
        numbered.offer(6)
        wait_for(lambda: relay.state is RelayState.WAITING)
        assert relay.trouble.startswith("waiting for nats: NatsError: ")
        own_nats.start()
        wait_for(lambda: relay.statistics.written == 6)
    assert own_nats.ids(stream) == numbers(6)
    assert f"{relay.owner}: NATS fails, waiting for it: NatsError: " in caplog.text


def test_a_bucket_that_is_deleted_is_created_again(nats, stream, numbered, relay_to):
    numbered.offer(3)
    bucket = f"leases-{stream}"
    with relay_to(nats, stream, numbered.url, bucket=bucket) as relay:
        wait_for(lambda: relay.statistics.written == 3)
        nats.nats.ask(f"STREAM.DELETE.KV_{bucket}")
        wait_for(lambda: relay.statistics.leases == 2)
        numbered.offer(6)
        wait_for(lambda: relay.statistics.written == 6)
        assert read_value(Bucket(nats.nats, bucket).get(stream))["owner"] == relay.owner
    assert nats.ids(stream) == numbers(6)


def test_a_server_that_is_frozen_loses_nothing(
    own_nats, stream, numbered, relay_to, short_timeouts
):
    numbered.offer(3)
    with relay_to(own_nats, stream, numbered.url) as relay:
        wait_for(lambda: relay.statistics.written == 3)
        own_nats.freeze()
        numbered.offer(6)
        wait_for(lambda: relay.state is RelayState.WAITING)
        own_nats.thaw()
        wait_for(lambda: relay.statistics.written == 6)
    assert own_nats.ids(stream) == numbers(6)


def test_a_stream_that_cannot_be_used_ends_the_relay(nats, stream, numbered, relay_to, caplog):
    nats.nats.ask(f"STREAM.CREATE.{stream}", name=stream, subjects=[stream], max_age=10**10)
    relay = relay_to(nats, stream, numbered.url)
    with pytest.raises(RelayError, match="max_age"):
        relay.run()
    assert relay.state is RelayState.FAILED
    assert f"the relay into {stream!r} failed: RelayError: " in caplog.text
    assert relay.error is not None


def test_a_lease_is_released_if_the_position_cannot_be_read(nats, stream, numbered, relay_to):
    nats.nats.ask(f"STREAM.CREATE.{stream}", name=stream, subjects=[stream])
    nats.nats.publish(stream, [(b"x", {})])
    with pytest.raises(RelayError, match="its last message is not one of a relay"):
        relay_to(nats, stream, numbered.url).run()
    assert read_value(Bucket(nats.nats, BUCKET).get(stream)) == {}


def test_a_position_that_is_not_the_newest_message_is_not_used(nats, stream, numbered, relay_to):
    with relay_to(nats, stream, numbered.url) as relay:
        numbered.offer(2)
        wait_for(lambda: relay.statistics.written == 2)
    nats.nats.ask(f"STREAM.MSG.DELETE.{stream}", seq=2)
    with relay_to(nats, stream, numbered.url) as relay:
        wait_for(lambda: relay.state is RelayState.WAITING)
        assert "the newest one was deleted" in relay.trouble


def test_a_stream_that_is_deleted_while_the_position_is_read_is_not_used(
    nats, stream, numbered, relay_to, monkeypatch
):
    with relay_to(nats, stream, numbered.url) as relay:
        wait_for(lambda: relay.state is RelayState.RELAYING)
    monkeypatch.setattr(JetStreamStream, "last", lambda _: LastMessage(0))
    found = iter([JetStreamStream(nats.nats, stream).info(), None])
    monkeypatch.setattr(JetStreamStream, "info", lambda self: next(found, None))
    monkeypatch.setattr(JetStreamStream, "create", lambda _: pytest.fail("it is created"))
    relay = relay_to(nats, stream, numbered.url)
    with pytest.raises(Exception, match="the newest one was deleted"):
        relay._acquire()
    relay.close()


def test_another_address_than_before_is_a_warning(nats, stream, numbered, relay_to, caplog):
    numbered.ends = True
    numbered.last = 1
    relay_to(nats, stream, numbered.url).run()
    relay_to(nats, stream, f"{numbered.url}?token=other").run()
    assert "relayed from" not in caplog.text, "the messages do not hold the query"
    relay_to(nats, stream, f"{numbered.url}/other").run()
    assert f"{stream!r}: relayed from {numbered.url}/other, but before from" in caplog.text


def test_a_wrong_option_is_refused(nats, numbered, client):
    with pytest.raises(ValueError, match="stream"):
        JetStreamRelay(client, numbered.url, nats="h", stream="a b")
    with pytest.raises(ValueError, match="lease_time"):
        JetStreamRelay(client, numbered.url, nats="h", stream="a", lease_time=0)
    relay = JetStreamRelay(client, numbered.url, nats="h", stream="a")
    assert repr(relay) == "<JetStreamRelay 'a' standby>"
    assert relay.trouble == "not running"
    relay.close()


def test_a_forked_child_has_no_part_in_it(nats, stream, numbered, relay_to, monkeypatch):
    with relay_to(nats, stream, numbered.url) as relay:
        wait_for(lambda: relay.state is RelayState.RELAYING)
        parent = os.getpid()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: parent + 1)
            relay.close()
            with pytest.raises(SessionClosedError):
                relay.wait()
        numbered.offer(1)
        wait_for(lambda: nats.length(stream) == 1)


def test_a_server_of_events_that_breaks_off_loses_nothing(nats, stream, numbered, relay_to):
    numbered.per_connection = 2
    numbered.last = 7
    numbered.ends = True
    relay_to(nats, stream, numbered.url).run()
    assert nats.ids(stream) == numbers(7)
