"""A stream in JetStream: its configuration, its messages, and the position in its last one.

A message holds the data of one event. Its headers hold the rest of the event, and the position
after it:

* ``Sse-Event``, ``Sse-Id``: the event type and the last event ID, percent-encoded where they
  contain spaces or anything but printable ASCII;
* ``Sse-Source``: the address of the event stream without user info and query, encoded as these;
* ``Sse-Within``: the number of consecutive messages that have this ID;
* ``Sse-Writer``: what has written the message, and its sequence number.

So a message and its position are written together. If the last message could be deleted, the
position would be deleted with it. A stream whose configuration permits that is refused.
"""

from __future__ import annotations

import base64
import enum
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from sse_client.relay.failures import RelayError
from sse_client.relay.jetstream.failures import NO_MESSAGE, NO_STREAM, NatsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sse_client.relay.jetstream.connection import Message, NatsServer

EVENT, ID, SOURCE, WITHIN = "Sse-Event", "Sse-Id", "Sse-Source", "Sse-Within"
WRITER = "Sse-Writer"

#: The characters that headers contain as they are; all others are percent-encoded. nats-py strips
#: spaces, and returns values with other characters as another type.
_PLAIN = string.punctuation.replace("%", "")

#: The bytes that a stored message takes besides its subject, its headers and its data, rounded up.
_STORED_SIZE = 64

#: The window for duplicates of a new stream, in nanoseconds. JetStream holds the IDs of the
#: messages of this time in memory, with more than 200 bytes for each. The conditions only need the
#: ID of the last message.
_WINDOW = 1_000_000_000

#: The valid names of a stream, which are also valid as a subject and as the key in a bucket.
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Batching(enum.Enum):
    """How a batch is written."""

    ATOMIC = "all messages or none"  # the stream has ``allow_atomic`` (NATS 2.12)
    CHAINED = "each message on the condition that the one before it is written"
    SINGLE = "each message after the reply to the one before it"


@dataclass(frozen=True)
class LastMessage:
    """The position that the last message of a stream holds.

    Attributes:
        sequence: Its sequence number; if there is no message, that of the stream.
        id: The last event ID, None if there is no message.
        within: The number of consecutive messages that have this ID.
        writer: What has written it, and its sequence number; ``""`` if there is no message.
        source: The address from which it was relayed, ``""`` if there is no message.
    """

    sequence: int
    id: str | None = None
    within: int = 0
    writer: str = ""
    source: str = ""


