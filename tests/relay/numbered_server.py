"""A server of numbered events in this process, and what was relayed of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from support import PATIENCE

from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_process import RedisProcess
    from typing_extensions import Self

    from sse_client.testing import Exchange

#: How often a condition that nobody tells of is looked at, in seconds.
_TICK = 0.01


class Numbered:
    """Sends 1, 2, 3, ... behind the Last-Event-ID up to ``last``, and then waits, or ends.

    Attributes:
        last: The last number there is, as of now.
        ends: Whether the stream is over behind the last: the next request gets a 204.
        per_connection: After how many events a connection breaks off; None for never.
    """

    def __init__(self) -> None:
        self.last = 0
        self.ends = True
        self.per_connection: int | None = None
        self._server = SSEServer(self._respond)
        self._changed = threading.Condition()
        self._stopping = False

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def positions(self) -> list[str]:
        """The Last-Event-ID of each request."""
        return [each.headers.get("Last-Event-ID", "") for each in self._server.requests]

    def offer(self, last: int) -> None:
        """Let there be numbers up to this one."""
        with self._changed:
            self.last = last
            self._changed.notify_all()

    def finish(self) -> None:
        """Let the stream be over behind the last number."""
        with self._changed:
            self.ends = True
            self._changed.notify_all()

    def _respond(self, exchange: Exchange) -> None:
        number = int(exchange.request.headers.get("Last-Event-ID", "0"))
        if self.ends and number >= self.last:
            exchange.respond(204)
            return
        exchange.open()
        sent = 0
        while not self._stopping:
            while number < self.last:
                number += 1
                sent += 1
                exchange.send(str(number), id=str(number))
                if sent == self.per_connection:
                    exchange.drop()
                    return
            if self.ends:
                return
            with self._changed:
                self._changed.wait(_TICK)

            if exchange.wait_closed(0):
                return

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        with self._changed:
            self._changed.notify_all()
        self._server.stop()


def numbers_of(redis: RedisProcess, stream: str) -> list[int]:
    """The numbers in a Redis Stream, in order."""
    return [int(entry["data"]) for entry in redis.entries(stream)]


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that nobody tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(_TICK)
