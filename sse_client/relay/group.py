"""What a consumer asks of its group in Redis: entries, and to remember which are done."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.events import ServerSentEvent
from sse_client.relay.connection import text_of
from sse_client.relay.keys import key_of
from sse_client.relay.lease import milliseconds
from sse_client.relay.scripts import BURY, FORGET_CONSUMER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.relay.connection import RedisServer

logger = logging.getLogger("sse_client")

#: How many entries are read at once: they wait here, and nobody else gets them meanwhile.
COUNT = 100

#: After how long without a sign of life a consumer's entries are claimed, in seconds.
CLAIM_AFTER = 60.0

#: How long one read waits in Redis for an entry, in seconds; well below the socket's timeout, and
#: what ``close`` may have to wait for.
_BLOCK = 0.5


@dataclass(frozen=True)
class GroupOptions:
    """How a consumer reads; ``incoming_from_redis`` documents each."""

    start: str = "0"
    count: int = COUNT
    claim_after: float = CLAIM_AFTER
    max_deliveries: int | None = None


@dataclass(frozen=True)
class Entry:
    """An entry that this consumer was handed.

    Attributes:
        id: The entry's own ID, in Redis.
        fields: Its fields.
        deliveries: How often it was handed out to anybody.
    """

    id: str
    fields: dict[Any, Any]
    deliveries: int

    def event(self) -> ServerSentEvent:
        """Return the event that was relayed."""
        named = {text_of(name): text_of(value) for name, value in self.fields.items()}
        return ServerSentEvent(
            data=named.get("data", ""), event=named.get("event", ""), id=named.get("id", "")
        )


class GroupReader:
    """A consumer of a group, as Redis sees it. For one thread at a time.

    Args:
        server: Where the stream is.
        stream: The key of the Redis Stream.
        group: The consumer group; it is made when it is missed.
        consumer: The name of this consumer.
        options: How it reads.
        resumes: Whether the name may have been in use before: what it had comes first.
    """

    def __init__(
        self,
        server: RedisServer,
        stream: str,
        group: str,
        consumer: str,
        options: GroupOptions,
        *,
        resumes: bool,
    ) -> None:
        self._server = server
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._start = options.start
        self._count = options.count
        self._claim_after = options.claim_after
        self._max_deliveries = options.max_deliveries
        self._claim_at = 0.0
        self._claim_from = "0-0"
        #: Where reading what this consumer had before it was started again goes on; None once done.
        self._own_from: str | None = "0" if resumes else None

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Say that these entries are done. Saying it again changes nothing."""
        self._server.execute("XACK", self._stream, self._group, *ids)

    def forget(self) -> None:
        """Take the consumer out of the group, unless it has something in hand."""
        self._server.run(FORGET_CONSUMER, [self._stream], [self._group, self._consumer])

    def read(self) -> list[Entry]:
        """Return entries: those it had in an earlier life, those of the dead, or new ones.

        It may be none. What was handed out, while the answer was lost, is claimed later.

        Raises:
            redis.RedisError: Redis does not answer, or refuses.
        """
        try:
            if self._own_from is not None:
                return self._read_own(self._own_from)
            if time.monotonic() >= self._claim_at:
                claimed = self._claim()
                if claimed:
                    return claimed
            return self._read_new()
        except Exception as error:
            if not self._server.is_reply(error, "NOGROUP"):
                raise
            self._make_group()
            return []

    def _make_group(self) -> None:
        words = (self._stream, self._group, self._start)
        try:
            self._server.commands.xgroup_create(*words, mkstream=True)
        except Exception as error:
            if not self._server.is_reply(error, "BUSYGROUP"):
                raise

    def _read_own(self, behind: str) -> list[Entry]:
        found = self._read_group(behind, None)
        self._own_from = text_of(found[-1][0]) if found else None
        return self._counted(self._entries(found))

    def _read_new(self) -> list[Entry]:
        return self._entries(self._read_group(">", milliseconds(_BLOCK)))

    def _read_group(self, behind: str, block: int | None) -> list[Any]:
        answer = self._server.commands.xreadgroup(
            self._group, self._consumer, {self._stream: behind}, count=self._count, block=block
        )
        streams = list(answer.values()) if isinstance(answer, dict) else [row[1] for row in answer]
        # In the third version of the protocol each is in a list of its own.
        found: list[Any] = streams[0] if streams else []
        return found[0] if found and isinstance(found[0], list) else found

    def _claim(self) -> list[Entry]:
        """Take over what others have left for too long, in pieces."""
        answer = self._server.commands.xautoclaim(
            self._stream,
            self._group,
            self._consumer,
            milliseconds(self._claim_after),
            start_id=self._claim_from,
            count=self._count,
        )
        self._claim_from = text_of(answer[0])
        if self._claim_from == "0-0":
            # Not each time: whoever is dead now will be dead then.
            self._claim_at = time.monotonic() + self._claim_after / 2
        return self._counted(self._entries(answer[1]))

    def _counted(self, entries: list[Entry]) -> list[Entry]:
        """Look up how often each was handed out, and bury those that were too often."""
        if not entries:
            return []
        words = (self._stream, self._group, entries[0].id, entries[-1].id, len(entries))
        pending = self._server.commands.xpending_range(*words, consumername=self._consumer)
        counts = {text_of(each["message_id"]): each["times_delivered"] for each in pending}
        alive = []
        for entry in entries:
            counted = Entry(entry.id, entry.fields, counts.get(entry.id, 1))
            if self._max_deliveries is not None and counted.deliveries > self._max_deliveries:
                self._bury(counted)
            else:
                alive.append(counted)
        return alive

    def _bury(self, entry: Entry) -> None:
        keys = [self._stream, key_of(self._stream, "dead-letters")]
        fields = [word for pair in entry.fields.items() for word in pair]
        self._server.run(BURY, keys, [self._group, entry.id, entry.deliveries, *fields])
        logger.error(
            "%r: entry %s was handed out %d times and never acknowledged: moved to %r",
            self._stream,
            entry.id,
            entry.deliveries,
            keys[1],
        )

    def refresh(self, entries: Sequence[Entry], age: float) -> list[Entry]:
        """Keep what was read ahead from being claimed; return what nobody has claimed yet.

        Somebody who has claimed an entry did so ``claim_after`` after it was read, at the earliest:
        for those it has been idle for less than is asked for here.

        Args:
            entries: What was read.
            age: How long ago, in seconds; more than half of ``claim_after``.
        """
        kept = self._server.commands.xclaim(
            self._stream,
            self._group,
            self._consumer,
            milliseconds(age - self._claim_after / 2),
            [entry.id for entry in entries],
            justid=True,
        )
        ours = {text_of(id) for id in kept}
        return [entry for entry in entries if entry.id in ours]

    def _entries(self, answer: list[Any]) -> list[Entry]:
        """Leave out entries that were trimmed away while somebody had them."""
        return [Entry(text_of(id), fields, 1) for id, fields in answer if fields]
