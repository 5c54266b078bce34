"""Leases in a bucket of JetStream: which relay opens the stream.

A lease saves connections and refused writes. The promise does not depend on it, because each write
is conditional (``writer``). Its value holds the figures of the relay, so that the status needs
nothing else.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.relay.held_lease import HeldLease, Position, Wait
from sse_client.relay.jetstream.failures import UNMET, NatsError, NoRespondersError
from sse_client.relay.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.relay.jetstream.bucket import Bucket, Entry
    from sse_client.relay.jetstream.stream import LastMessage

logger = logging.getLogger("sse_client")


@dataclass(frozen=True)
class Claim:
    """What a relay writes into the bucket while it holds a lease.

    Attributes:
        stream: The name of the stream.
        owner: The name of the relay.
        source: The identity of its source.
        figures: Returns its figures.
    """

    stream: str
    owner: str
    source: str
    figures: Callable[[], dict[str, object]]


class BucketLease(HeldLease):
    """A lease in a bucket that is held, or was. Thread-safe.

    Its text is the owner and a random part.

    Args:
        bucket: The bucket.
        claim: What it writes there.
        seconds: The time after which it expires unless it is renewed.
    """

    def __init__(self, bucket: Bucket, claim: Claim, seconds: float) -> None:
        super().__init__(claim.stream, f"{claim.owner} {secrets.token_hex(4)}", seconds, Position())
        self.last: LastMessage
        self._bucket = bucket
        self._claim = claim
        self._revision = 0

    def take(self, revision: int) -> bool:
        """Take it if the key still has this revision; return whether it did. Blocks."""
        try:
            self._put(revision)
        except NatsError as error:
            if error.code not in UNMET:
                raise
            return False
        return True

    def start_from(self, last: LastMessage) -> None:
        """Set the position from which to relay."""
        self.last = last
        self.position = Position(last.id, last.within, last.sequence)

    def renew(self) -> None:
        """Renew it for the whole time, or note that it is lost. One round trip."""
        try:
            self._put(self._revision)
        except NatsError as error:
            if error.code not in UNMET and not isinstance(error, NoRespondersError):
                raise
            # The reply to the last renewal may have been lost, or the bucket may be deleted.
            found = self._bucket.get(self.name)
            if self._is_mine(found):
                self._revision = found.revision
            else:
                self.lose()

    def release(self) -> None:
        """Release it if it is still held. After a failure it expires by itself."""
        try:
            try:
                self._delete()
            except NatsError as error:
                if error.code not in UNMET:
                    raise
                self._delete()  # the keeper has just renewed it
        except NatsError as error:
            logger.info("a lease could not be released, and will expire: %s", error)

    def _delete(self) -> None:
        found = self._bucket.get(self.name)
        if self._is_mine(found):
            self._bucket.delete(self.name, found.revision)

    def _put(self, revision: int) -> None:
        claim = self._claim
        value = {"lease": self.text, "source": claim.source, **claim.figures()}
        self._revision = self._bucket.put(self.name, json.dumps(value).encode(), revision)

    def _is_mine(self, entry: Entry) -> bool:
        return read_value(entry).get("lease") == self.text


class BucketKeeper(Keeper[BucketLease]):
    """Renews leases in a bucket."""

    def _renew_all(self, leases: list[BucketLease]) -> None:
        for lease in leases:
            lease.renew()


def acquire(bucket: Bucket, claim: Claim, seconds: float) -> BucketLease | Wait:
    """Take the lease if it is free, or this relay's own. Blocks.

    Args:
        bucket: The bucket, which is prepared.
        claim: What to write there.
        seconds: The time after which it expires unless it is renewed.
    """
    found = bucket.get(claim.stream)
    # The reply to an earlier attempt of this relay, or to its release, may have been lost.
    is_own = str(read_value(found).get("lease", "")).startswith(f"{claim.owner} ")
    if found.value is None or is_own:
        lease = BucketLease(bucket, claim, seconds)
        if lease.take(found.revision):
            return lease
    return Wait(seconds, str(read_value(found).get("source", "")))


def read_value(entry: Entry) -> dict[str, Any]:
    """Return the value of a lease, empty if there is none or it is not one of a relay."""
    try:
        found = json.loads(entry.value or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
