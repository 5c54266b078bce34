"""The status of a stream in JetStream, and the check whether a relay could write into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sse_client.relay.failures import RelayError, describe
from sse_client.relay.jetstream.bucket import BUCKET, Bucket
from sse_client.relay.jetstream.lease import read_value
from sse_client.relay.jetstream.stream import JetStreamStream
from sse_client.relay.status import StreamStatus

if TYPE_CHECKING:
    from sse_client.relay.jetstream.connection import NatsServer


def read_status(server: NatsServer, name: str) -> StreamStatus:
    """Read the status of a stream. Blocks for JetStream.

    The figures of its relay come from the lease, and are at most a third of a lease time old. A
    stream without a relay counts as ``unheld`` at once.

    Raises:
        NatsError: NATS fails, or JetStream refuses.
        RelayError: The last message is not one of a relay.
    """
    stream = JetStreamStream(server, name)
    info = stream.info()
    state = {"messages": 0, "last_seq": 0} if info is None else info["state"]
    if info is not None:
        stream.adopt(info)
    value = read_value(Bucket(server, BUCKET).get(name))
    owner = value.get("owner")
    return StreamStatus(
        stream=name,
        owner=owner,
        state=value.get("state", "nobody"),
        length=state["messages"],
        written=state["last_seq"],
        lag=None if info is None else _lag(server, name),
        waiting=value.get("waiting", 0),
        rate=float(value.get("rate", 0.0)),
        last_event_id=None if info is None else stream.last().id,
        errors=value.get("errors", 0),
        last_error=value.get("last_error", ""),
        reported=None,
        stale=False,
        unheld=owner is None,
        trimmed=0,
        dead_letters=0,
    )


def _lag(server: NatsServer, name: str) -> int | None:
    """Return the number of messages that the slowest consumer has not read, None without one."""
    found: list[dict[str, Any]] = []
    while True:
        page = server.ask(f"CONSUMER.LIST.{name}", offset=len(found))
        consumers = page["consumers"] or []
        found += consumers
        if not consumers or len(found) >= page["total"]:
            return max((each["num_pending"] for each in found), default=None)


def check_target(server: NatsServer, name: str, lease_time: float) -> list[str]:
    """Return why a relay could not write into a stream. Blocks for JetStream."""
    stream, bucket = JetStreamStream(server, name), Bucket(server, BUCKET)
    try:
        info = stream.info()
        problem = bucket.problem(lease_time)
        if info is not None:
            stream.adopt(info)
            stream.last()
    except RelayError as error:
        return [str(error)]
    except server.failures as error:
        return [f"NATS: {describe(error)}"]
    return [problem] if problem else []
