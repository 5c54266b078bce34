"""A server of numbered events in its own process, which carries out orders.

``python origin.py CONFIG``: the keys of CONFIG are those of `Config`. Orders arrive as lines of
JSON on standard input. Reports are written as lines of JSON to standard output: all requests, all
events offered, and the completion of each order. At the end of its input it exits.

An order names a stream, and has a number. ``now`` applies to the open connection: "end" it cleanly,
"corrupt" it, or "mute" it, so that only heartbeats remain. ``answers`` are the responses to the
next requests, in order: see `_refuse`. ``finish`` ends all streams with 204, once a client has
everything. ``certificate`` is the certificate to use from now on, "rogue" or "rotate".
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import socket
import ssl
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from framing import Body
from numbered import due, first_due, wire_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The intervals between two checks for orders and between heartbeats, in seconds.
_TICK = 0.01
_HEARTBEAT = 0.05

#: How long a client may take to send its request or to read data, in seconds.
_PATIENCE = 30.0

#: How long before its last event the end of all streams is set, in seconds.
_NOTICE = 0.5

#: The maximum number of due events written at once.
_BATCH = 50


@dataclass(frozen=True)
class Config:
    """The configuration of an origin.

    Attributes:
        port: The port.
        tls_port: The port for TLS, if there are certificates.
        epoch: The beginning of the numbers, on the monotonic clock that all processes share.
        rate: Events per second.
        certificates: Files. Each connection gets the next one.
        rogue: The file of an untrusted certificate.
        with_retry: Whether some events have a ``retry``.
    """

    port: int
    tls_port: int
    epoch: float
    rate: float
    certificates: tuple[str, ...] = ()
    rogue: str = ""
    with_retry: bool = True


@dataclass
class Stream:
    """The orders for one stream."""

    order: int | None = None
    now: str | None = None
    answers: deque[dict[str, Any]] = field(default_factory=deque)


class Origin:
    """The streams, and a thread for each connection."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()  # guards all below, and that reports are whole lines
        self._streams: dict[str, Stream] = {}
        self._last: int | None = None
        self._rogue = False
        self._contexts = itertools.cycle(map(_context, config.certificates))
        self._rogue_context = _context(config.rogue) if config.rogue else None

    def run(self) -> None:
        """Listen, and obey the standard input until it ends."""
        ports = [self._config.port]
        if self._config.certificates:
            ports.append(self._config.tls_port)
        for port in ports:
            listener = socket.create_server(("127.0.0.1", port), backlog=64)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        self.report(what="ready")
        for line in sys.stdin:
            self._obey(json.loads(line))

    def report(self, **facts: object) -> None:
        line = json.dumps({**facts, "at": time.monotonic()})
        with self._lock:
            print(line, flush=True)

    def _obey(self, order: dict[str, Any]) -> None:
        if order.get("finish"):
            # Not yet due, so that no stream is already beyond it.
            ahead = time.monotonic() - self._config.epoch + _NOTICE
            self._last = first_due(ahead, self._config.rate)
            self.report(what="finishing", last=self._last)
        elif "certificate" in order:
            self._rogue = order["certificate"] == "rogue"
            self.report(what="over", order=order["order"])
        else:
            with self._lock:
                stream = self._stream(order["stream"])
                stream.order = order["order"]
                stream.now = order.get("now")
                stream.answers.extend(order.get("answers", ()))

    def _stream(self, name: str) -> Stream:
        return self._streams.setdefault(name, Stream())

    def _due(self, number: int) -> float:
        return self._config.epoch + due(number, self._config.rate)

    def _accept(self, listener: socket.socket) -> None:
        is_tls = listener.getsockname()[1] == self._config.tls_port
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(_PATIENCE)
            threading.Thread(target=self._serve, args=(sock, is_tls), daemon=True).start()

    def _serve(self, sock: socket.socket, is_tls: bool) -> None:
        # This connection is over, whatever the client or the proxy did. The next one follows.
        with contextlib.suppress(OSError, ValueError), sock:
            if not is_tls:
                self._answer(sock)
                return
            with self._lock:
                context = self._rogue_context if self._rogue else next(self._contexts)
            assert context is not None
            with context.wrap_socket(sock, server_side=True) as secured:
                self._answer(secured, id(context))

    def _answer(self, sock: socket.socket, certificate: int | None = None) -> None:
        query, headers = _read_request(sock)
        position = int(headers.get("last-event-id", 0))
        with self._lock:
            stream = self._stream(query["stream"])
            answer = stream.answers.popleft() if stream.answers else {}
            if answer:
                stream.now = None
            elif self._last is not None and position >= self._last:
                answer = {"status": 204}
        self.report(
            what="request",
            stream=query["stream"],
            session=int(headers.get("x-session", 0)),
            position=position,
            asks=answer.get("retry_after"),
            certificate=certificate,
        )
        if answer:
            _refuse(sock, answer)
            self._finish_order(stream)
            return
        body = Body(sock, query["framing"])
        head = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Connection: close"]
        sock.sendall("\r\n".join([*head, *body.head(), "", ""]).encode())
        with contextlib.suppress(EOFError):
            for piece in self._pieces(sock, stream, query, position):
                body.write(piece)
            if stream.now == "corrupt":
                body.corrupt()
            else:
                body.end()
        if stream.now in {"end", "corrupt"}:
            stream.now = None
            self._finish_order(stream)

    def _pieces(
        self, sock: socket.socket, stream: Stream, query: dict[str, str], number: int
    ) -> Iterator[bytes]:
        """Yield the due events, until the client leaves or an order ends this."""
        only = number + int(query["only"]) if "only" in query else None
        while stream.now not in {"end", "corrupt"}:
            if stream.now == "mute":
                yield from _heartbeats(sock)
                stream.now = None
                self._finish_order(stream)
                return
            batch = []
            limit = min(end for end in (number + _BATCH, only, self._last) if end is not None)
            while number < limit and self._due(number + 1) <= time.monotonic():
                number += 1
                batch.append(wire_of(number, with_retry=self._config.with_retry))
            if batch:
                self.report(what="offered", stream=query["stream"], number=number)
                yield b"".join(batch)
            elif number in {only, self._last} or _has_left(sock, _TICK):
                return

    def _finish_order(self, stream: Stream) -> None:
        """Report an order once it has been carried out completely."""
        with self._lock:
            order = stream.order
            if order is None or stream.now is not None or stream.answers:
                return
            stream.order = None
        self.report(what="over", order=order)


