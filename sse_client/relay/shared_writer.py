"""Writing for many streams on one thread and one connection to Redis.

A thread per stream would be woken for each event. Here one thread looks at all channels every few
milliseconds, takes the events that have arrived, and sends the batches of all streams in one round
trip. Each batch is a separate script call, so it is written, refused and repeated separately.

Threads: one daemon thread; in a cluster one for each master, so that a master that is down delays
only its own streams. ``_lock`` guards the set of jobs, or of writers, and is only held briefly.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sse_client import ChannelClosed
from sse_client.relay import patience
from sse_client.relay.connection import text_of
from sse_client.relay.failures import describe, refused
from sse_client.relay.leased_relay import End
from sse_client.relay.scripts import RELEASE, WRITE
from sse_client.relay.writer import BATCH_BYTES, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.relay.connection import RedisServer
    from sse_client.relay.shared_relay import SharedRelay
    from sse_client.relay.writer import Batch

logger = logging.getLogger("sse_client")

#: How long the thread pauses between two looks at the channels, in seconds: this time per stream,
#: within these limits. An event waits for this long at most, and many events share a round trip.
_PAUSE_PER_STREAM = 20e-6
_SHORTEST_PAUSE = 0.002
_LONGEST_PAUSE = 0.02

#: The approximate size of one round trip in bytes. Redis does other work between its batches.
_ROUND_BYTES = 4 * BATCH_BYTES


@dataclass(eq=False)
class _Job:
    """A stream for which the thread writes."""

    relay: SharedRelay
    finish: Callable[[End | Exception], object]
    batch: Batch | None = None
    retry_at: float = 0.0
    delay: float = field(default_factory=lambda: patience.FIRST_DELAY)
    is_failing: bool = False


class SharedWriters:
    """The writers of a process: one, or in a cluster one per master. Thread-safe.

    Args:
        server: The Redis.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._writers: dict[str, SharedWriter] = {}
        self._is_closing = False

    def of(self, stream: str) -> SharedWriter:
        """Return the writer for a stream. If its slot moves later, it keeps this writer."""
        try:
            (master,) = self._server.by_master([stream])
        except self._server.failures:  # no node is reachable
            master = ""
        with self._lock:
            writer = self._writers.get(master)
            if writer is None:
                writer = self._writers[master] = SharedWriter(self._server)
                if self._is_closing:
                    writer.close(0.0)
            return writer

    def close(self, timeout: float) -> None:
        """End the threads once all relays have ended; wait for ``timeout`` seconds at most."""
        with self._lock:
            self._is_closing = True
            writers = list(self._writers.values())
        deadline = time.monotonic() + timeout
        for writer in writers:
            writer.close(max(0.0, deadline - time.monotonic()))


class SharedWriter:
    """Writes for any number of streams. Thread-safe; ``close`` ends its thread.

    Args:
        server: The Redis.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._jobs: set[_Job] = set()
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def add(self, relay: SharedRelay, finish: Callable[[End | Exception], object]) -> None:
        """Write for an open stream until it ends, and then release its lease.

        Args:
            relay: The relay of the stream, which is prepared.
            finish: Called with the reason of the end, on the thread that writes.
        """
        with self._lock:
            is_closing = self._is_closing
            if not is_closing:
                self._jobs.add(_Job(relay, finish))
                if self._thread is None:
                    # Daemon: Redis may hang when the interpreter exits.
                    self._thread = threading.Thread(
                        target=self._run, name="sse-client:writing", daemon=True
                    )
                    self._thread.start()
        if is_closing:
            self._finish([(_Job(relay, finish), End.STOPPED)])
        self._wake.set()

    def close(self, timeout: float) -> None:
        """End the thread once all relays have ended; wait for ``timeout`` seconds at most."""
        with self._lock:
            self._is_closing = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                jobs = list(self._jobs)
                if not jobs and self._is_closing:
                    return
            is_full = self._round(jobs)
            pause = min(max(_SHORTEST_PAUSE, _PAUSE_PER_STREAM * len(jobs)), _LONGEST_PAUSE)
            if not is_full:
                self._wake.wait(pause if jobs else None)
                self._wake.clear()

    def _round(self, jobs: list[_Job]) -> bool:
        """Write the events that have arrived; return whether more may be waiting."""
        now, size, is_full = time.monotonic(), 0, False
        random.shuffle(jobs)  # so that not always the same streams are left out
        due: list[_Job] = []
        ended: list[tuple[_Job, End | Exception]] = []
        for job in jobs:
            if job.relay.is_stopping:
                ended.append((job, job.relay.end()))
                continue
            if job.batch is None:
                if size > _ROUND_BYTES:
                    is_full = True
                    continue
                try:
                    job.batch = job.relay.take(now)
                except ChannelClosed:
                    # It may have been stopped since the check above.
                    ended.append((job, job.relay.end_of_stream()))
                    continue
                except Exception as error:  # noqa: BLE001  # passed to ``finish``
                    ended.append((job, error))
                    continue
            if job.batch is not None and job.retry_at <= now:
                size += job.batch.size
                is_full = is_full or job.batch.is_full
                due.append(job)
        if due:
            ended += self._write(due)
        if ended:
            self._finish(ended)
        return is_full

    def _write(self, due: list[_Job]) -> list[tuple[_Job, End | Exception]]:
        """Send batches in one round trip; return the relays that have ended with them."""
        calls = [job.relay.call(job.batch) for job in due if job.batch is not None]
        try:
            replies = self._server.execute_all(self._server.commands_of(WRITE, calls))
        except self._server.failures as error:
            replies = [error] * len(due)
        ended: list[tuple[_Job, End | Exception]] = []
        for job, call, reply in zip(due, calls, replies, strict=True):
            if self._server.is_unknown_script(reply):
                try:
                    reply = self._server.run(WRITE, *call)  # noqa: PLW2901  # the final reply
                except self._server.failures as error:
                    reply = error  # noqa: PLW2901  # as above
            end = self._note(job, reply)
            if end is not None:
                ended.append((job, end))
        return ended

    def _note(self, job: _Job, reply: object) -> End | Exception | None:
        """Note the reply to a batch; return why the relay ends, if it does."""
        if isinstance(reply, Exception):
            if not self._server.passes(reply):
                return refused(reply, self._server.name)
            self._server.outage.fails(job, describe(reply))
            job.relay.target_fails(reply)
            job.is_failing = True
            job.retry_at = time.monotonic() + job.delay * random.uniform(0.5, 1.0)  # noqa: S311
            job.delay = min(2 * job.delay, patience.LONGEST_DELAY)
            return None
        self._server.outage.replies(job)
        if job.is_failing:
            job.relay.target_fails(None)
            job.is_failing, job.delay = False, patience.FIRST_DELAY
        batch, job.batch = job.batch, None
        assert batch is not None
        return job.relay.wrote(batch, Outcome(text_of(reply)))

    def _finish(self, ended: list[tuple[_Job, End | Exception]]) -> None:
        """Release all leases in one round trip, and report each end."""
        with self._lock:
            self._jobs -= {job for job, _ in ended}
        leases = [job.relay.lease for job, _ in ended]
        try:
            self._server.execute_all(
                [["EVAL", RELEASE.text, 1, lease.key, lease.text] for lease in leases]
            )
        except self._server.failures as error:
            logger.info("leases could not be released, and will expire: %s", describe(error))
        for job, end in ended:
            self._server.outage.gives_up(job)
            job.relay.target_fails(None)
            job.relay.close_session()
            job.finish(end)