def check_stream_name(name: object) -> str:
    """Return the name of a stream, or refuse it."""
    if not isinstance(name, str):
        raise TypeError(f"stream must be a str, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError("stream must consist of letters, digits, '-' and '_' with NATS")
    return name


def encode(text: bytes | str) -> str:
    """Return the value of a header."""
    return quote(text, safe=_PLAIN)


class JetStreamStream:
    """A stream in JetStream, for any number of threads. All methods block.

    Args:
        server: NATS.
        name: Its name.

    Attributes:
        name: Its name.
        subject: Its subject, once its configuration is known.
        replicas: The number of its replicas, as above.
        batching: How batches are written into it, as above.
    """

    def __init__(self, server: NatsServer, name: str) -> None:
        self.name = name
        self.subject = name
        self.replicas = 1
        self.batching = Batching.SINGLE
        self._server = server
        #: The options that limit the size of a message with its headers, and the limits.
        self._limits: list[tuple[str, int]] = []

    def info(self) -> dict[str, Any] | None:
        """Return what JetStream knows of it, None if it doesn't exist.

        Raises:
            NatsError: NATS fails, or JetStream refuses.
        """
        try:
            return self._server.ask(f"STREAM.INFO.{self.name}")
        except NatsError as error:
            if error.code != NO_STREAM:
                raise
            return None

    def create(self) -> dict[str, Any]:
        """Create it, without limits and with one replica, and return what ``info`` returns.

        Raises:
            NatsError: NATS fails, or JetStream refuses.
        """
        return self._server.ask(
            f"STREAM.CREATE.{self.name}",
            name=self.name,
            subjects=[self.name],
            retention="limits",
            storage="file",
            discard="old",
            num_replicas=1,
            duplicate_window=_WINDOW,
            allow_atomic=True,  # older servers than 2.12 ignore it
        )

    def adopt(self, info: Mapping[str, Any]) -> None:
        """Use it, or refuse it.

        Args:
            info: The result of ``info``.

        Raises:
            RelayError: It could lose the position, or is not a relay's own.
        """
        problems = self.problems(info)
        if problems:
            raise RelayError(f"the stream {self.name!r} can't be used: {'; '.join(problems)}")
        config = info["config"]
        (self.subject,) = config["subjects"]
        self.replicas = config.get("num_replicas", 1)
        # Not chained with replicas: if nats-server 2.15 refuses such a message there, the stream
        # no longer accepts any.
        self.batching = Batching.CHAINED if self.replicas == 1 else Batching.SINGLE
        if config.get("allow_atomic"):
            self.batching = Batching.ATOMIC
        # JetStream deletes messages until the rest is not larger than max_bytes, and the last one
        # too if it is larger itself.
        sizes = {"max_msg_size": 0, "max_bytes": _STORED_SIZE + len(self.subject)}
        self._limits = [
            (f"the stream's {option}", config[option] - extra)
            for option, extra in sizes.items()
            if config.get(option, -1) > 0
        ]

    @staticmethod
    def problems(info: Mapping[str, Any]) -> list[str]:
        """Return why it can't be used: it could lose its last message, or is not a relay's own."""
        config, state = info["config"], info["state"]
        subjects: Sequence[str] = config.get("subjects") or []
        found = []
        if config.get("retention", "limits") != "limits":
            found.append(f"its retention is {config['retention']!r}, but must be 'limits'")
        if config.get("max_age", 0):
            found.append("it has a max_age, which would delete the position")
        if len(subjects) != 1 or {"*", ">"} & set(subjects[0].split(".")):
            found.append("it must have a single subject without wildcards")
        if config.get("subject_transform"):
            found.append("it has a subject_transform, so the position is not found")
        if config.get("mirror") or config.get("sources"):
            found.append("it copies the messages of another stream")
        if config.get("sealed"):
            found.append("it is sealed")
        if config.get("no_ack"):
            found.append("it has no_ack, so no write gets a reply")
        if not state["messages"] and state["last_seq"]:
            found.append("its messages were deleted, and the position with them")
        return found

    def last(self) -> LastMessage:
        """Read the position from the leader, which knows all acknowledged messages.

        Raises:
            NatsError: NATS fails. It passes.
            RelayError: The last message is not one of a relay.
        """
        try:
            found = self._server.ask(f"STREAM.MSG.GET.{self.name}", last_by_subj=self.subject)
        except NatsError as error:
            if error.code != NO_MESSAGE:
                raise
            return LastMessage(0)
        message = found["message"]
        try:
            headers = read_headers(message)
            return LastMessage(
                message["seq"],
                unquote(headers[ID]),
                int(headers[WITHIN]),
                headers[WRITER],
                unquote(headers[SOURCE]),
            )
        except (KeyError, ValueError):
            raise RelayError(
                f"the stream {self.name!r} can't be used: its last message is not one of a relay"
            ) from None

    def publish(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Send messages, and return the reply to the last one.

        Raises:
            NatsError: NATS fails, or JetStream refuses.
        """
        return self._server.publish(self.subject, messages)

    def size_limit(self) -> tuple[str, float]:
        """Return the option that limits a message with its headers, and the limit in bytes."""
        limits = [("the server's max_payload", self._server.max_payload), *self._limits]
        return min(limits, key=lambda each: each[1])


def read_headers(message: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a message, as JetStream's API replies it."""
    _, *lines = base64.b64decode(message.get("hdrs", "")).decode(errors="replace").split("\r\n")
    return {
        name: value.strip()
        for name, colon, value in (line.partition(":") for line in lines)
        if colon
    }
