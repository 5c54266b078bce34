"""Many streams in one loop: the events of several sessions, in the order in which they arrive.

No thread is added, and nothing is polled. Each channel tells its ``_Source`` when there is more to
be had, with the channel's mutex held; the source then puts a share of itself into one queue for
each event, and one for the end, and rings. Whoever iterates takes the shares in their order, and
for each of them one event of that session. There are never fewer shares than events. There may be
more, since other consumers take events, too, and events are dropped; such a share gives nothing.
Shares are bounded by what the channels hold.

Ctrl-C, a signal handler that raises, or a fork may come between any two steps. So the steps are in
an order in which a share is rather there twice than counted and gone; and the one that was taken
out just then is missed before each wait, by a look at the channels themselves.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from queue import Empty
from typing import TYPE_CHECKING, Any, Generic

from sse_client.channel.incoming import ChannelClosed
from sse_client.clock import Deadline, Doorbell
from sse_client.errors import CursorError, DeserializationError, SSEClientError
from sse_client.process import CLOSE_TIMEOUT
from sse_client.session.sse_session import SSESession

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import TypeVar  # which knows defaults

    from sse_client.event_stream.events import ServerSentEvent

    E_co = TypeVar("E_co", covariant=True, default=ServerSentEvent)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)


#: What does not end a session.
_PASSING = (DeserializationError, CursorError)


class SessionFailedError(SSEClientError):
    """One of several merged sessions failed; what it failed with is chained. The others go on.

    Attributes:
        session: The session, None once this error has travelled to another process.
        error: What it failed with. After a ``DeserializationError`` or a ``CursorError`` the
            session goes on, too; after any other it has ended.
    """

    def __init__(self, message: str, *, session: SSESession[Any], error: Exception) -> None:
        super().__init__(message, response=getattr(error, "response", None))
        self.session: SSESession[Any] | None = session
        self.error = error
        self.buffer = getattr(error, "buffer", b"")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the session: a thread can't travel to another process."""
        rebuild, arguments, state = super().__reduce__()
        return rebuild, arguments, {**state, "session": None}


class _Source:
    """One of the sessions, and how many of its shares there are.

    ``granted`` is changed by the channel's side alone, under its mutex, and ``used`` by the
    consumer alone, before it takes an event: so one that comes in between has a share of its own.
    """

    def __init__(
        self, session: SSESession[Any], shares: deque[_Source], doorbell: Doorbell
    ) -> None:
        self.session = session
        self.has_ended = False
        self.used = 0
        self._granted = 0
        #: Shares for what was there before the merge: put in one by one, so that none of the
        #: sessions has to wait for the backlog of another.
        self._backlog = 0
        self._has_begun = False
        self._shares = shares
        self._doorbell = doorbell

    def told(self, count: int) -> None:
        """Hear how much there is to be had."""
        more = due = count - (self._granted - self.used)
        if not self._has_begun:
            self._has_begun = True
            due = min(more, 1)
            self._backlog = more - due
        if more > 0:
            self._shares.extend(repeat(self, due))
            self._granted += more
            self._doorbell.ring()

    def is_ready(self) -> bool:
        """Return whether there is an event or the end to be had, with a share or without."""
        return self.session.incoming.available() > 0

    def use(self) -> None:
        """Take note that a share is about to be taken out."""
        self.used += 1
        if self._backlog:
            self._shares.append(self)
            self._backlog -= 1

    def give_back(self) -> None:
        """Put a share in again that was taken in vain."""
        self._shares.append(self)
        self.used -= 1


