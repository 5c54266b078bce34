"""Entries of a group that another consumer had, and that this consumer may take over.

There are two kinds. The entries of a consumer that died are claimed when they have been idle for
``claim_after``. A consumer that is closed returns the entries that it has read ahead: it assigns
them to a fixed consumer name that nobody uses, and the other consumers look there often.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.relay.connection import text_of
from sse_client.relay.failures import describe
from sse_client.relay.lease import milliseconds
from sse_client.relay.scripts import FORGET_CONSUMER, LIMIT_DELIVERY_TIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.relay.connection import RedisServer

logger = logging.getLogger("sse_client")

#: The consumer name that holds returned entries.
RETURNED = "sse-client:returned"

#: How long returned entries count as idle, in milliseconds. A consumer that claims them requires
#: half of this time, so that the second of two consumers gets nothing.
RETURNED_IDLE = 1_000_000_000

#: How often a consumer looks for returned entries, in seconds.
_LOOK = 1.0

#: After how many idle seconds a consumer without pending entries is removed. If its owner returns,
#: it is created again.
_REMOVE_AFTER = 3600.0

#: How many entries one round trip looks at that are pending.
_PAGE = 1000

#: An entry is claimed when it has been idle for longer than ``claim_after``, by this fraction of
#: it. For the same time after it was refreshed, an entry may be handed out without another refresh.
MARGIN = 0.05


@dataclass(frozen=True)
class Member:
    """A consumer, and the commands on its group. Thread-safe."""

    server: RedisServer
    stream: str
    group: str
    consumer: str

    def execute(self, command: str, *words: object, **options: object) -> Any:  # noqa: ANN401  # as Redis replies
        """Execute a command on the group. Blocks for the reply."""
        return self.server.execute(command, self.stream, self.group, *words, **options)


class Claims:
    """Takes over entries for a consumer. For one thread.

    Args:
        member: The consumer.
        claim_after: After how many idle seconds an entry is taken over.
        count: The maximum number of entries that are claimed at once.
        one_by_one: Whether each claim is counted, so that only one entry is claimed at a time.
    """

    def __init__(self, member: Member, claim_after: float, count: int, *, one_by_one: bool) -> None:
        self._member = member
        self._claim_after = claim_after
        self._idle = milliseconds(claim_after * (1 + MARGIN))
        self._count = 1 if one_by_one else count
        self._one_by_one = one_by_one
        self._claim_at = 0.0
        self._look_at = 0.0
        self._claim_from = "0-0"

    def take(self) -> tuple[list[Any], bool]:
        """Take over entries; return them, and whether there are no more for now.

        Raises:
            redis.RedisError: Redis does not reply, or refuses.
        """
        if time.monotonic() >= self._claim_at:
            found, is_all = self._claim_one() if self._one_by_one else self._claim_some()
            if is_all:
                # Not for each call: entries of a dead consumer stay where they are.
                self._claim_at = time.monotonic() + self._claim_after / 2
                self._limit_delivery_times()
                self._remove_consumers()
            if found or not is_all:
                return found, is_all
        if time.monotonic() >= self._look_at:
            found = self._claim_returned()
            if found:
                return found, False
            self._look_at = time.monotonic() + _LOOK
        return [], True

    def _claim_returned(self) -> list[Any]:
        pending = self._member.execute("XPENDING", "-", "+", self._count, RETURNED, **_DETAILED)
        if not pending:
            return []
        found = self._claim(RETURNED_IDLE // 2, pending)
        self._forget(RETURNED)  # unless it has more entries
        return found

    def _claim_one(self) -> tuple[list[Any], bool]:
        """Claim the oldest entry. Claims count, and the entries after it may be harmless."""
        pending = self._member.execute("XPENDING", "IDLE", self._idle, "-", "+", 1, **_DETAILED)
        return (self._claim(self._idle, pending), False) if pending else ([], True)

    def _claim(self, idle: int, pending: Sequence[dict[str, Any]]) -> list[Any]:
        ids = [each["message_id"] for each in pending]
        found: list[Any] = self._member.execute("XCLAIM", self._member.consumer, idle, *ids)
        return found

    def _claim_some(self) -> tuple[list[Any], bool]:
        """Claim one page of entries; return them, and whether it was the last page."""
        words = (self._member.consumer, self._idle, self._claim_from, "COUNT", self._count)
        reply = self._member.execute("XAUTOCLAIM", *words)
        self._claim_from = text_of(reply[0])
        return reply[1], self._claim_from == "0-0"

    def _forget(self, consumer: str) -> None:
        member = self._member
        member.server.run(FORGET_CONSUMER, [member.stream], [member.group, consumer])

    def _limit_delivery_times(self) -> None:
        """Let a clock of Redis that was moved back delay no claim by more than ``claim_after``."""
        member, start = self._member, "-"
        while start:
            words = (member.group, start, _PAGE)
            start = text_of(member.server.run(LIMIT_DELIVERY_TIMES, [member.stream], words))

    def _remove_consumers(self) -> None:
        """Remove consumers that have been idle for long; a failure does no harm."""
        member = self._member
        try:
            for each in member.execute("XINFO CONSUMERS"):
                found = {text_of(name): value for name, value in each.items()}
                name = text_of(found["name"])
                is_old = name == RETURNED or found["idle"] > milliseconds(_REMOVE_AFTER)
                if is_old and found["pending"] == 0:
                    self._forget(name)
        except member.server.failures as error:
            logger.info("idle consumers could not be removed from a group: %s", describe(error))


#: Lets redis-py parse the form of XPENDING that lists entries.
_DETAILED = {"parse_detail": True}
