"""A channel that decodes each event on the thread of its consumer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sse_client.channel.incoming import IncomingChannel
from sse_client.errors import DeserializationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.channel.bounds import Overflow


class TypedChannel(IncomingChannel[Any]):
    """The events of a typed session.

    An event is decoded after it has been taken, with no lock held. An event that cannot be decoded
    also counts as processed when its consumer returns for the next one.

    Args:
        decode: Turns a received event into the one that the consumer gets.
        capacity, capacity_bytes, overflow: As for ``IncomingChannel``.
    """

    def __init__(
        self,
        decode: Callable[[Any], Any],
        capacity: int,
        capacity_bytes: int,
        overflow: Overflow,
    ) -> None:
        super().__init__(capacity, capacity_bytes, overflow)
        self._decode = decode
        #: For each thread, the error of the event after its batch.
        self._failures: dict[int, DeserializationError] = {}

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401, FBT001, FBT002  # as the channel's
        """Take the next event, as ``IncomingChannel.get`` does, and decode it.

        Raises:
            DeserializationError: The data is not of the requested type. The next call continues.
        """
        if self._failures:
            self._raise_failure()
        return self._decode(super().get(block, timeout))

    def get_batch(self, max_events: int, timeout: float | None = None) -> list[Any]:
        """Take the events that have arrived, as ``IncomingChannel.get_batch``, and decode them.

        A batch ends before an event that cannot be decoded. This thread's next call raises it.

        Raises:
            DeserializationError: The data of the first event is not of the requested type.
        """
        return super().get_batch(max_events, timeout)

    def _take_more(self, batch: list[Any]) -> None:
        try:
            batch.append(self._decode(self._take()))
        except DeserializationError as error:
            self._failures[threading.get_ident()] = error
            raise IndexError from error

    def _raise_failure(self) -> None:
        failure = self._failures.pop(threading.get_ident(), None)
        if failure is not None:
            raise failure

    def __next__(self) -> Any:  # noqa: ANN401  # of the types that were asked for
        """Wait for the next event, and decode it. Stop when the session has ended."""
        if self._failures:
            self._raise_failure()
        return self._decode(super().__next__())

    async def __anext__(self) -> Any:  # noqa: ANN401  # of the types that were asked for
        """Wait for the next event in an asyncio task, and decode it. Stop at the end."""
        return self._decode(await super().__anext__())
