"""Entries that no consumer could process: moving, listing and requeuing them."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.relay.claims import RETURNED, RETURNED_IDLE, Member
from sse_client.relay.connection import text_of
from sse_client.relay.options import key_of
from sse_client.relay.scripts import BURY, REQUEUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sse_client.relay.connection import RedisServer

logger = logging.getLogger("sse_client")

#: The approximate number of letters of a stream that are kept.
MAX_LETTERS = 10_000

#: How many letters one round trip lists.
_PAGE = 500


class Requeued(enum.Enum):
    """The result of putting a letter back; the values are what the script returns."""

    REQUEUED = "requeued"
    UNKNOWN = "unknown"
    NO_GROUP = "no group"
    TRIMMED = "trimmed"


@dataclass(frozen=True)
class DeadLetter:
    """An entry that was delivered too often.

    Attributes:
        id: The ID of the letter.
        group: The consumer group; ``""`` in a letter of an older version.
        entry: The ID of the entry in its stream.
        deliveries: The number of times that it was delivered.
        event: The type of the event.
        data: Its data.
        event_id: Its last event ID.
    """

    id: str
    group: str
    entry: str
    deliveries: int
    event: str
    data: str
    event_id: str


def bury(member: Member, entry: str, fields: Mapping[Any, Any], deliveries: int) -> None:
    """Move an entry to the dead letters of its stream. Blocks for Redis."""
    letters = key_of(member.stream, "dead-letters")
    words = [word for pair in fields.items() for word in pair]
    member.server.run(
        BURY,
        [member.stream, letters],
        [member.group, entry, deliveries, MAX_LETTERS, *words],
    )
    logger.error(
        "%r: entry %s was handed out %d times to the group %r and never acknowledged: moved to %r",
        member.stream,
        entry,
        deliveries,
        member.group,
        letters,
    )


def list_letters(server: RedisServer, stream: str) -> list[DeadLetter]:
    """Return the dead letters of a stream, the oldest first. Blocks for Redis.

    Raises:
        redis.RedisError: Redis does not reply, or refuses.
    """
    found: list[DeadLetter] = []
    start = "-"
    while True:
        page = server.execute("XRANGE", key_of(stream, "dead-letters"), start, "+", "COUNT", _PAGE)
        found += [_letter(text_of(id), fields) for id, fields in page]
        if len(page) < _PAGE:
            return found
        start = f"({found[-1].id}"


def requeue(server: RedisServer, stream: str, letter: str) -> Requeued:
    """Put the entry of a letter back into its group, as if it had never been delivered.

    A consumer of the group gets it within about a second. Blocks for Redis.

    Raises:
        redis.RedisError: Redis does not reply, or refuses.
    """
    keys = [stream, key_of(stream, "dead-letters")]
    reply = server.run(REQUEUE, keys, [letter, RETURNED, RETURNED_IDLE])
    return Requeued(text_of(reply))


def _letter(id: str, fields: Mapping[Any, Any]) -> DeadLetter:
    def text(name: str) -> str:
        value = fields.get(name.encode(), fields.get(name, b""))
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    return DeadLetter(
        id=id,
        group=text("group"),
        entry=text("entry"),
        deliveries=int(text("deliveries") or 0),
        event=text("event"),
        data=text("data"),
        event_id=text("id"),
    )
