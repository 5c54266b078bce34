"""Sending a command until the target replies, with a growing delay between attempts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol, TypeVar

from sse_client.relay.failures import describe, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.relay.outage import Outage
    from sse_client.relay.stop_flag import StopFlag

T = TypeVar("T")

#: The wait before the second attempt and the longest one, in seconds. Half of each is random, so
#: that hundreds of relays don't all reconnect to a restarted target at the same moment.
FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0


class Target(Protocol):
    """The system into which a relay writes, for any number of threads."""

    @property
    def name(self) -> str:
        """Its name in the log and in messages."""

    @property
    def outage(self) -> Outage:
        """Whether it fails, for all threads together."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """The errors of a failed attempt."""

    def passes(self, error: Exception) -> bool:
        """Return whether the failure is worth another attempt."""

    def length(self, stream: str) -> int:
        """Return the number of entries of a stream. Blocks for the system."""

    def close(self) -> None:
        """Close the connections."""


class Interrupted(Exception):  # noqa: N818  # not an error: somebody asked for it
    """The wait for the target has ended, because the reply is no longer needed."""


class Patience:
    """Repeats a command until the target replies, or the reply is no longer needed.

    Args:
        target: The target.
        stopping: Set when the wait is to end.
        on_trouble: Called with each temporary failure, and with None when it is over.

    Attributes:
        trouble: Why the last attempt has failed, ``""`` if it has not.
    """

    def __init__(
        self,
        target: Target,
        stopping: StopFlag,
        on_trouble: Callable[[Exception | None], object] = lambda _: None,
    ) -> None:
        self._target = target
        self._stopping = stopping
        self._on_trouble = on_trouble
        self.trouble = ""

    def ask(self, question: Callable[[], T]) -> T:
        """Return the reply. Blocks while the target fails temporarily.

        Raises:
            Interrupted: ``stopping`` was set before there was a reply.
            RelayError: The target fails permanently.
        """
        delay = FIRST_DELAY
        while True:
            try:
                reply = question()
            except self._target.failures as error:
                if not self._target.passes(error):
                    self._target.outage.gives_up(self)
                    raise refused(error, self._target.name) from error
                self.trouble = describe(error)
                self._target.outage.fails(self, self.trouble)
                self._on_trouble(error)
            else:
                self._target.outage.replies(self)
                if self.trouble:
                    self.trouble = ""
                    self._on_trouble(None)
                return reply
            if self._stopping.wait(delay * random.uniform(0.5, 1.0)):  # noqa: S311  # no secret
                self._target.outage.gives_up(self)
                self._on_trouble(None)  # the next user may find it working
                raise Interrupted
            delay = min(delay * 2, LONGEST_DELAY)
