"""The lease in a bucket: who holds it, and what is noticed of its loss."""

from __future__ import annotations

import pytest
from nats_process import LEASE, NatsProcess
from numbered_server import wait_for

from sse_client.relay.failures import RelayError
from sse_client.relay.held_lease import Wait
from sse_client.relay.jetstream.bucket import Bucket, Entry
from sse_client.relay.jetstream.failures import NatsError
from sse_client.relay.jetstream.lease import BucketKeeper, BucketLease, Claim, acquire, read_value


@pytest.fixture
def bucket(nats, stream):
    """A bucket that no other test uses."""
    made = Bucket(nats.nats, f"leases-{stream}")
    made.prepare(60.0, 1)
    return made


def claim(owner="a", **figures):
    return Claim("orders", owner, f"source of {owner}", lambda: figures)


def take(bucket, owner="a", **figures):
    lease = acquire(bucket, claim(owner, **figures), 60.0)
    assert isinstance(lease, BucketLease)
    return lease


class Failing:
    """A bucket of which some methods fail."""

    def __init__(self, bucket, **failures):
        self._bucket = bucket
        self._failures = failures

    def __getattr__(self, name):
        if name not in self._failures:
            return getattr(self._bucket, name)

        def fail(*arguments):
            if self._failures[name] == "later":
                getattr(self._bucket, name)(*arguments)
            raise NatsError("no reply", passes=True)

        return fail


def test_one_relay_holds_it_and_the_others_wait(bucket):
    lease = take(bucket, state="relaying")
    assert acquire(bucket, claim("b"), 60.0) == Wait(60.0, "source of a")
    value = read_value(bucket.get("orders"))
    assert value == {"lease": lease.text, "source": "source of a", "state": "relaying"}
    lease.release()
    assert bucket.get("orders").value is None
    assert take(bucket, "b").text.startswith("b ")


def test_of_two_relays_that_see_it_free_one_takes_it(bucket):
    free = bucket.get("orders")
    first, second = (BucketLease(bucket, claim(owner), 60.0) for owner in "ab")
    assert first.take(free.revision)
    assert not second.take(free.revision)


def test_a_relay_waits_if_another_one_is_faster(bucket):
    class Late(Bucket):
        """Sees the key as it was before the other relay."""

        def get(self, key):
            return free

    free = bucket.get("orders")
    take(bucket)
    late = Late(bucket._server, bucket._name)
    assert acquire(late, claim("b"), 60.0) == Wait(60.0, "")


def test_a_failure_is_not_taken_for_a_lease_of_another(bucket):
    for name in ("put", "get"):
        with pytest.raises(NatsError):
            acquire(Failing(bucket, **{name: "at once"}), claim(), 60.0)

    class Silent:
        def ask(self, *_, **__):
            raise NatsError("no reply", passes=True)

    with pytest.raises(NatsError):
        Bucket(Silent(), "leases").get("orders")


def test_a_relay_takes_its_own_lease_if_the_reply_was_lost(bucket):
    with pytest.raises(NatsError):
        acquire(Failing(bucket, put="later"), claim(), 60.0)
    assert isinstance(acquire(bucket, claim("b"), 60.0), Wait)
    lost = take(bucket)
    lease = take(bucket)
    lost.renew()
    assert lost.lost.is_set()
    lease.renew()
    assert not lease.lost.is_set()


def test_renewing_writes_the_figures(bucket):
    figures = {"written": 1}
    lease = acquire(bucket, Claim("orders", "a", "", lambda: figures), 60.0)
    figures["written"] = 2
    lease.renew()
    assert read_value(bucket.get("orders"))["written"] == 2
    assert not lease.lost.is_set()


def test_a_renewal_whose_reply_was_lost_is_its_own(bucket):
    lease = take(bucket)
    lease._bucket = Failing(bucket, put="later")
    with pytest.raises(NatsError):
        lease.renew()
    lease._bucket = bucket
    lease.renew()
    lease.renew()
    assert not lease.lost.is_set()


@pytest.mark.parametrize("taken", [False, True])
def test_a_lease_that_is_gone_is_lost(bucket, taken):
    lost = []
    lease = take(bucket)
    lease.on_lost = lambda: lost.append(lease)
    bucket.delete("orders", bucket.get("orders").revision)
    if taken:
        other = take(bucket, "b")
    lease.renew()
    lease.lose()
    assert lost == [lease]
    lease.release()
    if taken:
        assert read_value(bucket.get("orders"))["lease"] == other.text, "it is not released"


def test_a_lease_whose_bucket_is_deleted_is_lost(nats, bucket):
    lease = take(bucket)
    nats.nats.ask(f"STREAM.DELETE.KV_{bucket._name}")
    lease.renew()
    assert lease.lost.is_set()


