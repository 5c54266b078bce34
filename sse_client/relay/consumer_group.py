"""What a consumer asks of its group in Redis: entries, and to remember which are done."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.event_stream.events import new_event
from sse_client.relay.connection import text_of
from sse_client.relay.lease import milliseconds
from sse_client.relay.options import key_of
from sse_client.relay.scripts import BURY, COUNT_DELIVERIES, FORGET_CONSUMER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client import ServerSentEvent
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
        """Return the event that was relayed; of an entry that others have written, what it is."""
        named = {_lenient(name): _lenient(value) for name, value in self.fields.items()}
        kind = named.get("event") or "message"
        return new_event((named.get("data", ""), kind, named.get("id", ""), None, None))


def _lenient(value: object) -> str:
    """Return a text as a stream decodes it (WHATWG Encoding, "UTF-8 decode")."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


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
        # What is read ahead counts as handed out, and would have to be put aside unseen.
        self._count = 1 if options.max_deliveries == 1 else options.count
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

        It may be none. What was handed out, while the reply was lost, is claimed later.

        Raises:
            redis.RedisError: Redis does not reply, or refuses.
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
        if self._start == "$":
            # Once and for all: where the group has to be made anew, it begins there again.
            self._start = self._find_end()
        words = (self._stream, self._group, self._start)
        try:
            self._server.commands.xgroup_create(*words, mkstream=True)
        except Exception as error:
            if not self._server.is_reply(error, "BUSYGROUP"):
                raise

    def _find_end(self) -> str:
        try:
            return text_of(self._server.commands.xinfo_stream(self._stream)["last-generated-id"])
        except Exception as error:
            if "no such key" not in str(error):
                raise
            return "0"

    def _read_own(self, behind: str) -> list[Entry]:
        # Each is counted: none but the one that may be handed out next.
        count = self._count if self._max_deliveries is None else 1
        found = self._read_group(behind, None, count)
        self._own_from = text_of(found[-1][0]) if found else None
        return self._counted(self._entries(found))

    def _read_new(self) -> list[Entry]:
        return self._entries(self._read_group(">", milliseconds(_BLOCK), self._count))

    def _read_group(self, behind: str, block: int | None, count: int) -> list[Any]:
        reply = self._server.commands.xreadgroup(
            self._group, self._consumer, {self._stream: behind}, count=count, block=block
        )
        streams = list(reply.values()) if isinstance(reply, dict) else [row[1] for row in reply]
        # In the third version of the protocol each is in a list of its own.
        found: list[Any] = streams[0] if streams else []
        return found[0] if found and isinstance(found[0], list) else found

    def _claim(self) -> list[Entry]:
        """Take over what others have left for too long."""
        if self._max_deliveries is None:
            found, is_all = self._claim_some()
        else:
            found, is_all = self._claim_one()
        if is_all:
            # Not each time: whoever is dead now will be dead then.
            self._claim_at = time.monotonic() + self._claim_after / 2
        return self._counted(self._entries(found))

    def _claim_one(self) -> tuple[list[Any], bool]:
        """Claim the oldest one: those behind it may be innocent, and a claim is counted."""
        idle = milliseconds(self._claim_after)
        group = (self._stream, self._group)
        pending = self._server.commands.xpending_range(*group, "-", "+", 1, idle=idle)
        if not pending:
            return [], True
        ids = [each["message_id"] for each in pending]
        return self._server.commands.xclaim(*group, self._consumer, idle, ids), False

    def _claim_some(self) -> tuple[list[Any], bool]:
        """Claim in pieces; return whether it was the last one, too."""
        reply = self._server.commands.xautoclaim(
            self._stream,
            self._group,
            self._consumer,
            milliseconds(self._claim_after),
            start_id=self._claim_from,
            count=self._count,
        )
        self._claim_from = text_of(reply[0])
        return reply[1], self._claim_from == "0-0"

    def _counted(self, entries: list[Entry]) -> list[Entry]:
        """Look up how often each was handed out, and bury those that were too often."""
        if not entries:
            return []
        words = [self._group, *(entry.id for entry in entries)]
        counts = self._server.run(COUNT_DELIVERIES, [self._stream], words)
        alive = []
        for entry, count in zip(entries, counts, strict=True):
            counted = Entry(entry.id, entry.fields, count)
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
        idle = milliseconds(age - self._claim_after / 2)
        words = (self._stream, self._group, self._consumer, idle, [entry.id for entry in entries])
        try:
            kept = self._server.commands.xclaim(*words, justid=True)
        except Exception as error:
            if not self._server.is_reply(error, "NOGROUP"):
                raise
            return []  # the next read makes it anew
        ours = {text_of(id) for id in kept}
        return [entry for entry in entries if entry.id in ours]

    def _entries(self, reply: list[Any]) -> list[Entry]:
        """Leave out entries that were trimmed away while somebody had them."""
        return [Entry(text_of(id), fields, 1) for id, fields in reply if fields]
