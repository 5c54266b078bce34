"""The commands of a consumer on its group in Redis: reading entries and acknowledging them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.event_stream.events import new_event
from sse_client.relay.claims import RETURNED, RETURNED_IDLE, Claims, Member
from sse_client.relay.connection import text_of
from sse_client.relay.dead_letters import bury
from sse_client.relay.lease import milliseconds
from sse_client.relay.options import key_of
from sse_client.relay.scripts import (
    COUNT_DELIVERIES,
    COUNT_TRIMMED,
    FORGET_CONSUMER,
    FORGET_TRIMMED,
    GIVE_BACK,
    REFRESH,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client import ServerSentEvent

logger = logging.getLogger("sse_client")

#: How many entries are read at once. No other consumer gets the entries that wait here.
COUNT = 100

#: After how many idle seconds the entries of a consumer are claimed.
CLAIM_AFTER = 60.0

#: How long one read waits in Redis for an entry, in seconds. It is well below the timeout of the
#: socket, and ``close`` may have to wait for it.
BLOCK = 0.5


@dataclass(frozen=True)
class GroupOptions:
    """How a consumer reads; ``incoming_from_redis`` documents each."""

    start: str = "0"
    count: int = COUNT
    claim_after: float = CLAIM_AFTER
    max_deliveries: int | None = None


@dataclass(frozen=True)
class Entry:
    """An entry that this consumer has received.

    Attributes:
        id: The ID of the entry in Redis.
        fields: Its fields.
        deliveries: The number of times that it was delivered to any consumer.
    """

    id: str
    fields: dict[Any, Any]
    deliveries: int

    def event(self) -> ServerSentEvent:
        """Return the relayed event; of an entry from another writer, the fields that it has."""
        get = self.fields.get
        # The client may decode names, or not.
        data, kind, id = (get(name.encode(), get(name, b"")) for name in ("data", "event", "id"))
        kind = _lenient(kind) if kind else "message"
        return new_event((_lenient(data), kind, _lenient(id), None, None))


def _lenient(value: object) -> str:
    """Return a text as a stream decodes it (WHATWG Encoding, "UTF-8 decode")."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class GroupReader:
    """A consumer of a group in Redis. For one thread at a time.

    Args:
        member: The consumer. Its group is created when a command finds it missing.
        options: How it reads.
        resumes: Whether the name may have been used before: its own pending entries come first.
    """

    def __init__(self, member: Member, options: GroupOptions, *, resumes: bool) -> None:
        self._member = member
        self._server = member.server
        self._start = options.start
        # Entries that are read ahead count as delivered, and would be buried without being seen.
        self._count = 1 if options.max_deliveries == 1 else options.count
        self._max_deliveries = options.max_deliveries
        self._claims = Claims(
            member,
            options.claim_after,
            options.count,
            one_by_one=options.max_deliveries is not None,
        )
        #: Where reading the pending entries of an earlier run continues; None once done.
        self._own_from: str | None = "0" if resumes else None

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Acknowledge these entries. Doing so again changes nothing."""
        self._member.execute("XACK", *ids)

    def forget(self) -> None:
        """Remove the consumer from the group, unless it has pending entries."""
        member = self._member
        self._server.run(FORGET_CONSUMER, [member.stream], [member.group, member.consumer])

    def read(self, most: int = 0, block: float = BLOCK) -> list[Entry]:
        """Return entries: pending ones of an earlier run, those of other consumers, or new ones.

        The list may be empty. If a reply is lost, its entries are claimed later.

        Args:
            most: The number of new entries to read at least, if there are that many.
            block: How long to wait for new entries, in seconds.

        Raises:
            redis.RedisError: Redis does not reply, or refuses.
        """
        try:
            self._remember_end()
            if self._own_from is not None:
                return self._read_own(self._own_from)
            found, is_all = self._claims.take()
            if found or not is_all:
                return self._counted(self._entries(found))
            return self._read_new(max(self._count, most), block)
        except Exception as error:
            if not self._server.is_reply(error, "NOGROUP"):
                raise
            self._make_group()
            return []

    def _remember_end(self) -> None:
        """Find out once where ``"$"`` is. If the group is created again, it starts there."""
        if self._start == "$":
            self._start = self._find_end()

    def _make_group(self) -> None:
        self._remember_end()
        try:
            self._server.execute(
                "XGROUP CREATE", self._member.stream, self._member.group, self._start, "MKSTREAM"
            )
        except Exception as error:
            if not self._server.is_reply(error, "BUSYGROUP"):
                raise

    def _find_end(self) -> str:
        try:
            found = self._server.execute("XINFO STREAM", self._member.stream)
        except Exception as error:
            if "no such key" not in str(error):
                raise
            return "0"
        return text_of(found["last-generated-id"])

    def _read_own(self, after: str) -> list[Entry]:
        # Deliveries count: read only the entry that is handed out next.
        count = self._count if self._max_deliveries is None else 1
        found = _entries_of(self._server.execute(*self._reading(after, count)))
        self._own_from = text_of(found[-1][0]) if found else None
        return self._counted(self._entries(found))

    def _read_new(self, count: int, block: float) -> list[Entry]:
        """Read new entries, and count those trimmed before them in the same round trip."""
        member = self._member
        keys = [member.stream, key_of(member.stream, "groups")]
        trimmed, reply = self._server.execute_all(
            [
                ["EVAL", COUNT_TRIMMED.text, len(keys), *keys, member.group],
                self._reading(">", count, block),
            ]
        )
        if isinstance(reply, Exception):
            raise reply
        # Redis 6.2 doesn't know the number, and the user may lack the right.
        if isinstance(trimmed, int) and trimmed:
            logger.warning(
                "%r: %d entries were trimmed before the group %r has read them",
                member.stream,
                trimmed,
                member.group,
            )
        return self._entries(_entries_of(reply))

    def _reading(self, after: str, count: int, block: float | None = None) -> list[object]:
        member = self._member
        return [
            *("XREADGROUP", "GROUP", member.group, member.consumer, "COUNT", count),
            *(() if block is None else ("BLOCK", milliseconds(block))),
            *("STREAMS", member.stream, after),
        ]

    def _counted(self, entries: list[Entry]) -> list[Entry]:
        """Look up the deliveries of each entry, and bury those with too many."""
        if not entries:
            return []
        words = [self._member.group, *(entry.id for entry in entries)]
        counts = self._server.run(COUNT_DELIVERIES, [self._member.stream], words)
        alive = []
        for entry, count in zip(entries, counts, strict=True):
            counted = Entry(entry.id, entry.fields, count)
            if self._max_deliveries is not None and counted.deliveries > self._max_deliveries:
                bury(self._member, counted.id, counted.fields, counted.deliveries)
            else:
                alive.append(counted)
        return alive

    def refresh(self, entries: Sequence[Entry]) -> list[Entry]:
        """Keep entries that were read ahead from being claimed; return those nobody has claimed."""
        member = self._member
        words = (member.group, member.consumer, *(entry.id for entry in entries))
        try:
            kept = self._server.run(REFRESH, [member.stream], words)
        except Exception as error:
            if not self._server.is_reply(error, "NOGROUP"):
                raise
            return []  # the next read creates it again
        ours = {text_of(id) for id in kept}
        return [entry for entry in entries if entry.id in ours]

    def give_back(self, entries: Sequence[Entry]) -> None:
        """Return entries that were read ahead to the group, as if they had not been read.

        The other consumers get them within a second.
        """
        member = self._member
        counts = [word for entry in entries for word in (entry.id, entry.deliveries - 1)]
        if counts:
            words = (member.group, member.consumer, RETURNED, RETURNED_IDLE, *counts)
            self._server.run(GIVE_BACK, [member.stream], words)

    def _entries(self, reply: list[Any]) -> list[Entry]:
        """Leave out entries that were trimmed while they were pending, and acknowledge those."""
        member = self._member
        trimmed = [text_of(id) for id, fields in reply if not fields and id is not None]
        count = len(trimmed)
        if trimmed:
            self.acknowledge(trimmed)
        if any(id is None for id, _ in reply):  # in Redis 6.2
            count += self._server.run(
                FORGET_TRIMMED, [member.stream], [member.group, member.consumer]
            )
        if count:
            logger.warning(
                "%r: %d entries were trimmed before the group %r has processed them",
                member.stream,
                count,
                member.group,
            )
        return [Entry(text_of(id), fields, 1) for id, fields in reply if fields]


def _entries_of(reply: Any) -> list[Any]:  # noqa: ANN401  # as redis-py parses it
    """Return the entries of a reply to XREADGROUP for one stream."""
    streams = list(reply.values()) if isinstance(reply, dict) else [row[1] for row in reply or ()]
    # In RESP3 they are in one more list.
    found: list[Any] = streams[0] if streams else []
    return found[0] if found and isinstance(found[0], list) else found
