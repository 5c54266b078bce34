"""Leases, wherever they are kept: who relays a stream, and from which position."""

from __future__ import annotations

import abc
import os
import secrets
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: The time after which a lease expires unless it is renewed, in seconds. A take-over takes this
#: time at most. If the target is unavailable for longer, a healthy relay has to take its lease
#: again.
LEASE_TIME = 10.0


@dataclass(frozen=True)
class Position:
    """The position of a stream.

    Attributes:
        id: The last event ID of the last entry, None if there is none.
        within: The number of consecutive entries that have this ID.
        sequence: The number of entries that were ever written.
    """

    id: str | None = None
    within: int = 0
    sequence: int = 0


@dataclass(frozen=True)
class Wait:
    """Another owner holds the lease.

    Attributes:
        seconds: The time until it expires, unless it is renewed.
        source: The identity of the source that is relayed under it; ``""`` if it is unknown.
    """

    seconds: float
    source: str = ""


def new_owner() -> str:
    """Return a unique name: host, process and a random part."""
    host = "".join(each for each in socket.gethostname() if each.isalnum() or each in "-.")
    return f"{host}:{os.getpid()}:{secrets.token_hex(6)}"


class HeldLease(abc.ABC):
    """A lease that is held, or was. Thread-safe.

    Args:
        name: The name of the stream or cursor that it guards.
        text: Its text in the log: the owner, and what distinguishes it from others of that owner.
        seconds: The time after which it expires unless it is renewed.
        position: The position when it was taken.

    Attributes:
        before: The identity of the source that was relayed before; ``""`` if it is unknown.
        lost: Set when it is known to be no longer held.
    """

    def __init__(self, name: str, text: str, seconds: float, position: Position) -> None:
        self.name = name
        self.text = text
        self.seconds = seconds
        self.position = position
        self.before = ""
        self.lost = threading.Event()
        #: Called once, on the thread that notices the loss.
        self.on_lost: Callable[[], object] = lambda: None

    @abc.abstractmethod
    def renew(self) -> None:
        """Renew it for the whole time, or note that it is lost. Blocks."""

    @abc.abstractmethod
    def release(self) -> None:
        """Release it if it is still held. Blocks. After a failure it expires by itself."""

    def lose(self) -> None:
        """Note that it is no longer held, and call ``on_lost``."""
        if not self.lost.is_set():
            self.lost.set()
            self.on_lost()
