"""A server of numbered events in this process, and the entries relayed from it."""

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

#: How often a condition is polled that nothing signals, in seconds.
_TICK = 0.01


class Numbered:
    """Sends the numbers after the Last-Event-ID up to ``last``, and then waits or ends.

    Attributes:
        last: The current last number.
        ends: Whether the stream ends after the last number: the next request gets a 204.
        per_connection: The number of events after which a connection breaks off. None means never.
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
        """Offer the numbers up to this one."""
        with self._changed:
            self.last = last
            self._changed.notify_all()

    def finish(self) -> None:
        """Let the stream end after the last number."""
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
    """Wait until a condition holds that nothing signals."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(_TICK)