def _context(file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _read_request(sock: socket.socket) -> tuple[dict[str, str], dict[str, str]]:
    """Return the query and the headers. Raise ValueError for anything other than a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = sock.recv(65536)
        if not received or len(data) > 65536:
            raise ValueError("no request")
        data += received
    first, *lines = data.decode("latin-1").split("\r\n")
    target = first.split(" ")[1]
    fields = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}, headers


def _refuse(sock: socket.socket, answer: dict[str, Any]) -> None:
    """Send another response than a stream: ``status``, ``type``, ``location``, ``retry_after``."""
    lines = [f"HTTP/1.1 {answer.get('status', 200)} As Told", "Connection: close"]
    if answer.get("status") != 204:
        lines += [f"Content-Type: {answer.get('type', 'text/plain')}", "Content-Length: 4"]
    if "location" in answer:
        lines.append(f"Location: {answer['location']}")
    if "retry_after" in answer:
        asked, now = answer["retry_after"], time.time()
        if answer.get("as_date"):
            lines += [f"Date: {formatdate(now, usegmt=True)}"]
            asked = formatdate(now + asked, usegmt=True)
        lines.append(f"Retry-After: {asked}")
    body = b"" if answer.get("status") == 204 else b"well"
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def _heartbeats(sock: socket.socket) -> Iterator[bytes]:
    while not _has_left(sock, _HEARTBEAT):
        yield b":\n"


def _has_left(sock: socket.socket, timeout: float) -> bool:
    """Wait this long for bytes or the end from the client, which both mean that it leaves."""
    return bool(select.select([sock], [], [], timeout)[0])


if __name__ == "__main__":
    Origin(Config(**json.loads(sys.argv[1]))).run()
    # Nothing waits for the threads of the connections.
    os._exit(0)
