"""Relaying under one lease, with a ``SharedWriter`` that writes for many streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sse_client.relay.leased_relay import LeasedRelay

if TYPE_CHECKING:
    from sse_client.relay.lease import Lease
    from sse_client.relay.leased_relay import End, OpenStream
    from sse_client.relay.patience import Target
    from sse_client.relay.progress import Progress
    from sse_client.relay.writer import Batch, Outcome, StreamWriter, WriteOptions


class SharedRelay(LeasedRelay):
    """A relay under a lease in Redis.

    Either one thread calls ``run``. Or ``prepare`` opens the stream, and then a ``SharedWriter``
    calls the other methods.
    """

    def __init__(
        self,
        target: Target,
        lease: Lease,
        open_stream: OpenStream,
        options: WriteOptions,
        progress: Progress,
        *,
        writer: StreamWriter,
        attempts: int,
    ) -> None:
        super().__init__(
            target, lease, open_stream, options, progress, writer=writer, attempts=attempts
        )
        #: The lease.
        self.lease = lease
        self._script = writer

    def take(self, now: float) -> Batch | None:
        """Return the next batch, or None if there is nothing to write; see ``BatchReader``."""
        batch = self._reader.take_waiting(now)
        if batch is None:
            return None
        self._progress.repeated += batch.repeated
        return batch if batch.count else None

    def call(self, batch: Batch) -> tuple[list[str], list[Any]]:
        """Return the keys and arguments of the script that writes the batch taken last."""
        return self._script.call(batch, self._repeats)

    def target_fails(self, error: Exception | None) -> None:
        """Note a temporary failure of Redis, or with None that it is over."""
        self._progress.target_fails(error)

    def wrote(self, batch: Batch, outcome: Outcome) -> End | None:
        """Note the outcome of the batch taken last; return why relaying ends, if it does."""
        self._script.note(batch, outcome)
        return self._note(batch, outcome)
