"""An outage of the target, which a process logs once when it begins and once when it ends."""

from __future__ import annotations

import logging
import threading

logger = logging.getLogger("sse_client")


class Outage:
    """Whether the target fails for any thread that uses it. Thread-safe.

    Many threads of a process send commands. The target may accept those of one thread, such as
    reads, and refuse those of another, such as writes. So an outage is over when no thread waits
    for it any longer. ``_lock`` is only held briefly.

    Args:
        user: The name of the user of the target in the log.
        target: The name of the target.
    """

    def __init__(self, user: str, target: str) -> None:
        self._prefix = f"{user}: {target}" if user else target
        self._lock = threading.Lock()
        self._waiting: set[object] = set()
        self._is_on = False

    def fails(self, who: object, reason: str) -> None:
        """Note that ``who`` waits for the target."""
        with self._lock:
            self._waiting.add(who)
            begins, self._is_on = not self._is_on, True
        if begins:
            logger.warning("%s fails, waiting for it: %s", self._prefix, reason)

    def replies(self, who: object) -> None:
        """Note that ``who`` got a reply."""
        if not self._is_on:  # the usual case, without the lock
            return
        with self._lock:
            self._waiting.discard(who)
            if self._waiting:
                return
            was_on, self._is_on = self._is_on, False
        if was_on:  # or another thread was faster
            logger.warning("%s replies again", self._prefix)

    def gives_up(self, who: object) -> None:
        """Note that ``who`` no longer waits, without a reply."""
        with self._lock:
            self._waiting.discard(who)
