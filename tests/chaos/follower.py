"""One consumer of one stream, which checks each event, each delay and each closing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from child import PATIENCE
from numbered import data_of, last_retry, retry_of

from sse_client import (
    SSE,
    HttpClient,
    SessionClosedError,
    SSEClientError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client import ServerSentEvent, SSESession

#: The options of the streams, in seconds. They are tiny, so that many faults fit into a minute.
RECONNECTION_TIME = 0.02
READ_TIMEOUT = 0.3
EVENT_TIMEOUT = 0.6
MAX_RECONNECTION_TIME = 0.1

#: Fewer events than in a burst and a backlog, so that backpressure reaches the server.
CAPACITY = 16

#: The inaccuracy of a clock, in seconds.
_TICK = 0.001


class Follower:
    """Follows a stream with its own thread, over any number of sessions.

    Args:
        stream: The name of the stream.
        url: The address.
        verify: As in requests.
        complain: Called with each problem, on any thread.
    """

    def __init__(
        self, stream: str, url: str, verify: bool | str, complain: Callable[[str], object]
    ) -> None:
        self.stream = stream
        self._url = url
        self._verify = verify
        self._complain = complain
        self._changed = threading.Condition()  # guards position and what is open
        self.position = 0
        #: Set while something other than the session decides when to connect.
        self.is_excused = False
        self.counts: Counter[str] = Counter()
        self.longest_close = 0.0
        #: The errors with which a session may end during a permanent fault.
        self.may_end_with: type[Exception] | None = None
        self._sessions = 0
        self._began_at = 0
        self._closing = False
        self._stopping = False
        self._has_failed = False
        self._client: HttpClient | None = None
        self._session: SSESession | None = None
        self._unpaused = threading.Event()
        self._unpaused.set()
        self._next_due = 0.0
        self._thread = threading.Thread(target=self._run, name=f"follower:{stream}")

    # For the thread that injects faults.

    def start(self) -> None:
        self._thread.start()

    @property
    def next_due(self) -> float:
        """The time of the next attempt that a session has announced."""
        return self._next_due

    def attempted(self) -> None:
        """Check that an attempt is not too early. Called by the resolver."""
        early = self._next_due - time.monotonic()
        if early > _TICK and not self.is_excused:
            self._complain(f"stream {self.stream}: an attempt {early:.3f} s too early")

    def wait_for(self, number: int) -> float:
        """Wait until the event of this number has been processed, and return the time."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_failed or self.position >= number, PATIENCE)
            if self.position < number:
                state = None if self._session is None else self._session.state
                raise TimeoutError(f"it hangs at {self.position}, before {number}: {state}")
            return time.monotonic()

    def pause(self) -> None:
        """Stop the consumer from taking events."""
        self._unpaused.clear()

    def go_on(self) -> None:
        """Let the consumer take events again."""
        self._unpaused.set()

    def reconnect(self) -> None:
        """Let the session reconnect now."""
        with self._changed:
            session = self._session
        if session is not None:
            session.reconnect()

    def close(self, *, whole_client: bool) -> None:
        """Close the session or the client, and check the duration. Another session follows."""
        with self._changed:
            client, session = self._client, self._session
            self._closing = True
            if session is None or whole_client:
                self._client = session = None
        began = time.monotonic()
        if session is not None:
            session.close()
        elif client is not None:
            client.close()
        took = time.monotonic() - began
        self.longest_close = max(self.longest_close, took)
        if took > 1.0 + _TICK:
            self._complain(f"stream {self.stream}: closing took {took:.2f} s")
        self._unpaused.set()

    def join(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._complain(f"stream {self.stream}: it never ended")

    def stop(self) -> None:
        """Stop following, in any state."""
        self._stopping = True
        self.close(whole_client=True)
        self.join()

    # Its own thread.

    def _run(self) -> None:
        try:
            while not self._follow_with_client() and not self._stopping:
                pass
        except BaseException as error:
            self._complain(f"stream {self.stream}: {type(error).__name__}: {error}")
            with self._changed:
                self._has_failed = True
                self._changed.notify_all()

    def _follow_with_client(self) -> bool:
        """Follow with one client until it is closed. Return whether the stream has ended."""
        with HttpClient() as client:
            client.install(
                SSE,
                reconnection_time=RECONNECTION_TIME,
                max_reconnection_time=MAX_RECONNECTION_TIME,
                reconnection_jitter=0.0,
                retry_first_connection=True,
                event_timeout=EVENT_TIMEOUT,
                capacity=CAPACITY,
                on_disconnect=self._judge_delay,
            )
            with self._changed:
                self._client = client
            while True:
                is_closed, is_over = self._follow_session(client)
                if is_closed or is_over:
                    return is_over

    def _follow_session(self, client: HttpClient) -> tuple[bool, bool]:
        """Follow one session. Return whether the client was closed, and if the stream is over."""
        with self._changed:
            self._closing = False
            self._next_due = 0.0
            self._sessions += 1
            self._began_at = self.position
            start = str(self.position) if self.position else ""
        self.counts["sessions"] += 1
        session: SSESession | None = None
        try:
            session = client.sse(
                self._url,
                headers={"X-Session": str(self._sessions)},
                last_event_id=start,
                verify=self._verify,
                timeout=(READ_TIMEOUT, READ_TIMEOUT),
                own_thread=self._sessions % 2 == 0,  # both drivers of streams, in turn
            )
            with session:
                with self._changed:
                    self._session = session
                for event in session.incoming:
                    self._judge(event)
                    self._unpaused.wait(PATIENCE)
        except SessionClosedError:
            if self._client is client:
                raise
            return True, False
        except SSEClientError as error:
            if self.may_end_with is None or not isinstance(error, self.may_end_with):
                raise
            return False, False
        finally:
            with self._changed:
                self._session = None
            self._count(session)
        return False, not self._closing

    def _count(self, session: SSESession | None) -> None:
        if session is not None:
            self.counts["attempts"] += session.statistics.attempts
            self.counts["connections"] += session.statistics.connections
            self.counts["bytes"] += session.statistics.bytes

    def _judge(self, event: ServerSentEvent) -> None:
        """Compare the event with the expected one."""
        number = int(event.id)
        with self._changed:
            expected = self.position + 1
            self.position = max(self.position, number)
            self.counts["delivered"] += 1
            self._changed.notify_all()
        if number < expected:
            self.counts["doubled"] += 1
            self._complain(f"stream {self.stream}: {number} was repeated, {expected} was expected")
        elif number > expected:
            self.counts["lost"] += number - expected
            self._complain(f"stream {self.stream}: {expected} to {number - 1} never arrived")
        if (event.data, event.retry) != (data_of(number), retry_of(number)):
            self._complain(f"stream {self.stream}: {number} has changed: {event!r:.300}")

    def _judge_delay(
        self, session: SSESession, error: Exception | None, delay: float | None
    ) -> None:
        """Compare the announced wait with the required one. On the reader thread."""
        self.counts["losses"] += 1
        if delay is None:
            return
        asked = self._asked_for(int(session.last_event_id or 0))
        if isinstance(error, UnexpectedStatusError) and error.retry_after is not None:
            asked = max(asked, error.retry_after)
        if delay < asked - _TICK:
            self._complain(f"stream {self.stream}: a wait of {delay} s instead of {asked} s")
        if not self._closing:
            self._next_due = time.monotonic() + delay

    def _asked_for(self, received: int) -> float:
        """The minimum of the current reconnection time, in seconds."""
        asked = last_retry(self._began_at, received)
        seconds = RECONNECTION_TIME if asked is None else asked / 1000
        # The ``retry`` line of the event after the last one may have arrived, or not.
        coming = retry_of(received + 1)
        return seconds if coming is None else min(seconds, coming / 1000)


#: The error of a session after each kind of fault that ends it.
FINAL_ERRORS: dict[str, type[Exception]] = {"wrong type": UnexpectedContentTypeError}
