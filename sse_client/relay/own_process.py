"""The process to which threads, leases and entries in progress belong: the one that created them.

A forked child has copies of them, and none of the threads. It must neither write under a lease of
its parent nor release it, and it must not process the entries that its parent has in progress.
"""

from __future__ import annotations

import os

from sse_client import SessionClosedError


class OwnProcess:
    """The process that created something. Thread-safe; nothing blocks.

    Attributes:
        id: Its process ID.
    """

    def __init__(self) -> None:
        self.id = os.getpid()

    @property
    def is_current(self) -> bool:
        """Whether this is that process, and not a forked child."""
        return os.getpid() == self.id

    def require(self, made: object) -> None:
        """Raise SessionClosedError in a child.

        Args:
            made: The object that the process created.
        """
        if not self.is_current:
            kind = type(made).__name__
            message = f"the {kind} belongs to process {self.id}, from which this one was forked"
            raise SessionClosedError(message)
