"""The server for ``greenlet_cases.py``, whose cases run in another process."""

from __future__ import annotations

import threading
from collections import Counter

from support import PATIENCE


class Streams:
    """Responds according to the path of each request. For one run of the cases."""

    def __init__(self):
        self._events = {}
        self._counts = Counter()

    def _event(self, *key):
        return self._events.setdefault(key, threading.Event())

    def handle(self, exchange):
        path = exchange.request.target.partition("?")[0]
        _, kind, *rest = path.split("/")
        getattr(self, kind)(exchange, "/".join(rest))

    def numbers(self, exchange, _):
        """Four events over two connections, and then the end."""
        begin = int(exchange.request.headers.get("Last-Event-ID") or 0)
        if begin == 4:
            exchange.respond(204)
            return
        for number in (begin + 1, begin + 2):
            exchange.send(str(number), id=str(number))

    def silent(self, exchange, _):
        exchange.open()
        exchange.stall()

    def paced(self, exchange, name):
        """Send two events after a request for ``/send``."""
        exchange.open()
        if not self._event("send", name).wait(PATIENCE):
            return
        exchange.write(b"data: sent\n\ndata: sent too\n\n")
        exchange.stall()

    def send(self, exchange, name):
        self._event("send", name).set()
        exchange.respond(200)

    def endless(self, exchange, _):
        number = 0
        while True:
            exchange.send(str(number))
            number += 1

    def flood(self, exchange, _):
        """Send events faster than a client can read them."""
        block = b"data: one of many\n\n" * 10_000
        while True:
            exchange.write(block)

    def once(self, exchange, name):
        self._counts[name] += 1
        if self._counts[name] == 1:
            exchange.send("only")
        else:
            exchange.respond(503)

    def token(self, exchange, _):
        exchange.respond(200, body=exchange.request.headers["Authorization"])

    def text(self, exchange, text):
        exchange.respond(200, body=text)

    def headless(self, exchange, name):
        self._event("seen", f"headless/{name}").set()
        exchange.stall()

    def redirected(self, exchange, name):
        """Redirect to another host, which never responds, after a request for ``/send``."""
        self._event("seen", f"redirected/{name}").set()
        if self._event("send", name).wait(PATIENCE):
            port = exchange.request.headers["Host"].rpartition(":")[2]
            exchange.redirect(f"http://localhost:{port}/headless/redirected/{name}")

    def seen(self, exchange, name):
        is_there = self._event("seen", name).wait(PATIENCE)
        exchange.respond(200 if is_there else 500)

    def watched(self, exchange, name):
        exchange.open()
        if exchange.wait_closed(PATIENCE):
            self._event("gone", name).set()

    def gone(self, exchange, name):
        is_gone = self._event("gone", name).wait(PATIENCE)
        exchange.respond(200, body="it has gone" if is_gone else "it is still there")
