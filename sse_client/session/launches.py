"""Decides which stream gets a thread next, and when.

When a server restarts, all of its streams reconnect. A thread that waits for the interpreter's lock
wakes up every 5 ms to request it. With thousands of such threads, these requests take most of the
processor time: 2,000 streams need 49 s to reconnect with a thread for each, but 8 s in turns. So
only a few threads work at a time. Each gives up its place after its attempt.

An attempt takes long if the host does not respond. So a thread starts every 10 ms even if no place
is free. The hosts take turns, so one with thousands of streams does not delay the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

    from sse_client.session.shared_stream import ParkedStream, SharedStream

#: The number of threads that work at a time. From 4 to 64, 2,000 streams took equally long.
PLACES = 32

#: The time after which another thread starts if no place is free, in seconds.
INTERVAL = 0.01

#: The time until the next try after no thread could be started, in seconds.
RETRY_TIME = 0.1


class Launches:
    """The streams that wait for a thread, by host, and the number of threads that work.

    For the shared thread, except ``done``.

    Args:
        lock: Guards the number of threads.

    Attributes:
        waiting: The streams that wait, by host. The first stream of the first host is next.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._working = 0
        self.waiting: dict[str, dict[SharedStream | ParkedStream, None]] = {}
        self._next_extra = 0.0
        self._next_try = 0.0

    @property
    def due(self) -> float | None:
        """The moment, on the clock's ``monotonic``, of the next start. None if no stream waits."""
        if not self.waiting:
            return None
        return self._next_try if self._working < PLACES else max(self._next_try, self._next_extra)

    def add(self, stream: SharedStream | ParkedStream) -> None:
        """Let a stream wait for a thread."""
        self.waiting.setdefault(stream.owner.name, {})[stream] = None

    def discard(self, stream: SharedStream | ParkedStream) -> None:
        """Remove a stream that waits."""
        streams = self.waiting[stream.owner.name]
        del streams[stream]
        if not streams:
            del self.waiting[stream.owner.name]

    def take(self, now: float) -> SharedStream | ParkedStream | None:
        """Return the stream that gets a thread now, or None."""
        due = self.due
        if due is None or now < due:
            return None
        host, streams = next(iter(self.waiting.items()))
        stream = next(iter(streams))
        self.discard(stream)
        if streams:
            self.waiting[host] = self.waiting.pop(host)  # after the other hosts
        self._next_extra = now + INTERVAL
        with self._lock:
            self._working += 1
        return stream

    def put_back(self, stream: SharedStream | ParkedStream, now: float) -> None:
        """Let a stream wait again after no thread could be started for it."""
        self.add(stream)
        self._next_try = now + RETRY_TIME
        self.done()

    def done(self) -> None:
        """Free the place of a thread after its attempt. For any thread."""
        with self._lock:
            self._working -= 1
