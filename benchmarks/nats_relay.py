"""An experiment: a relay from an event stream into NATS JetStream, each event exactly once.

``python benchmarks/nats_judge.py`` runs it with faults, and ``docs/relay-nats.md`` states what it
shows. It needs ``nats-server`` and the package ``nats-py``.

JetStream has no transactions over several messages, and this needs none. The message of an event
carries the position in its headers, so event and position are one write. The position is that of
the last message of the stream.

Each write is conditional, so there is no need to trust a lease:

* The first message of a batch must follow the sequence number that this relay knows
  (``Nats-Expected-Last-Sequence``).
* Each further message must follow the message before it (``Nats-Expected-Last-Msg-Id``), whose ID
  is unique to this relay. So all messages of a batch can be sent without waiting for replies: if
  another relay writes in between, all messages after that are refused.

After a failure the relay reads the last message. If this relay has written it, the batch continues
after it. Otherwise another relay has taken over.

``python benchmarks/nats_relay.py CONFIG`` is a relay as a process: the judge's child.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import nats
from nats.js import errors

from sse_client import SSE, ChannelClosed, HttpClient
from sse_client.relay.stop_flag import StopFlag
from sse_client.relay.writer import CONNECTION_OPENED, BatchReader, RepeatFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from sse_client import SSESession

#: The headers of the position. Values are percent-encoded: nats-py would strip spaces.
ID, WITHIN, TYPE, WRITER = "Sse-Id", "Sse-Within", "Sse-Event", "Sse-Writer"

#: The bucket of the leases, and how many times per lease time a lease is renewed.
LEASES = "leases"
_RENEWALS = 3

#: How long a reply may take, and the wait after a failure, in seconds.
_TIMEOUT = 2.0
_DELAY = 0.1

_BATCH_EVENTS = 500

#: The codes of a refused write: wrong last sequence, wrong last message ID.
_REFUSED = frozenset({10071, 10070, 10164})

_FAILURES = (nats.errors.Error, asyncio.TimeoutError, OSError)

#: How writes are guarded; all but the first are for comparison.
GUARDS = ("sequence", "message-id", "none")


@dataclass(frozen=True)
class Position:
    """The position of a stream: its last message.

    Attributes:
        sequence: The sequence number of the last message.
        id: The last event ID, None if there is no message.
        within: The number of consecutive events that have this ID.
        writer: The relay that wrote the message.
    """

    sequence: int
    id: str | None = None
    within: int = 0
    writer: str = ""


class Moved(Exception):  # noqa: N818  # not an error: another relay has taken over
    """Another relay has written, or JetStream has lost messages."""


async def read_position(stream: JetStreamContext, name: str) -> Position:
    """Read the last message. This asks the leader, which knows all acknowledged writes."""
    try:
        message = await stream.get_last_msg(name, name)
    except errors.NotFoundError:
        info = await stream.stream_info(name)
        return Position(info.state.last_seq)
    headers: dict[str, str] = dict(message.headers or {})
    return Position(
        message.seq or 0,
        unquote(headers.get(ID, "")),
        int(headers.get(WITHIN, "1")),
        headers.get(WRITER, ""),
    )


class Writer:
    """Writes batches after a position.

    Args:
        stream: JetStream.
        name: The name of the stream and of its subject.
        position: The position after which it writes.
        guard: One of ``GUARDS``.
    """

    def __init__(self, stream: JetStreamContext, name: str, position: Position, guard: str) -> None:
        self._stream = stream
        self._name = name
        self._guard = guard
        self._position = position
        self._writer = secrets.token_hex(8)

    async def write(self, fields: Sequence[bytes]) -> None:
        """Write events: type, data and ID of each, one after the other.

        Raises:
            Moved: Another relay has written.
        """
        start = self._position
        messages = self._messages(start, fields)
        written = 0
        while written < len(messages):
            try:
                await self._send(start, messages, written)
                written = len(messages)
            except _FAILURES as error:
                if getattr(error, "err_code", None) not in _REFUSED:
                    await asyncio.sleep(_DELAY)
                written = await self._count_written(start, written)
        _, headers = messages[-1]
        self._position = Position(
            start.sequence + len(messages), unquote(headers[ID]), int(headers[WITHIN]), self._writer
        )

    def _messages(
        self, start: Position, fields: Sequence[bytes]
    ) -> list[tuple[bytes, dict[str, str]]]:
        found = []
        last, within = start.id, start.within
        events = zip(*[iter(fields)] * 3, strict=True)
        for number, (kind, data, encoded) in enumerate(events, start.sequence + 1):
            id = encoded.decode()
            within = within + 1 if id == last else 1
            last = id
            headers = {
                ID: quote(id, safe=""),
                WITHIN: str(within),
                TYPE: quote(kind.decode(), safe=""),
                WRITER: self._writer,
                "Nats-Msg-Id": f"{self._writer} {number}",
            }
            if self._guard == "message-id":
                headers["Nats-Msg-Id"] = f"{headers[ID]} {within}"
            elif self._guard == "none":
                del headers["Nats-Msg-Id"]
            found.append((data, headers))
        return found

    async def _send(
        self, start: Position, messages: Sequence[tuple[bytes, dict[str, str]]], first: int
    ) -> None:
        """Send all messages from ``first`` on, and wait for all acknowledgements."""
        acknowledged: list[asyncio.Future[Any]] = []
        before = ""
        for number, (data, headers) in enumerate(messages[first:], start.sequence + first):
            conditions = {}
            if self._guard == "sequence":
                conditions = (
                    {"Nats-Expected-Last-Msg-Id": before}
                    if before
                    else {"Nats-Expected-Last-Sequence": str(number)}
                )
                before = headers["Nats-Msg-Id"]
            acknowledged.append(
                await self._stream.publish_async(
                    self._name, data, headers={**headers, **conditions}
                )
            )
        try:
            await asyncio.wait_for(asyncio.gather(*acknowledged), _TIMEOUT)
        finally:
            for each in acknowledged:
                if not each.cancel() and not each.cancelled():
                    each.exception()  # it is known from another message

    async def _count_written(self, start: Position, written: int) -> int:
        """Return how many messages of the batch are written, once JetStream replies."""
        if self._guard != "sequence":
            return written  # nobody knows: all are sent again
        while True:
            with contextlib.suppress(*_FAILURES):
                found = await read_position(self._stream, self._name)
                break
            await asyncio.sleep(_DELAY)
        if found.sequence == start.sequence:
            return 0
        if found.writer != self._writer or found.sequence < start.sequence:
            raise Moved
        return found.sequence - start.sequence


class Lease:
    """A lease in a bucket whose values expire. It only saves work: writes do not depend on it.

    Args:
        stream: JetStream.
        name: The key.
        owner: Its value.
        seconds: The lifetime of the bucket's values.
    """

    def __init__(self, stream: JetStreamContext, name: str, owner: str, seconds: float) -> None:
        self._stream = stream
        self._name = name
        self._owner = owner
        self._pause = seconds / _RENEWALS
        self._revision = 0

    async def acquire(self) -> None:
        """Wait until it is free, and take it."""
        while True:
            with contextlib.suppress(*_FAILURES):
                bucket = await self._stream.key_value(LEASES)
                self._revision = await bucket.create(self._name, self._owner.encode())
                return
            await asyncio.sleep(self._pause)

    async def keep(self) -> None:
        """Renew it until it is lost."""
        bucket = await self._stream.key_value(LEASES)
        while True:
            await asyncio.sleep(self._pause)
            try:
                self._revision = await bucket.update(
                    self._name, self._owner.encode(), last=self._revision
                )
            except errors.KeyWrongLastSequenceError:
                return
            except _FAILURES:  # whether it is lost will be known later
                continue


async def relay_under_lease(
    connection: Client, client: HttpClient, config: dict[str, Any], lease: Lease
) -> bool:
    """Relay from the position in JetStream until the lease is lost; return whether it ended."""
    stream = connection.jetstream(timeout=_TIMEOUT)
    name = config["stream"]
    while True:
        with contextlib.suppress(*_FAILURES):
            position = await read_position(stream, name)
            break
        await asyncio.sleep(_DELAY)
    repeats = RepeatFilter(position.id or "", position.within)
    writer = Writer(stream, name, position, config["guard"])

    def opened(session: SSESession) -> None:
        with contextlib.suppress(ChannelClosed):
            session.incoming.put(CONNECTION_OPENED)

    session = await asyncio.to_thread(
        client.sse,
        config["url"],
        last_event_id=position.id or "",
        retry_first_connection=True,
        on_open=opened,
    )
    stopping = StopFlag()
    reader = BatchReader(session.incoming, repeats, _BATCH_EVENTS, patience=0.0, stopping=stopping)
    keeping = asyncio.create_task(lease.keep())
    keeping.add_done_callback(lambda _: session.close(timeout=0.0))
    try:
        while True:
            batch = await asyncio.to_thread(reader.take)
            if batch.fields:
                await writer.write(batch.fields)
    except ChannelClosed:
        return not keeping.done()
    except Moved:
        return False
    finally:
        keeping.cancel()
        session.close(timeout=0.0)


async def relay(config: dict[str, Any]) -> None:
    """Take the lease whenever it is free, and relay, until the stream ends."""
    owner = f"{os.getpid()}:{secrets.token_hex(4)}"
    report(what="ready", owner=owner)
    connection = await nats.connect(
        config["servers"],
        max_reconnect_attempts=-1,
        reconnect_time_wait=_DELAY,
        connect_timeout=1,
        error_cb=_ignore,
    )
    with HttpClient() as client:
        client.install(SSE, reconnection_time=0.05, max_reconnection_time=0.2)
        stream = connection.jetstream(timeout=_TIMEOUT)
        for attempt in itertools.count():
            lease = Lease(stream, config["stream"], f"{owner}:{attempt}", config["lease_time"])
            if config["lease_time"]:
                await lease.acquire()
            if await relay_under_lease(connection, client, config, lease):
                break
    report(what="ended")
    await connection.close()


async def _ignore(_: Exception) -> None:
    """Leave it to whoever waits for a reply."""


def report(**facts: object) -> None:
    """Print a report for the judge."""
    print(json.dumps({**facts, "at": time.monotonic()}), flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(relay(json.loads(sys.argv[1])))
