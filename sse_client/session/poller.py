"""Waits for many descriptors at once."""

from __future__ import annotations

import select
import selectors
from typing import Any, Protocol

#: The event mask for readable descriptors, in ``select.epoll`` and in ``selectors``.
READABLE = 1


class Poller(Protocol):
    """Waits for descriptors, with the methods of ``select.epoll``. Not thread-safe."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Add a descriptor."""

    def unregister(self, fd: int, /) -> None:
        """Remove a descriptor."""

    def poll(self, timeout: float | None, /) -> list[tuple[int, int]]:
        """Wait at most ``timeout`` seconds, or without a limit. Return the ready descriptors."""

    def close(self) -> None:
        """Close the poller's own descriptor."""


def new_poller() -> Poller:
    """Return the fastest poller of this system.

    ``selectors`` takes three times as long per descriptor as the system's own call.
    """
    epoll: Any = getattr(select, "epoll", None)
    poller: Poller = SelectorPoller() if epoll is None else epoll()
    return poller


#: Pollers that a forked child keeps without using them, because freeing them would close a file.
_not_inherited: list[Poller] = []


def close_copy(poller: Poller) -> None:
    """Close a forked child's copy of a poller.

    On macOS a child does not inherit a kqueue, so the number of its descriptor may now belong to
    another file.
    """
    if isinstance(poller, SelectorPoller) and poller.is_kqueue:
        _not_inherited.append(poller)
    else:
        poller.close()


class SelectorPoller:
    """A poller of a system without epoll."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.is_kqueue = isinstance(self._selector, getattr(selectors, "KqueueSelector", ()))

    def register(self, fd: int, eventmask: int) -> None:
        """Add a descriptor."""
        self._selector.register(fd, eventmask)

    def unregister(self, fd: int) -> None:
        """Remove a descriptor."""
        self._selector.unregister(fd)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait at most ``timeout`` seconds, or without a limit. Return the ready descriptors."""
        return [(key.fd, mask) for key, mask in self._selector.select(timeout)]

    def close(self) -> None:
        """Close the poller's own descriptor."""
        self._selector.close()
