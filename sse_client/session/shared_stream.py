"""The streams of the shared reader: those that it reads, and those that wait to reconnect."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from sse_client.clock import SYSTEM_CLOCK
from sse_client.http.aborting import ConnectionAborted

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.http.arrived_body import ArrivedBody
    from sse_client.session.reception import Reception
    from sse_client.session.timers import Timer


class Phase(enum.Enum):
    """The phase of a stream in the shared reader."""

    NEW = enum.auto()
    #: It is in the selector.
    READING = enum.auto()
    #: Its channel is full.
    BLOCKED = enum.auto()
    #: It has no connection, and waits to reconnect.
    PARKED = enum.auto()
    #: It has no connection, and waits for a thread.
    QUEUED = enum.auto()
    #: It was handed back to its owner.
    LEFT = enum.auto()


class Progress(enum.Enum):
    """The result of a step."""

    #: There is nothing to do until more bytes arrive.
    USUAL = enum.auto()
    #: The shared reader must check the room, the timers or TLS.
    SPECIAL = enum.auto()
    #: The stream has ended, with its mark or with the connection.
    ENDED = enum.auto()


class StreamOwner(Protocol):
    """The reader that follows the stream. No method may block.

    Attributes:
        name: The host of the stream.
    """

    name: str

    @property
    def total_deadline(self) -> float | None:
        """The moment by which the stream must have ended, or None."""

    def is_wanted(self) -> bool:
        """Return whether to continue the connection, or the wait for the next one."""

    def is_ending(self) -> bool:
        """Return whether the stream must end."""

    def late(self) -> Exception:
        """Return the error of an exceeded deadline of the reception."""

    def take_back(self, reception: Reception, error: Exception | None) -> None:
        """Close the connection after its error or its end."""

    def resume(self, *, has_turn: bool) -> bool:
        """Follow the stream from now on.

        Args:
            has_turn: Whether to call ``SharedReader.end_turn`` after the next attempt.

        Returns:
            False if no thread can be started now. Always True for a stream that must end.
        """


class ParkedStream:
    """A stream that waits without a thread until it may reconnect.

    Attributes:
        due: The moment to reconnect, on the clock's ``monotonic``.
        phase, timer, owner: As those of a ``SharedStream``.
    """

    __slots__ = ("due", "owner", "phase", "timer")

    def __init__(self, owner: StreamOwner, due: float) -> None:
        self.owner = owner
        self.due = due
        self.phase = Phase.PARKED
        self.timer: Timer | None = None


class SharedStream:
    """Reads one stream when there is something to read. For the shared thread. Never blocks.

    Args:
        body: The body, read without blocking.
        reception: Processes the bytes that have arrived.
        owner: The reader that takes the stream back.
        read_timeout: The maximum time without any byte, in seconds. None means no limit.
        no_bytes: Returns the error of that timeout.
        wakes: Collects the functions that wake consumers. The shared thread calls them.

    Attributes:
        phase: The phase of the stream in the shared reader.
        timer: When the shared reader checks the stream, or None.
        fileno: The descriptor of the stream.
        owner, reception: The arguments.
    """

    __slots__ = (
        *("_body", "_bytes_due", "_delivery", "_no_bytes", "_progress", "_read_timeout", "fileno"),
        *("owner", "phase", "reception", "timer"),
    )

    def __init__(
        self,
        body: ArrivedBody,
        reception: Reception,
        owner: StreamOwner,
        *,
        read_timeout: float | None,
        no_bytes: Callable[[], Exception],
        wakes: dict[Callable[[], object], None],
    ) -> None:
        self.phase = Phase.NEW
        self.timer: Timer | None = None
        self.fileno = body.fileno
        self.owner = owner
        self.reception = reception
        self._body = body
        self._read_timeout = read_timeout
        self._no_bytes = no_bytes
        self._delivery = reception.delivery
        self._delivery.wakes = wakes
        #: The moment, on the clock's ``monotonic``, by which a byte must arrive, or None.
        self._bytes_due: float | None = None
        self._restart_read_timeout()
        is_special = body.is_layered or self.deadline is not None
        self._progress = Progress.SPECIAL if is_special else Progress.USUAL

    @property
    def is_blocked(self) -> bool:
        """Whether events wait for room in the channel."""
        return self.reception.is_blocked

    @property
    def deadline(self) -> float | None:
        """The moment, on the clock's ``monotonic``, by which it must be checked, or None."""
        due, bytes_due = self.reception.deadline, self._bytes_due
        if bytes_due is None or self.reception.is_blocked:
            return due
        return bytes_due if due is None else min(due, bytes_due)

    def read(self) -> Progress:
        """Read once from the bytes that have arrived.

        Raises:
            Exception: The error that has ended the stream.
        """
        chunk = self._body.read()
        if not chunk:
            return Progress.USUAL if chunk is None else Progress.ENDED
        if self._bytes_due is not None:
            self._restart_read_timeout()
        self.reception.receive(chunk)
        if self._delivery.rest:
            return Progress.SPECIAL
        if self.reception.has_ended or self._body.has_ended:
            return Progress.ENDED
        return self._progress

    def look(self) -> Progress:
        """Check the stream for anything due other than reading.

        Raises:
            Exception: The error that has ended the stream.
        """
        if self.is_blocked:
            self.reception.put_rest()
            self._restart_read_timeout()
            is_over = self.reception.has_ended or self._body.has_ended
            return Progress.ENDED if is_over and not self._delivery.rest else Progress.SPECIAL
        if not self.owner.is_wanted():
            raise ConnectionAborted
        now = SYSTEM_CLOCK.monotonic()
        due = self.reception.deadline
        if due is not None and due <= now:
            raise self.owner.late()
        if self._bytes_due is not None and self._bytes_due <= now:
            raise self._no_bytes()
        return Progress.SPECIAL

    def has_more(self) -> bool:
        """Return whether there is more to read that the selector does not report."""
        return self._body.has_more()

    def _restart_read_timeout(self) -> None:
        if self._read_timeout is not None:
            self._bytes_due = SYSTEM_CLOCK.monotonic() + self._read_timeout
