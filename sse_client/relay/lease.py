"""Leases in Redis: who may write, for how long, and how a lease is renewed.

A lease expires ``lease_time`` after its last renewal, by Redis's own clock. No code compares the
clocks of two machines. No code concludes from the local time that a lease is still held: every
script that writes compares the lease itself. So the write of a holder that was paused (SIGSTOP, a
paused virtual machine) is refused, however late it arrives.
"""

from __future__ import annotations

import logging

from sse_client.relay.connection import RedisServer, text_of
from sse_client.relay.failures import describe
from sse_client.relay.held_lease import HeldLease, Position, Wait
from sse_client.relay.options import key_of
from sse_client.relay.scripts import ACQUIRE, RELEASE, RENEW

logger = logging.getLogger("sse_client")


def milliseconds(seconds: float) -> int:
    """Return a duration in the unit of Redis."""
    return max(1, round(seconds * 1000))


class Lease(HeldLease):
    """A lease in Redis that is held, or was. Thread-safe.

    Its text is its value in Redis: the owner and the token.
    """

    def __init__(
        self, server: RedisServer, name: str, text: str, seconds: float, position: Position
    ) -> None:
        super().__init__(name, text, seconds, position)
        self._server = server

    @property
    def key(self) -> str:
        """The key of the lease."""
        return key_of(self.name, "lease")

    @property
    def state_key(self) -> str:
        """The key of the state that it guards."""
        return key_of(self.name, "state")

    def renew(self) -> None:
        """Renew it for the whole time, or note that it is lost. One round trip."""
        if not self._server.run(RENEW, *self.renewal()):
            self.lose()

    def renewal(self) -> tuple[list[str], list[object]]:
        """Return the keys and arguments of the script that renews it."""
        return [self.key], [self.text, milliseconds(self.seconds)]

    def release(self) -> None:
        """Release it if it is still held. One round trip. After a failure it expires by itself."""
        try:
            self._server.run(RELEASE, [self.key], [self.text])
        except self._server.failures as error:
            logger.info("a lease could not be released, and will expire: %s", describe(error))


def acquire(
    server: RedisServer, name: str, owner: str, seconds: float, *, source: str = ""
) -> Lease | Wait:
    """Take the lease on ``name`` if it is free, in one round trip.

    Args:
        server: The Redis.
        name: The name of the stream or cursor that it guards.
        owner: The name of the new holder.
        seconds: The time after which it expires unless it is renewed.
        source: The identity of the source that is relayed under it; ``""`` for a cursor.
    """
    keys = [key_of(name, "lease"), key_of(name, "state")]
    reply = server.run(ACQUIRE, keys, [owner, milliseconds(seconds), source])
    if not reply[0]:
        left = int(reply[1])
        # Negative if it does not expire, which no relay sets.
        return Wait(left / 1000 if left >= 0 else seconds, text_of(reply[2]))
    _, text, event_id, within, sequence, before = reply
    position = Position(None if event_id is None else text_of(event_id), int(within), int(sequence))
    lease = Lease(server, name, text_of(text), seconds, position)
    lease.before = text_of(before)
    return lease
