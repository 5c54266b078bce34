"""Relaying under one lease: from the position at its start, until the lease is lost."""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
from typing import TYPE_CHECKING

from sse_client import ChannelClosed
from sse_client.relay.descriptors import is_out_of_descriptors
from sse_client.relay.patience import Interrupted, Patience
from sse_client.relay.progress import RelayState
from sse_client.relay.stop_flag import StopFlag
from sse_client.relay.writer import CONNECTION_OPENED, BatchReader, Outcome, RepeatFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client import SSESession
    from sse_client.relay.held_lease import HeldLease, Position
    from sse_client.relay.patience import Target
    from sse_client.relay.progress import Progress
    from sse_client.relay.writer import Batch, BatchWriter, WriteOptions

    #: Opens the stream after an ID, and reports each connection and each loss to the relay.
    OpenStream = Callable[[str, "LeasedRelay"], SSESession]


logger = logging.getLogger("sse_client")


class End(enum.Enum):
    """Why relaying under a lease has ended."""

    STREAM_ENDED = "the stream ended"
    LOST = "the lease is held by another relay, or has expired"
    MOVED = "the target is at another position than this relay"
    STOPPED = "it was stopped"
    UNREACHABLE = "the stream could not be opened"


class LeasedRelay:
    """Relays one stream while one lease is held. Any thread may stop it.

    The lock guards the session and whether it is still needed, and is only held briefly. It is
    reentrant, because a signal handler may call ``stop`` on the thread that it interrupts.

    Args:
        target: The system into which it writes.
        lease: The lease.
        open_stream: Opens the stream.
        options: How entries are written.
        progress: The figures.
        writer: Writes the batches.
        attempts: How many attempts in a row to open the stream may fail before it ends; None for no
            limit.
    """

    def __init__(
        self,
        target: Target,
        lease: HeldLease,
        open_stream: OpenStream,
        options: WriteOptions,
        progress: Progress,
        *,
        writer: BatchWriter,
        attempts: int | None = None,
    ) -> None:
        self._target = target
        self._lease = lease
        self._open_stream = open_stream
        self._options = options
        self._progress = progress
        self._writer = writer
        self._attempts = attempts
        #: The number of consecutive failed attempts to open the stream.
        self._failures = 0
        self._is_unreachable = False
        self._lock = threading.RLock()
        self._stopping = StopFlag()
        self._session: SSESession | None = None
        #: Set when the stream is open, has failed to open, or is no longer needed.
        self._is_settled = StopFlag()
        #: The result of opening the stream; None if it is no longer needed.
        self._outcome: SSESession | Exception | None = None
        #: Created by ``prepare``.
        self._repeats: RepeatFilter
        self._reader: BatchReader
        lease.on_lost = self.stop

    @property
    def waiting(self) -> int:
        """The number of events that have arrived and are not written yet."""
        session = self._session
        return 0 if session is None else session.incoming.qsize()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End it: close the session, and end any wait. Does not wait for its thread."""
        self._stopping.set()
        self._is_settled.set()
        with self._lock:
            session = self._session
        if session is not None:
            session.close(timeout=0.0)

    def opened(self, session: SSESession) -> None:
        """Note in the channel that a connection was opened; on the reader's thread."""
        with contextlib.suppress(ChannelClosed):
            session.incoming.put(CONNECTION_OPENED)
        self._failures = 0
        if not self._stopping.is_set():
            self._progress.move(RelayState.RELAYING)
            logger.info("%r: relaying under the lease of %s", self._lease.name, self._lease.text)

    def disconnected(self, session: SSESession, error: Exception | None) -> None:
        """Note that the connection was lost; on the reader's thread."""
        if self._stopping.is_set():  # while the first connection was still being opened
            session.close(timeout=0.0)
            return
        self._progress.move(RelayState.CONNECTING)
        self._progress.lost(error)
        self._failures += 1
        if self._attempts is None or error is None:
            return
        # Without descriptors one failure is enough: another process may have some left.
        if self._failures > self._attempts or is_out_of_descriptors(error):
            self._is_unreachable = True
            self.stop()

    def run(self) -> End:
        """Relay until the stream or the lease ends. Blocks.

        Raises:
            SSEClientError: The stream has ended with this error. All events before it are written.
            RelayError: The target refuses.
        """
        try:
            return self._relay() if self.prepare() else self.end()
        finally:
            if self._session is not None:
                self._session.close()

    def prepare(self) -> bool:
        """Open the stream; return whether it is open and still needed. Blocks.

        Raises:
            SSEClientError: The stream can't be opened.
        """
        self._progress.move(RelayState.CONNECTING)
        position, options = self._lease.position, self._options
        self._compare(position)
        # A relay that starts after a given ID has not seen the event that set the ID: it counts as
        # written.
        begun = position.id is not None
        last_event_id = (position.id or "") if begun else options.begin_after
        within = position.within if begun else 1
        session = self._open(last_event_id)
        if session is None or self._stopping.is_set():
            return False
        self._repeats = RepeatFilter(
            last_event_id, within, resends_unnumbered=options.resends_unnumbered
        )
        self._reader = BatchReader(
            session.incoming,
            self._repeats,
            options.batch_events,
            patience=options.batch_time,
            stopping=self._stopping,
        )
        return True

    def close_session(self) -> None:
        """Close the session, if there is one. Does not wait for its end."""
        session = self._session
        if session is not None:
            session.close(timeout=0.0)

    def _compare(self, position: Position) -> None:
        """Warn if the target has fewer entries than were written before: it has lost some."""
        written = self._progress.sequence
        if position.sequence < written:
            logger.warning(
                "%r: %s has lost %d entries and goes back to the position %r; events "
                "that the server still has are written again",
                self._lease.name,
                self._target.name,
                written - position.sequence,
                position.id,
            )
        elif position.id is None:
            self._warn_of_entries()
        self._progress.sequence = position.sequence

    def _warn_of_entries(self) -> None:
        """Warn if there is a stream but no position: it was deleted, or others write there."""
        with contextlib.suppress(*self._target.failures):
            if self._target.length(self._lease.name):
                logger.warning(
                    "%r holds entries, but no position is known: relaying starts after %r",
                    self._lease.name,
                    self._options.begin_after,
                )

    def _open(self, last_event_id: str) -> SSESession | None:
        """Open the stream; return None if it is no longer needed.

        A separate thread opens it, because a first attempt that hangs can't be interrupted. That
        thread then ends later, and closes its session.
        """

        def open_stream() -> None:
            try:
                session = self._open_stream(last_event_id, self)
            except Exception as error:  # noqa: BLE001  # raised by the waiting thread
                self._outcome = error
                self._is_settled.set()
                return
            with self._lock:
                is_wanted = not self._stopping.is_set()
                self._session = session
            if not is_wanted:
                session.close(timeout=0.0)
            self._outcome = session
            self._is_settled.set()

        threading.Thread(target=open_stream, name="sse-client:opening", daemon=True).start()
        try:
            self._is_settled.wait()
        except BaseException:  # such as Ctrl-C: nobody would use the session
            self.stop()
            raise
        outcome = self._outcome
        if isinstance(outcome, Exception):
            if self._stopping.is_set():
                return None
            raise outcome
        return outcome

    def _relay(self) -> End:
        patience = Patience(self._target, self._stopping, self._progress.target_fails)
        while True:
            try:
                batch = self._reader.take()
            except ChannelClosed:
                return self.end_of_stream()
            self._progress.repeated += batch.repeated
            if not batch.count:
                continue
            try:
                outcome = patience.ask(lambda: self._writer.write(batch, self._repeats))  # noqa: B023  # at once
            except Interrupted:
                return self.end()
            end = self._note(batch, outcome)
            if end is not None:
                return end

    def _note(self, batch: Batch, outcome: Outcome) -> End | None:
        if outcome is Outcome.LOST:
            self._lease.lose()
            return End.LOST
        if outcome is Outcome.MOVED:
            logger.warning(
                "%r: %s is not at the position of this relay (%d entries, last ID %r)",
                self._lease.name,
                self._target.name,
                self._writer.sequence,
                self._progress.last_event_id,
            )
            return End.MOVED
        self._progress.wrote(batch.count, self._repeats.id, self._writer.sequence)
        return None

    def end_of_stream(self) -> End:
        """Return why the channel has ended."""
        return self.end() if self._stopping.is_set() else End.STREAM_ENDED

    def end(self) -> End:
        """Return why it was stopped."""
        if self._is_unreachable:
            return End.UNREACHABLE
        return End.LOST if self._lease.lost.is_set() else End.STOPPED
