"""A TCP proxy in its own process, which disturbs its connections as ordered.

``python proxy.py CONFIG``: CONFIG maps the name of each lane to its port and that of its upstream.
Orders arrive as lines of JSON on standard input. Reports are written as lines of JSON to standard
output: each connection accepted, each connection dropped by the proxy, and the completion of each
order. At the end of its input it exits.

An order has a number, the name of a lane, and some of these keys:

* ``refuse``: for this many seconds the port does not listen. ``slow``: it does not accept.
* ``drop``: end the open connections with "fin" or "rst".
* ``now``: a treatment of the open connections. ``next``: treatments of the next connections, one
  for each.

A treatment has a ``kind``: "close" (at once, ``how``), "cut" (after ``after`` bytes of the
response, ``how``), "silence" (the same, but the connection stays open), "drip" (at most ``most``
bytes at a time, for ``seconds``), "garbage" (``text``, ``times`` times, before the response), or
"twice" (send the request twice, and drop one response).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Treatment = dict[str, Any]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with a time of 0

#: The pause between two pieces of a drip, in seconds.
_DRIP_PAUSE = 0.0005

#: The maximum size of an order, which may have a treatment for each of many connections, in bytes.
_LONGEST_ORDER = 1024 * 1024

#: The maximum number of bytes of one read.
_READ_SIZE = 16 * 1024


def report(**facts: object) -> None:
    print(json.dumps({**facts, "at": time.monotonic()}), flush=True)


class Order:
    """Counts the remaining parts of an order."""

    def __init__(self, number: int, parts: int) -> None:
        self._number = number
        self._left = parts

    def finish_part(self) -> None:
        self._left -= 1
        if not self._left:
            report(what="over", order=self._number)


class Dropped(Exception):  # noqa: N818  # not an error
    """Ends a connection in the given way."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Link:
    """One connection of a client, with its connection to the upstream."""

    def __init__(self, lane: Lane, client: socket.socket) -> None:
        self._lane = lane
        self._client = client
        self._upstreams: list[socket.socket] = []
        self._how = "fin"
        self._forwarded = 0
        self._treatment: Treatment = {}
        self._finish: Callable[[], None] | None = None
        self._drip_until = 0.0
        self._has_begun = False
        self._is_dropped = False
        self._task = asyncio.create_task(self._run())

    def treat(self, treatment: Treatment, finish: Callable[[], None]) -> None:
        """Apply a treatment from now on. Positions are relative to this moment."""
        self._finish_treatment()
        self._treatment, self._finish = treatment, finish
        self._forwarded = 0
        self._drip_until = time.monotonic() + treatment.get("seconds", 0.0)

    def drop(self, how: str) -> None:
        """End the connection from outside."""
        self._how = how
        self._is_dropped = True
        if (
            self._has_begun
        ):  # otherwise it would never see the cancellation, and never close anything
            self._task.cancel()

    def _finish_treatment(self) -> None:
        finish, self._finish, self._treatment = self._finish, None, {}
        if finish is not None:
            finish()

    async def _run(self) -> None:
        self._has_begun = True
        try:
            if not self._is_dropped:
                await self._forward_both()
        except Dropped as drop:
            self._how, self._is_dropped = drop.how, True
        except asyncio.CancelledError:
            # An order ended it.
            pass
        except OSError:
            self._how = "rst"
        finally:
            if self._how == "rst":
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            if self._is_dropped:
                report(what="dropped", lane=self._lane.name)
            for sock in (self._client, *self._upstreams):
                sock.close()
            self._lane.links.discard(self)
            self._finish_treatment()

    async def _forward_both(self) -> None:
        """Forward until one side ends."""
        kind = self._treatment.get("kind")
        if kind == "close":
            raise Dropped(self._treatment["how"])
        for _ in range(2 if kind == "twice" else 1):
            await self._connect()
        if kind == "garbage":
            text = self._treatment["text"] * self._treatment["times"]
            await self._send(text.encode("latin-1"))
        up = asyncio.create_task(self._forward_up())
        down = asyncio.create_task(self._forward_down())
        try:
            done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        if down in done:
            down.result()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        upstream = socket.socket()
        self._upstreams.append(upstream)
        upstream.setblocking(False)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(upstream, ("127.0.0.1", self._lane.upstream))

    async def _forward_up(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(self._client, _READ_SIZE):
                if self._treatment.get("kind") != "silence" or self._treatment.get("after"):
                    for upstream in self._upstreams:
                        await loop.sock_sendall(upstream, data)

    async def _forward_down(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._upstreams[-1], _READ_SIZE):
            while data:
                data = data[await self._forward(data) :]

    async def _forward(self, data: bytes) -> int:
        """Send as much of the data as one step may. Return the number of bytes."""
        treatment = self._treatment
        kind = treatment.get("kind")
        if kind in {"cut", "silence"}:
            data = data[: treatment.get("after", 0) - self._forwarded]
            if not data:
                if kind == "cut":
                    raise Dropped(treatment["how"])
                await asyncio.Event().wait()
        elif kind == "drip":
            if time.monotonic() >= self._drip_until:
                self._finish_treatment()
            else:
                data = data[: 1 + self._forwarded % treatment["most"]]
                await asyncio.sleep(_DRIP_PAUSE)
        elif kind in {"garbage", "twice"}:
            self._finish_treatment()
        await self._send(data)
        self._forwarded += len(data)
        return len(data)

    async def _send(self, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._client, data)
        except ConnectionError:
            # The client has left, which the other direction will detect.
            await asyncio.Event().wait()


class Lane:
    """One port, and the orders for its connections."""

    def __init__(self, name: str, port: int, upstream: int) -> None:
        self.name = name
        self.upstream = upstream
        self.links: set[Link] = set()
        self._port = port
        self._next: deque[tuple[Treatment, Callable[[], None]]] = deque()
        self._listen()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            report(what="accepted", lane=self.name)
            link = Link(self, client)
            self.links.add(link)
            if self._next:
                link.treat(*self._next.popleft())

    async def obey(self, message: dict[str, Any]) -> None:
        """Carry out an order."""
        coming, present = message.get("next", []), message.get("now")
        waits = message.get("refuse") or message.get("slow")
        parts = len(coming) + bool(present) + (1 if waits else 0)
        order = Order(message["order"], parts or 1)
        self._next.extend((treatment, order.finish_part) for treatment in coming)
        if present and self.links:
            for link in self.links:
                link.treat(present, order.finish_part)
                break
        elif present:
            self._next.append((present, order.finish_part))
        if waits:
            self._accepting.cancel()
            if "refuse" in message:
                self._listener.close()
        for link in list(self.links) if "drop" in message else ():
            link.drop(message["drop"])
        if waits:
            await asyncio.sleep(waits)
            if "refuse" in message:
                self._listen()
            else:
                self._accepting = asyncio.create_task(self._accept())
        if waits or not parts:
            order.finish_part()


async def main(config: dict[str, tuple[int, int]]) -> None:
    lanes = {name: Lane(name, port, upstream) for name, (port, upstream) in config.items()}
    orders = asyncio.StreamReader(_LONGEST_ORDER)
    protocol = asyncio.StreamReaderProtocol(orders)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    report(what="ready")
    tasks: set[asyncio.Task[None]] = set()
    while line := await orders.readline():
        message = json.loads(line)
        task = asyncio.create_task(lanes[message["lane"]].obey(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
    os._exit(0)
