"""Renewing leases until they are dropped, wherever they are kept."""

from __future__ import annotations

import abc
import logging
import threading
from typing import Generic, TypeVar

from sse_client.relay.failures import describe
from sse_client.relay.held_lease import HeldLease

logger = logging.getLogger("sse_client")

L = TypeVar("L", bound=HeldLease)

#: How many times per lease time a lease is renewed.
RENEWALS = 3


class Keeper(abc.ABC, Generic[L]):
    """Renews leases until they are dropped. Thread-safe; ``close`` ends its thread.

    It has one daemon thread. ``_lock`` guards the set of leases, and is not held across I/O or a
    callback.

    Args:
        seconds: The lease time. Leases are renewed every third of it.
    """

    def __init__(self, seconds: float) -> None:
        self._pause = seconds / RENEWALS
        self._lock = threading.Lock()
        self._leases: set[L] = set()
        self._stopping = threading.Event()
        # Daemon: a renewal may hang when the interpreter exits.
        self._thread = threading.Thread(target=self._run, name="sse-client:leases", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def keep(self, lease: L) -> None:
        """Renew this lease from now on."""
        with self._lock:
            self._leases.add(lease)

    def drop(self, lease: L) -> None:
        """No longer renew this lease."""
        with self._lock:
            self._leases.discard(lease)

    def close(self, timeout: float) -> None:
        """End the thread, and wait for it for ``timeout`` seconds at most."""
        self._stopping.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            try:
                self._round()
            except Exception as error:  # noqa: BLE001  # the next round tries again
                self._log(error)

    def _round(self) -> None:
        with self._lock:
            leases = list(self._leases)
        self._renew_all(leases)

    @abc.abstractmethod
    def _renew_all(self, leases: list[L]) -> None:
        """Renew these leases. Blocks."""

    def _log(self, error: Exception) -> None:
        # Whether they are lost will be known later; until then no write depends on it.
        logger.info("leases could not be renewed: %s", describe(error))
