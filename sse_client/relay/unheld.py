"""Streams that nobody relays, because nobody holds their lease."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("sse_client")

#: For how many lease times a stream may have no holder. A take-over takes 4/3 of a lease time.
UNHELD_LEASE_TIMES = 2


class UnheldStreams:
    """Notices streams that nobody relays, and logs each once. For one thread.

    Args:
        worker: The name of the worker in the log.
        lease_time: The lease time in seconds.
    """

    def __init__(self, worker: str, lease_time: float) -> None:
        self._worker = worker
        self._longest = UNHELD_LEASE_TIMES * lease_time
        self._since: dict[str, float] = {}
        self._logged: set[str] = set()

    def note(self, stream: str, *, is_held: bool) -> None:
        """Note whether the lease of a stream is held now."""
        if is_held:
            self._since.pop(stream, None)
            if stream in self._logged:
                self._logged.discard(stream)
                logger.warning("%s: %r is relayed again", self._worker, stream)
            return
        now = time.monotonic()
        since = self._since.setdefault(stream, now)
        if now - since > self._longest and stream not in self._logged:
            self._logged.add(stream)
            logger.warning(
                "%s: nobody has relayed %r for %.1f seconds", self._worker, stream, now - since
            )
