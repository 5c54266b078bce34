"""The relay of one stream in its own process: it takes the lease whenever it is free.

Threads: the relay's own (or the caller's, in ``run``), one that renews the lease, one while a
stream is being opened, and the reader of the session. All state is in ``Progress`` and in the
target. ``_lock`` guards the current ``LeasedRelay``, and is not held across any call.
"""

from __future__ import annotations

import abc
import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from sse_client.relay.failures import describe
from sse_client.relay.held_lease import HeldLease, Wait
from sse_client.relay.leased_relay import End, LeasedRelay
from sse_client.relay.lifecycle import Lifecycle
from sse_client.relay.patience import Interrupted, Patience
from sse_client.relay.progress import Progress, RelayState, RelayStatistics
from sse_client.relay.source import StreamSource, warn_of_another
from sse_client.relay.status import StatusReport

if TYPE_CHECKING:
    from sse_client.relay.keeper import Keeper
    from sse_client.relay.patience import Target
    from sse_client.relay.status import OwnFigures
    from sse_client.relay.writer import BatchWriter, WriteOptions

logger = logging.getLogger("sse_client")

L = TypeVar("L", bound=HeldLease)

#: How many times per lease time a standby looks for the lease: its holder may release it early.
_LOOKS = 3

#: How long ``close`` waits for the relay's threads, in seconds.
CLOSE_TIMEOUT = 2.0


class SingleRelay(Lifecycle, Generic[L]):
    """Relays one event stream into one stream of the target; any number of relays may run for it.

    One of them holds the lease and relays, and the others stand by.

    All methods are thread-safe. As a context manager it starts and closes itself.

    Args:
        source: The event stream.
        stream: The name of the stream in the target.
        owner: The name of this relay in leases.
        target: The target.
        keeper: Renews the lease.
        options: How entries are written.
        lease_time: The lease time in seconds.
    """

    def __init__(
        self,
        source: StreamSource,
        stream: str,
        *,
        owner: str,
        target: Target,
        keeper: Keeper[L],
        options: WriteOptions,
        lease_time: float,
    ) -> None:
        super().__init__("sse-client:relay")
        self._source = source
        self._stream = stream
        self._owner = owner
        self._target = target
        self._keeper = keeper
        self._options = options
        self._progress = Progress(target.name)
        self._report = StatusReport(stream, owner, self._progress, lease_time)
        self._lease_time = lease_time
        self._leased_relay: LeasedRelay | None = None
        self._runner: threading.Thread | None = None

    @abc.abstractmethod
    def _acquire(self) -> L | Wait:
        """Take the lease if it is free. Blocks for the target."""

    @abc.abstractmethod
    def _writer(self, lease: L) -> BatchWriter:
        """Return what writes under this lease."""

    @abc.abstractmethod
    def _failed(self) -> None:
        """Report that it has failed. Blocks for the target. A failure of that is ignored."""

    def __repr__(self) -> str:
        """Name the stream and the state."""
        return f"<{type(self).__name__} {self._stream!r} {self.state.value}>"

    @property
    def state(self) -> RelayState:
        """The current state."""
        return self._progress.state

    @property
    def owner(self) -> str:
        """Its name in leases and in the status: host, process and a random part."""
        return self._owner

    @property
    def error(self) -> Exception | None:
        """Why it failed, None if it has not."""
        return self._error

    @property
    def statistics(self) -> RelayStatistics:
        """The current figures, as a copy."""
        return self._progress.statistics()

    def figures(self) -> dict[str, OwnFigures]:
        """Return the figures of the stream by name, if it holds the lease.

        Does not ask Redis or NATS.
        """
        relay = self._leased_relay
        return {} if relay is None else {self._stream: self._report.figures(relay.waiting)}

    @property
    def trouble(self) -> str:
        """Why it can't work at the moment, ``""`` if it can."""
        if self.state is RelayState.WAITING:
            return f"{self._progress.shown_state}: {self._progress.last_error}"
        return "" if self.is_running else "not running"

    def run(self) -> None:
        """Relay on the calling thread. Blocks until the stream ends or ``close`` is called.

        Raises:
            SSEClientError: The stream has ended with this error. All events before it are written.
            RelayError: Redis or NATS refuses permanently.
            RuntimeError: It was started before.
            SessionClosedError: It belongs to the process from which this one was forked.
        """
        self._begin()
        self._run()
        if self._error is not None:
            raise self._error

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """End it: close the stream and release the lease. Idempotent, from any thread.

        Does nothing in a forked child.

        The next holder of the lease receives the events that have arrived and are not written.

        Args:
            timeout: How long to wait for its threads, in seconds. They end at once unless
                Redis or NATS hangs. If the first connection to the server hangs, its thread ends
                later: when it is opened, or after its ``timeout=``.
        """
        if not self._process.is_current:
            return
        if not self._stop():
            self._finish()
            return
        with self._lock:
            relay = self._leased_relay
        if relay is not None:
            relay.stop()
        # Not on the thread that runs it: a signal handler may have interrupted ``run``.
        if threading.current_thread() is self._runner:
            return
        if self._over.wait(timeout) and self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        self._runner = threading.current_thread()
        try:
            self._keeper.start()
            self._hold_leases()
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001  # kept for ``error`` and ``run``
            if not self._stopping.is_set():
                self._error = error
                self._progress.failed(error)
        finally:
            self._finish()

    def _finish(self) -> None:
        self._progress.move(RelayState.CLOSED if self._error is None else RelayState.FAILED)
        self._keeper.close(CLOSE_TIMEOUT)
        if self._error is not None:
            logger.error("the relay into %r failed: %s", self._stream, describe(self._error))
            self._failed()
        self._target.close()
        self._over.set()

    def _hold_leases(self) -> None:
        """Take the lease whenever it is free, and relay under it, until the stream ends."""
        patience = Patience(self._target, self._stopping, self._progress.target_fails)
        warned = ""
        while not self._stopping.is_set():
            reply = patience.ask(self._acquire)
            other = reply.source if isinstance(reply, Wait) else reply.before
            if other != warned:  # once for each of them
                warned = other
                warn_of_another(self._stream, self._source.identity, other)
            if isinstance(reply, Wait):
                self._progress.move(RelayState.STANDBY)
                self._stopping.wait(min(reply.seconds + 0.001, self._lease_time / _LOOKS))
                continue
            if self._serve(reply) is End.STREAM_ENDED:
                return

    def _serve(self, lease: L) -> End:
        """Relay under the lease, and release it."""
        self._progress.leases += 1
        relay = LeasedRelay(
            self._target,
            lease,
            self._source.open,
            self._options,
            self._progress,
            writer=self._writer(lease),
        )
        with self._lock:
            self._leased_relay = relay
        if self._stopping.is_set():
            relay.stop()
        self._keeper.keep(lease)
        try:
            end = relay.run()
        finally:
            self._keeper.drop(lease)
            lease.release()
            with self._lock:
                self._leased_relay = None
        logger.info("%r: no longer relaying: %s", self._stream, end.value)
        return end
