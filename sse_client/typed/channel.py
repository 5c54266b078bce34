"""A channel whose events are decoded when they are taken, on the consumer's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sse_client.channel.incoming import IncomingChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.channel.bounds import Overflow


class TypedChannel(IncomingChannel[Any]):
    """The events of a typed session.

    An event is decoded after it was handed out, with no lock held. One that cannot be decoded was
    handed out all the same: it is processed when its consumer comes back for the next one.

    Args:
        decode: Makes of an event what the consumer gets.
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

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401, FBT001, FBT002  # as the channel's
        """Take the next event, as ``IncomingChannel.get`` does, and decode it.

        Raises:
            DeserializationError: The data is not of the type; the next call goes on behind it.
        """
        return self._decode(super().get(block, timeout))

    def __next__(self) -> Any:  # noqa: ANN401  # of the types that were asked for
        """Wait for the next event, and decode it; stop when the session has ended."""
        return self._decode(super().__next__())
