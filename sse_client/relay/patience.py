"""Sending a command until Redis replies, with a growing delay between attempts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from sse_client.relay.failures import describe, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.relay.connection import RedisServer
    from sse_client.relay.stop_flag import StopFlag

T = TypeVar("T")

#: The wait before the second attempt and the longest one, in seconds. Half of each is random, so
#: that hundreds of relays don't all reconnect to a restarted Redis at the same moment.
FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0


class Interrupted(Exception):  # noqa: N818  # not an error: somebody asked for it
    """The wait for Redis has ended, because the reply is no longer needed."""


class Patience:
    """Repeats a command until Redis replies, or the reply is no longer needed.

    Args:
        server: The Redis.
        stopping: Set when the wait is to end.
        on_trouble: Called with each temporary failure, and with None when it is over.

    Attributes:
        trouble: Why the last attempt has failed, ``""`` if it has not.
    """

    def __init__(
        self,
        server: RedisServer,
        stopping: StopFlag,
        on_trouble: Callable[[Exception | None], object] = lambda _: None,
    ) -> None:
        self._server = server
        self._stopping = stopping
        self._on_trouble = on_trouble
        self.trouble = ""

    def ask(self, question: Callable[[], T]) -> T:
        """Return the reply. Blocks while Redis fails temporarily.

        Raises:
            Interrupted: ``stopping`` was set before there was a reply.
            RelayError: Redis fails permanently.
        """
        delay = FIRST_DELAY
        while True:
            try:
                reply = question()
            except self._server.failures as error:
                if not self._server.passes(error):
                    self._server.outage.gives_up(self)
                    raise refused(error) from error
                self.trouble = describe(error)
                self._server.outage.fails(self, self.trouble)
                self._on_trouble(error)
            else:
                self._server.outage.replies(self)
                if self.trouble:
                    self.trouble = ""
                    self._on_trouble(None)
                return reply
            if self._stopping.wait(delay * random.uniform(0.5, 1.0)):  # noqa: S311  # no secret
                self._server.outage.gives_up(self)
                self._on_trouble(None)  # the next user may find Redis working
                raise Interrupted
            delay = min(delay * 2, LONGEST_DELAY)
