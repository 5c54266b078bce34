"""Leases: who may write, for how long, and how it is kept.

A lease is held for ``lease_time`` from its last renewal, by Redis's own clock; nobody compares the
clocks of two machines. That it is still held is never concluded from the time that has passed here:
every script that writes compares the lease itself. So a holder that slept (SIGSTOP, a paused
virtual machine) and wakes up is refused, however late its write arrives.

Threads: a ``LeaseKeeper`` has one, daemon, that renews all its leases at a third of the lease time.
Its lock guards the set of leases, and is not held across I/O or a callback.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sse_client.relay.connection import RedisServer, describe, text_of
from sse_client.relay.options import key_of
from sse_client.relay.scripts import ACQUIRE, RELEASE, RENEW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger("sse_client")

#: How long a lease is held without being renewed, in seconds: what a take-over takes at most, and
#: what Redis may be away before a healthy relay has to take its lease anew.
LEASE_TIME = 10.0

_RENEWALS = 3


@dataclass(frozen=True)
class Position:
    """Where a stream is.

    Attributes:
        id: The last event ID of the last entry, None if there is none.
        within: How many entries in a row have it.
        sequence: How many entries were ever written.
    """

    id: str | None = None
    within: int = 0
    sequence: int = 0


@dataclass(frozen=True)
class Wait:
    """Somebody else holds the lease, for so many seconds if it isn't renewed."""

    seconds: float


def new_owner() -> str:
    """Return a name that nobody else has: host, process and a random part."""
    host = "".join(each for each in socket.gethostname() if each.isalnum() or each in "-.")
    return f"{host}:{os.getpid()}:{secrets.token_hex(6)}"


def milliseconds(seconds: float) -> int:
    """Return a duration as Redis takes it."""
    return max(1, round(seconds * 1000))


class Lease:
    """A lease that is held, or was. Thread-safe.

    Attributes:
        name: What it is a lease on.
        text: As it stands in Redis: the owner and the token.
        seconds: How long it is held without a renewal.
        position: What the state said when it was taken.
        lost: Set once Redis has said that it is not held any more.
    """

    def __init__(
        self, server: RedisServer, name: str, text: str, seconds: float, position: Position
    ) -> None:
        self._server = server
        self.name = name
        self.text = text
        self.seconds = seconds
        self.position = position
        self.lost = threading.Event()
        #: Called once, on whichever thread notices that it is lost.
        self.on_lost: Callable[[], object] = lambda: None

    @property
    def key(self) -> str:
        """The key of the lease."""
        return key_of(self.name, "lease")

    @property
    def state_key(self) -> str:
        """The key of what is guarded by it."""
        return key_of(self.name, "state")

    def renew(self) -> None:
        """Hold it for the whole time again, or find that it is lost. One round trip."""
        if not self._server.run(RENEW, *self.renewal()):
            self.lose()

    def renewal(self) -> tuple[list[str], list[object]]:
        """Return what the script that renews it is given: keys and arguments."""
        return [self.key], [self.text, milliseconds(self.seconds)]

    def lose(self) -> None:
        """Note that it is held no more, and tell whoever works under it."""
        if not self.lost.is_set():
            self.lost.set()
            self.on_lost()

    def release(self) -> None:
        """Give it back, if it is still held. One round trip; a failure leaves it to expire."""
        try:
            self._server.run(RELEASE, [self.key], [self.text])
        except self._server.failures as error:
            logger.info("a lease is left to expire: %s", describe(error))


def acquire(server: RedisServer, name: str, owner: str, seconds: float) -> Lease | Wait:
    """Take the lease on ``name`` if it is free, in one round trip."""
    keys = [key_of(name, "lease"), key_of(name, "state")]
    reply = server.run(ACQUIRE, keys, [owner, milliseconds(seconds)])
    if not reply[0]:
        left = int(reply[1])
        # Negative for one that does not expire: nobody but a human sets such.
        return Wait(left / 1000 if left >= 0 else seconds)
    _, text, event_id, within, sequence = reply
    position = Position(None if event_id is None else text_of(event_id), int(within), int(sequence))
    return Lease(server, name, text_of(text), seconds, position)


class LeaseKeeper:
    """Renews leases, until they are dropped. Thread-safe; ``close`` ends its thread.

    Args:
        server: The Redis that they are in.
        seconds: How long the leases are held: they are renewed at a third of it.
        reports: What else to carry out in each round; called on the keeper's thread.
    """

    def __init__(
        self,
        server: RedisServer,
        seconds: float,
        reports: Callable[[], Sequence[Sequence[object]]] = tuple,
    ) -> None:
        self._server = server
        self._pause = seconds / _RENEWALS
        self._reports = reports
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._stopping = threading.Event()
        # Daemon: Redis may be taking its time when the interpreter wants to leave.
        self._thread = threading.Thread(target=self._run, name="sse-client:leases", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def keep(self, lease: Lease) -> None:
        """Renew this one from now on."""
        with self._lock:
            self._leases.add(lease)

    def drop(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._leases.discard(lease)

    def close(self, timeout: float) -> None:
        """End the thread, and wait for it for ``timeout`` seconds at most."""
        self._stopping.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            with self._lock:
                leases = list(self._leases)
            try:
                self._renew(leases)
            except Exception as error:  # noqa: BLE001  # the next round comes, whatever this one met
                # Whether they are lost will be known once Redis replies; no write gets past it.
                logger.info("leases could not be renewed: %s", describe(error))

    def _renew(self, leases: Sequence[Lease]) -> None:
        """Renew all in one round trip, for there may be hundreds, and report."""
        replies = self._server.execute_all(
            [
                *self._server.commands_of(RENEW, [lease.renewal() for lease in leases]),
                *self._reports(),
            ]
        )
        for lease, reply in zip(leases, replies, strict=False):
            if isinstance(reply, Exception):
                self._renew_again(lease)  # as where Redis has forgotten the script
            elif not reply:
                lease.lose()
            if lease.lost.is_set():
                self.drop(lease)

    def _renew_again(self, lease: Lease) -> None:
        """Renew one; what is wrong with it alone is no reason to leave out the others."""
        try:
            lease.renew()
        except self._server.failures as error:
            if self._server.passes(error):
                raise
            logger.warning("the lease on %r can't be renewed: %s", lease.name, describe(error))
