"""Relaying under one lease: from the position that came with it, until the lease is lost."""

from __future__ import annotations

import contextlib
import enum
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from sse_client import ChannelClosed
from sse_client.relay.connection import Interrupted, Patience, StopFlag
from sse_client.relay.status import RelayState
from sse_client.relay.writer import (
    CONNECTION_OPENED,
    BatchReader,
    Outcome,
    RepeatFilter,
    StreamWriter,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client import SSESession
    from sse_client.relay.connection import RedisServer
    from sse_client.relay.lease import Lease
    from sse_client.relay.status import Progress
    from sse_client.relay.writer import WriteOptions

    #: Opens the stream after an ID, and reports each connection and each loss to the relay.
    OpenStream = Callable[[str, "LeasedRelay"], SSESession]


class End(enum.Enum):
    """Why relaying under a lease was over."""

    STREAM_ENDED = "the stream ended"
    LOST = "the lease is somebody else's, or expired"
    MOVED = "Redis is at another position than this relay"
    STOPPED = "it was stopped"


class LeasedRelay:
    """Relays one stream as long as one lease is held. One thread runs it; any thread may stop it.

    The lock guards the session and whether it is wanted, for moments only; it is reentrant, for a
    signal handler may stop what it interrupts.
    """

    def __init__(
        self,
        server: RedisServer,
        lease: Lease,
        open_stream: OpenStream,
        options: WriteOptions,
        progress: Progress,
    ) -> None:
        self._server = server
        self._lease = lease
        self._open_stream = open_stream
        self._options = options
        self._progress = progress
        self._lock = threading.RLock()
        self._stopping = StopFlag()
        self._session: SSESession | None = None
        #: What came of opening the stream; None from ``stop``.
        self._outcomes: SimpleQueue[SSESession | Exception | None] = SimpleQueue()
        lease.on_lost = self.stop

    @property
    def waiting(self) -> int:
        """How many events have arrived and are not written yet."""
        session = self._session
        return 0 if session is None else session.incoming.qsize()

    def stop(self) -> None:
        """End it: close the session, and wait for Redis no longer. Does not wait for its thread."""
        self._stopping.set()
        self._outcomes.put(None)
        with self._lock:
            session = self._session
        if session is not None:
            session.close(timeout=0.0)

    def opened(self, session: SSESession) -> None:
        """Note in the channel that a connection was opened; on the reader's thread."""
        with contextlib.suppress(ChannelClosed):
            session.incoming.put(CONNECTION_OPENED)
        if not self._stopping.is_set():
            self._progress.move(RelayState.RELAYING)

    def disconnected(self, session: SSESession, error: Exception | None) -> None:
        """Note that the connection was lost; on the reader's thread."""
        if self._stopping.is_set():  # while the first connection was still being opened
            session.close(timeout=0.0)
            return
        self._progress.move(RelayState.CONNECTING)
        self._progress.lost(error)

    def run(self) -> End:
        """Relay until the stream or the lease ends. Blocks.

        Raises:
            SSEClientError: The stream has ended with it; what came before is written.
            RelayError: Redis refuses.
        """
        self._progress.move(RelayState.CONNECTING)
        position = self._lease.position
        # What begins behind an ID that was given has not seen the event that has set it: as if that
        # had been written.
        begun = position.id is not None
        last_event_id = (position.id or "") if begun else self._options.begin_after
        within = position.within if begun else 1
        session = self._open(last_event_id)
        if session is None:
            return self._end()
        with session:
            if self._stopping.is_set():
                return self._end()
            repeats = RepeatFilter(
                last_event_id, within, resends_unnumbered=self._options.resends_unnumbered
            )
            return self._relay(session, repeats)

    def _open(self, last_event_id: str) -> SSESession | None:
        """Open the stream; None if that is not wanted any more.

        On a thread of its own, for a first attempt that hangs can't be interrupted: then it is left
        alone, and drops what comes of it.
        """

        def open_stream() -> None:
            try:
                session = self._open_stream(last_event_id, self)
            except Exception as error:  # noqa: BLE001  # to whoever waits
                self._outcomes.put(error)
                return
            with self._lock:
                is_wanted = not self._stopping.is_set()
                self._session = session
            if not is_wanted:
                session.close(timeout=0.0)
            self._outcomes.put(session)

        threading.Thread(target=open_stream, name="sse-client:opening", daemon=True).start()
        try:
            outcome = self._outcomes.get()
        except BaseException:  # as Ctrl-C: what still opens would be nobody's
            self.stop()
            raise
        if isinstance(outcome, Exception):
            if self._stopping.is_set():
                return None
            raise outcome
        return outcome

    def _relay(self, session: SSESession, repeats: RepeatFilter) -> End:
        patience = Patience(self._server, self._stopping, self._progress.redis_fails)
        options = self._options
        writer = StreamWriter(
            self._server, self._lease, source=options.source, max_length=options.max_length
        )
        reader = BatchReader(
            session.incoming,
            repeats,
            options.batch_events,
            patience=options.batch_time,
            stopping=self._stopping,
        )
        while True:
            try:
                batch = reader.take()
            except ChannelClosed:
                return self._end() if self._stopping.is_set() else End.STREAM_ENDED
            self._progress.repeated += batch.repeated
            if not batch.count:
                continue
            try:
                outcome = patience.ask(lambda: writer.write(batch, repeats))  # noqa: B023  # at once
            except Interrupted:
                return self._end()
            if outcome is Outcome.LOST:
                self._lease.lose()
                return End.LOST
            if outcome is Outcome.MOVED:
                return End.MOVED
            self._progress.wrote(batch.count, repeats.id)

    def _end(self) -> End:
        return End.LOST if self._lease.lost.is_set() else End.STOPPED