def test_a_lease_is_not_lost_while_jetstream_is_not_available(tmp_path, bucket):
    lease = take(bucket)
    with NatsProcess(tmp_path, jetstream=False) as without:
        lease._bucket = Bucket(without.nats, bucket._name)
        with pytest.raises(NatsError, match="JetStream is not available"):
            lease.renew()
    assert not lease.lost.is_set()


def test_a_lease_that_cannot_be_released_expires(bucket, caplog):
    lease = take(bucket)
    lease._bucket = Failing(bucket, delete="at once")
    with caplog.at_level("INFO"):
        lease.release()
    assert "a lease could not be released, and will expire: no reply" in caplog.text


def test_a_lease_is_released_although_it_is_renewed_at_the_same_time(bucket):
    class Renewing(Bucket):
        """Whose value is renewed after it is read for the first time."""

        def get(self, key):
            found = super().get(key)
            while renewals:
                renewals.pop()()
            return found

    lease = take(bucket)
    lease._bucket = Renewing(bucket._server, bucket._name)
    renewals = [lease.renew]
    lease.release()
    assert bucket.get("orders").value is None


def test_it_expires_without_a_renewal(nats, stream):
    bucket = Bucket(nats.nats, f"leases-{stream}")
    bucket.prepare(0.2, 1)
    assert acquire(bucket, claim(), 0.2).seconds == 0.2
    wait_for(lambda: bucket.get("orders") == Entry())
    assert isinstance(acquire(bucket, claim("b"), 0.2), BucketLease)


def test_a_keeper_renews_it(bucket):
    lease = take(bucket)
    keeper = BucketKeeper(LEASE)
    keeper.keep(lease)
    keeper.start()
    revision = bucket.get("orders").revision
    wait_for(lambda: bucket.get("orders").revision > revision + 1)
    keeper.drop(lease)
    keeper.close(5.0)
    keeper.close(5.0)


def test_a_renewal_that_fails_is_tried_again(bucket, caplog):
    lease = take(bucket)
    lease._bucket = Failing(bucket, put="at once")
    keeper = BucketKeeper(0.03)
    keeper.keep(lease)
    with caplog.at_level("INFO"):
        keeper.start()
        wait_for(lambda: caplog.text.count("leases could not be renewed: NatsError: no reply") > 1)
    keeper.close(5.0)
    assert not lease.lost.is_set()


def test_all_relays_must_have_the_same_lease_time(bucket):
    with pytest.raises(RelayError, match=r"live for 60 s, which must be .*, but this one's is 5 s"):
        bucket.prepare(5.0, 1)
    bucket.prepare(60.0, 1)


class LateBucket(Bucket):
    """A bucket that another relay creates after this one has looked for it."""

    found = None

    def problem(self, seconds):
        found, self.found = self.found, super().problem(seconds)
        return found


def test_two_relays_may_create_the_bucket_at_the_same_time(nats, stream, bucket):
    # A single server permits one replica only, so another option differs.
    config = nats.nats.ask(f"STREAM.INFO.KV_{bucket._name}")["config"]
    nats.nats.ask(f"STREAM.UPDATE.KV_{bucket._name}", **{**config, "description": "another"})
    LateBucket(nats.nats, bucket._name).prepare(60.0, 1)
    with pytest.raises(RelayError, match="which must be the lease time of all relays"):
        LateBucket(nats.nats, bucket._name).prepare(5.0, 1)
    with pytest.raises(NatsError, match="replicas"):
        LateBucket(nats.nats, f"other-{stream}").prepare(60.0, 99)


def test_a_bucket_that_cannot_be_read_is_not_created(stream):
    class Refusing:
        def ask(self, what, **_):
            assert what.startswith("STREAM.INFO."), "it is not created"
            raise NatsError("no reply", passes=True)

    with pytest.raises(NatsError):
        Bucket(Refusing(), stream).prepare(5.0, 1)


@pytest.mark.parametrize("value", [None, b"", b"no JSON", b"[1]"])
def test_a_value_that_is_not_one_of_a_relay_is_a_lease_of_nobody(value):
    assert read_value(Entry(1, value)) == {}


def test_a_reply_of_another_program_is_not_a_revision():
    class Other:
        def publish(self, *_):
            return {"thanks": True}

    with pytest.raises(NatsError, match="not one of JetStream"):
        Bucket(Other(), "leases").put("orders", b"", 0)


def test_a_bucket_that_does_not_exist_has_no_value(nats, stream):
    assert Bucket(nats.nats, f"none-{stream}").get("orders") == Entry()
