"""Renewing all leases of a process in Redis together.

Threads: a ``LeaseKeeper`` has one daemon thread, which renews all its leases every third of the
lease time. In a cluster it starts one more per master for each round, so that a master that does
not reply delays only its own leases. ``_lock`` guards the set of leases, and is not held across I/O
or a callback.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from sse_client.relay.connection import RedisServer, key_of_command
from sse_client.relay.failures import describe
from sse_client.relay.keeper import Keeper
from sse_client.relay.lease import Lease
from sse_client.relay.scripts import RENEW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger("sse_client")


class LeaseKeeper(Keeper[Lease]):
    """Renews leases until they are dropped. Thread-safe; ``close`` ends its threads.

    Args:
        server: The Redis.
        seconds: The lease time. Leases are renewed every third of it.
        reports: Returns more commands for each round; called on the keeper's thread.
    """

    def __init__(
        self,
        server: RedisServer,
        seconds: float,
        reports: Callable[[], Sequence[Sequence[object]]] = tuple,
    ) -> None:
        super().__init__(seconds)
        self._server = server
        self._reports = reports
        #: The threads of single masters. Only the keeper's thread uses this until it has ended.
        self._rounds: dict[str, threading.Thread] = {}

    def close(self, timeout: float) -> None:
        """End the threads, and wait for them for ``timeout`` seconds at most."""
        deadline = time.monotonic() + timeout
        super().close(timeout)
        for thread in list(self._rounds.values()):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _renew_all(self, leases: list[Lease]) -> None:
        renewals = self._server.commands_of(RENEW, [lease.renewal() for lease in leases])
        commands = [*renewals, *self._reports()]
        masters = self._server.by_master([key_of_command(command) for command in commands])
        for master, indexes in masters.items():
            mine = [leases[index] for index in indexes if index < len(leases)]
            words = [commands[index] for index in indexes]
            if len(masters) == 1:
                self._renew(mine, words)
            else:
                self._start(master, mine, words)

    def _start(
        self, master: str, leases: Sequence[Lease], commands: Sequence[Sequence[object]]
    ) -> None:
        """Renew the leases of one master on a thread, unless that of the last round still runs."""
        before = self._rounds.get(master)
        if before is not None and before.is_alive():
            return
        thread = threading.Thread(
            target=self._try, args=(leases, commands), name="sse-client:leases:master", daemon=True
        )
        self._rounds[master] = thread
        thread.start()

    def _try(self, leases: Sequence[Lease], commands: Sequence[Sequence[object]]) -> None:
        try:
            self._renew(leases, commands)
        except Exception as error:  # noqa: BLE001  # as above
            self._log(error)

    def _renew(self, leases: Sequence[Lease], commands: Sequence[Sequence[object]]) -> None:
        """Renew all leases in one round trip, because there may be hundreds, and send the reports.

        Args:
            leases: The leases.
            commands: The renewal of each lease, and then the reports.
        """
        replies = self._server.execute_all(commands)
        for lease, reply in zip(leases, replies, strict=False):
            if isinstance(reply, Exception):
                self._renew_again(lease)  # for example, Redis has forgotten the script
            elif not reply:
                lease.lose()
            if lease.lost.is_set():
                self.drop(lease)

    def _renew_again(self, lease: Lease) -> None:
        """Renew one lease. A refusal that concerns it alone does not affect the others."""
        try:
            lease.renew()
        except self._server.failures as error:
            if self._server.passes(error):
                raise
            logger.warning("the lease on %r can't be renewed: %s", lease.name, describe(error))
