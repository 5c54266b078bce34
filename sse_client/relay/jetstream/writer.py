"""Writing batches as messages: each event is one, with the position in its headers.

Each write is conditional, so that there is no need to trust a lease. The first message of a batch
must follow the sequence number that this writer knows (``Nats-Expected-Last-Sequence``). For the
others there are three ways (``Batching``), of which a stream permits one:

* The whole batch is atomic. JetStream checks the condition when it has received the last message.
* Each further message must follow the message before it (``Nats-Expected-Last-Msg-Id``), whose ID
  is unique to this writer. The sequence number would not be enough: if another relay's message
  takes the place of the first one, the second one has the expected sequence number again.
* Each message is sent after the reply to the one before it.

In the first two ways a batch is sent without waiting for replies. Only the last message asks for
one: if it is accepted, all are.

After a refusal or a lost reply the writer reads the last message of the stream. If that message is
its own, the batch continues after it. If it is the one after which the batch was to begin, the
batch begins again. Otherwise another relay has written, or JetStream has lost messages.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sse_client.relay.failures import RelayError
from sse_client.relay.jetstream.failures import UNMET, NatsError
from sse_client.relay.jetstream.stream import EVENT, ID, SOURCE, WITHIN, WRITER, Batching, encode
from sse_client.relay.writer import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.relay.jetstream.connection import Message
    from sse_client.relay.jetstream.stream import JetStreamStream, LastMessage
    from sse_client.relay.writer import Batch, RepeatFilter, WriteOptions

_LAST_SEQUENCE = "Nats-Expected-Last-Sequence"
_LAST_MESSAGE_ID = "Nats-Expected-Last-Msg-Id"
_MESSAGE_ID = "Nats-Msg-Id"
_BATCH_ID, _BATCH_SEQUENCE = "Nats-Batch-Id", "Nats-Batch-Sequence"
_BATCH_COMMIT = "Nats-Batch-Commit"

#: The size of a header besides its name and value, and of the line before the headers, in bytes.
_HEADER_SIZE = len(": \r\n")
_HEADERS_SIZE = len("NATS/1.0\r\n\r\n")

#: The size that conditions and IDs may add to a message, in bytes.
_CONDITION_SIZE = 128

#: The maximum size of the headers of a message, in bytes. JetStream has no option for it.
_LONGEST_HEADERS = 65_535

#: The maximum length of an ID in an error.
_LONGEST_ID = 100


class MessageWriter:
    """Writes batches after a position. For one thread.

    Args:
        stream: The stream.
        last: The last message of the stream, from which the relay has its position.
        options: How messages are written.
    """

    def __init__(self, stream: JetStreamStream, last: LastMessage, options: WriteOptions) -> None:
        self._stream = stream
        self._source = encode(options.source)
        self._writer = secrets.token_hex(6)
        #: Of the last message before the current batch.
        self._sequence = last.sequence
        self._last_writer = last.writer
        self._id = options.begin_after if last.id is None else last.id
        self._within = 1 if last.id is None else last.within
        self._batch: Batch | None = None
        self._messages: Sequence[Message] = ()
        #: The number of messages of the batch that are written.
        self._written = 0
        #: Whether more of them may be written.
        self._is_unsure = False
        #: Whether to send one message at a time, because JetStream has refused a batch.
        self._is_careful = False

    @property
    def sequence(self) -> int:
        """The sequence number of the last message before the current batch, or of this batch."""
        return self._sequence

    def write(self, batch: Batch, repeats: RepeatFilter) -> Outcome:
        """Write a batch. Blocks for JetStream.

        If it raises a failure that passes, it has to be called again with the same batch.

        Raises:
            NatsError: NATS fails, or JetStream refuses.
            RelayError: An event is too large. All events before it are written.
        """
        if batch is not self._batch:
            self._batch, self._messages, self._written = batch, self._encode(batch), 0
        if self._is_unsure and not self._look():
            return Outcome.MOVED
        while self._written < len(self._messages):
            if not self._send():
                return Outcome.MOVED
        self._sequence += len(self._messages)
        self._last_writer = self._own_id(self._sequence)
        self._id, self._within = repeats.id, repeats.within
        self._messages, self._written = (), 0
        return Outcome.WRITTEN

    def _encode(self, batch: Batch) -> list[Message]:
        messages: list[Message] = []
        id, within = self._id, self._within
        events = zip(*[iter(batch.fields)] * 3, strict=True)
        for number, (kind, data, encoded) in enumerate(events, self._sequence + 1):
            last, id = id, encoded.decode()
            within = within + 1 if id == last else 1
            headers = {
                EVENT: encode(kind),
                ID: encode(encoded),
                SOURCE: self._source,
                WITHIN: str(within),
                WRITER: self._own_id(number),
            }
            messages.append((data, headers))
        return messages

    def _own_id(self, sequence: int) -> str:
        return f"{self._writer}.{sequence}"

    def _send(self) -> bool:
        """Send the rest of the batch; return whether this relay may still write."""
        first = self._sequence + self._written
        messages = self._conditional(self._sendable(), first)
        self._is_unsure = True
        try:
            reply = self._stream.publish(messages)
        except NatsError as error:
            if error.code not in UNMET:
                # If a batch does not fit into a stream that is full, its first message may.
                self._is_careful = bool(error.code)
                raise
        else:
            if reply.get("seq") == first + len(messages):
                self._is_unsure = self._is_careful = False
                self._written += len(messages)
                return True
        before = self._written
        if not self._look():
            return False
        if self._written == before:
            if self._is_careful:
                raise NatsError("JetStream refuses a write that it should accept", passes=True)
            self._is_careful = True
        return True

    def _sendable(self) -> Sequence[Message]:
        """Return the messages to send: those before one that is too large.

        Raises:
            RelayError: The first one is too large.
        """
        is_batch = self._stream.batching is not Batching.SINGLE and not self._is_careful
        rest = self._messages[self._written :]
        for index, (data, headers) in enumerate(rest):
            problem = self._problem(data, headers)
            if problem:
                if index:
                    return rest[: index if is_batch else 1]
                raise RelayError(
                    f"the event with the ID {headers[ID][:_LONGEST_ID]!r} is too large for the "
                    f"stream {self._stream.name!r}: {problem}"
                )
        return rest if is_batch else rest[:1]

    def _problem(self, data: bytes, headers: dict[str, str]) -> str:
        """Return why a message is too large, ``""`` if it is not."""
        option, limit = self._stream.size_limit()
        header_size = _size(headers)
        size = len(data) + header_size
        if size > limit:
            return (
                f"its message takes {size:,} bytes, and {option} allows {limit:,}; raise that "
                "option, and start the relay again"
            )
        if header_size > _LONGEST_HEADERS:
            return (
                f"its type and its ID take {header_size:,} bytes in the headers, and JetStream "
                f"allows {_LONGEST_HEADERS:,}"
            )
        return ""

    def _conditional(self, messages: Sequence[Message], first: int) -> list[Message]:
        """Return messages with the condition that they follow this sequence number."""
        batching = self._stream.batching
        batch, last = secrets.token_hex(8), ""
        found: list[Message] = []
        for number, (data, headers) in enumerate(messages, 1):
            more: dict[str, str] = {}
            if number == 1:
                more[_LAST_SEQUENCE] = str(first)
            if batching is Batching.CHAINED:
                more[_MESSAGE_ID] = headers[WRITER]
                if last:
                    more[_LAST_MESSAGE_ID] = last
                last = headers[WRITER]
            elif len(messages) > 1:
                more |= {_BATCH_ID: batch, _BATCH_SEQUENCE: str(number)}
                if number == len(messages):
                    more[_BATCH_COMMIT] = "1"
            found.append((data, {**headers, **more}))
        return found

    def _look(self) -> bool:
        """Find out how much of the batch is written; return whether this relay may still write."""
        last = self._stream.last()
        written = last.sequence - self._sequence
        if not 0 <= written <= len(self._messages):
            return False
        if last.writer != (self._own_id(last.sequence) if written else self._last_writer):
            return False
        self._is_unsure, self._written = False, written
        return True


def _size(headers: dict[str, str]) -> int:
    """Return the size of the headers of a message, and some bytes for its condition."""
    names = sum(len(name) + len(value) + _HEADER_SIZE for name, value in headers.items())
    return names + _HEADERS_SIZE + _CONDITION_SIZE