class MergedSessions(Generic[E_co]):
    """The events of several sessions in one loop; comes from ``merge``.

    For one thread at a time, but for ``close``. With a ``cursor`` always for the same thread: an
    event is processed when that thread comes back for the next one, of whichever session.
    """

    def __init__(self, sessions: Iterable[SSESession[E_co]]) -> None:
        self._sources: list[_Source] = []
        self._shares: deque[_Source] = deque()
        self._doorbell = Doorbell()
        self._in_hand: _Source | None = None
        sources = [_Source(session, self._shares, self._doorbell) for session in sessions]
        watched: list[_Source] = []
        try:
            for source in sources:
                source.session.incoming.watch(source.told)
                watched.append(source)
        except BaseException:  # Ctrl-C, too: else none of them could be merged again
            _leave(watched)
            raise
        self._sources = sources

    def __iter__(self) -> MergedSessions[E_co]:
        """Return itself."""
        return self

    def __next__(self) -> tuple[SSESession[E_co], E_co]:
        """Wait for the next event of any session; stop when all have ended.

        Raises:
            SessionFailedError: One of them failed. The next call goes on with the others.
        """
        self._come_back()
        while (source := self._next_share()) is not None:
            if source.has_ended:
                continue
            self._in_hand = source
            try:
                return source.session, source.session.incoming.get_nowait()
            except Empty:
                continue
            except ChannelClosed:
                source.has_ended = True
            except Exception as error:
                if error is source.session.error or not isinstance(error, _PASSING):
                    source.has_ended = True
                elif isinstance(error, CursorError):  # there, no event was taken
                    source.give_back()
                raise _failure(source, error) from error
            except BaseException:  # Ctrl-C: the event may be there still
                source.give_back()
                raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Close all the sessions, and end the loop. Thread-safe; blocks for a second at most.

        Can be called any number of times.
        """
        deadline = Deadline.after(CLOSE_TIMEOUT)
        for source in self._sources:
            source.session.close(0.0)
        for source in self._sources:
            source.session.close(deadline.seconds_left())
        _leave(self._sources)

    def __enter__(self) -> MergedSessions[E_co]:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all the sessions."""
        self.close()

    def __del__(self) -> None:
        """Close all the sessions, without waiting: a loop was left."""
        for source in self._sources:
            source.session.close(0.0)
        _leave(self._sources)

    def _come_back(self) -> None:
        """Say that the event in hand has been processed: the next may be another session's."""
        source, self._in_hand = self._in_hand, None
        if source is not None and source.session.incoming.keeper is not None:
            try:
                source.session.incoming.keeper.come_back()
            except CursorError as error:
                raise _failure(source, error) from error

    def _next_share(self) -> _Source | None:
        """Wait for the next share; return None when all sessions have ended."""
        while True:
            try:
                source = self._shares[0]
            except IndexError:
                left = [source for source in self._sources if not source.has_ended]
                if not left:
                    return None
                for source in left:
                    if source.is_ready():
                        return source  # its share was lost
                self._doorbell.wait()
            else:
                source.use()
                self._shares.popleft()
                return source


def _leave(sources: Iterable[_Source]) -> None:
    for source in sources:
        source.session.incoming.watch(None)


def _failure(source: _Source, error: Exception) -> SessionFailedError:
    message = f"{source.session!r} failed with {type(error).__name__}"
    return SessionFailedError(message, session=source.session, error=error)


def merge(sessions: Iterable[SSESession[E_co]]) -> MergedSessions[E_co]:
    """Follow several streams in one loop. Each step blocks for the next event of any of them.

    Gives pairs of the session and its event, in the order in which the events arrive; what waited
    before the merge comes in turns. It ends when all the sessions have ended. No session starves:
    ahead of an event is only what arrived before it, and that is bounded by each ``capacity``.

    Leaving the loop closes all the sessions: by ``break`` or an exception as soon as nobody holds
    what this returned, without waiting for their threads; a ``with`` block and ``close()`` wait.

    A session that fails raises ``SessionFailedError``, which names it. Calling ``next()`` again
    goes on with the others; so hold what this returns, where one may fail.

    Example:
        >>> with merge([first, second]) as merged:  # doctest: +SKIP
        ...     for session, event in merged:
        ...         print(session, event.data)

    Args:
        sessions: Sessions, which may have ended already. Each can be merged once at a time.

    Raises:
        TypeError: One of them is no session.
        ValueError: One is there twice, or is merged already.
    """
    given: list[SSESession[E_co]] = list(sessions)
    seen: set[int] = set()
    for session in given:
        if not isinstance(session, SSESession):
            raise TypeError(f"sessions must hold SSESessions, not {type(session).__name__}")
        if id(session.incoming) in seen:
            raise ValueError(f"sessions must not hold a session twice: {session!r}")
        seen.add(id(session.incoming))
    return MergedSessions(given)
