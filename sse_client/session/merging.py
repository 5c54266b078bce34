"""Merges several sessions into one loop, with their events in order of arrival.

This needs no additional thread, and does not poll. Each channel calls its ``_Source`` when there is
more to take, with the channel's mutex held. The source then appends a share of itself to a common
queue, one for each event and one for the end, and rings. The consumer takes the shares in order,
and for each share one event of that session. There are never fewer shares than events. There may be
more, because other consumers also take events, and events may be dropped. Such a share yields
nothing. The bounds of the channels also bound the shares.

Ctrl-C, a signal handler that raises an error, or a fork may occur between any two steps. So the
steps are ordered such that a share may be duplicated, but is never counted and then missing. A
share that was just taken out may be lost. Before the next wait, all sources whose shares were taken
since the previous wait are checked for this. So the cost of an event does not depend on the number
of sessions.
"""

from __future__ import annotations

import sys
from collections import deque
from itertools import repeat
from queue import Empty
from typing import TYPE_CHECKING, Any, Generic

from sse_client.channel.incoming import ChannelClosed
from sse_client.clock import Deadline
from sse_client.errors import CursorError, DeserializationError, SSEClientError
from sse_client.process import CLOSE_TIMEOUT, disown_if_forked
from sse_client.session.merge_bell import LockBell, MergeBell, new_merge_bell
from sse_client.session.sse_session import SSESession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import TypeVar  # which knows defaults

    from sse_client.event_stream.events import ServerSentEvent

    E_co = TypeVar("E_co", covariant=True, default=ServerSentEvent)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)


#: The errors that do not end a session.
_PASSING = (DeserializationError, CursorError)


class SessionFailedError(SSEClientError):
    """One of several merged sessions failed. Its error is chained. The others continue.

    Attributes:
        session: The session, or None after this error was pickled.
        error: Its error. After a ``DeserializationError`` or a ``CursorError`` the session also
            continues. After any other error it has ended.
    """

    def __init__(self, message: str, *, session: SSESession[Any], error: Exception) -> None:
        super().__init__(message, response=getattr(error, "response", None))
        self.session: SSESession[Any] | None = session
        self.error = error
        self.buffer = getattr(error, "buffer", b"")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the session, because a thread cannot move to another process."""
        rebuild, arguments, state = super().__reduce__()
        return rebuild, arguments, {**state, "session": None}


class _Source:
    """One of the sessions, and the number of its shares.

    Only the channel changes ``_granted``, with its mutex held. Only the consumer changes ``used``,
    before it takes an event, so that an event that arrives in between gets its own share.
    """

    # There is one per session, and each event uses it.
    __slots__ = (
        *("_backlog", "_granted", "_has_begun", "_shares", "keeps_position", "session", "used"),
        "wake",
    )

    def __init__(
        self, session: SSESession[Any], shares: deque[_Source], wake: Callable[[], object]
    ) -> None:
        self.session = session
        self.keeps_position = session.incoming.keeper is not None
        self.used = 0
        self._granted = 0
        #: Shares for the events from before the merge. They are added one by one, so that no
        #: session has to wait for the backlog of another.
        self._backlog = 0
        self._has_begun = False
        self._shares = shares
        #: Wakes the consumer.
        self.wake = wake

    def update(self, available: int) -> None:
        """Add shares up to the number of events and the end."""
        more = available - self._granted + self.used
        if more == 1 and self._has_begun:  # the usual event of a live stream
            self._shares.append(self)
            self._granted += 1
            return
        has_begun, self._has_begun = self._has_begun, True
        if more <= 0:
            return
        if has_begun:
            self._shares.extend(repeat(self, more))
        else:
            self._shares.append(self)
            self._backlog = more - 1
        self._granted += more

    def use(self) -> None:
        """Record that a share is about to be taken out."""
        self.used += 1
        if self._backlog:
            self._shares.append(self)
            self._backlog -= 1

    def give_back(self) -> None:
        """Put back a share for which no event was taken."""
        self._shares.append(self)
        self.used -= 1


class MergedSessions(Generic[E_co]):
    """The events of several sessions in one loop, as returned by ``merge``.

    Only one thread at a time may use it, except for ``close``. With a ``cursor`` it must always be
    the same thread: an event counts as processed when that thread asks for the next one of any
    session.
    """

    def __init__(self, sessions: Iterable[SSESession[E_co]]) -> None:
        self._sources: list[_Source] = []
        self._is_closed = False
        self._shares: deque[_Source] = deque()
        self._bell: MergeBell = new_merge_bell()
        self._in_hand: _Source | None = None
        #: The sources of which a share was taken since the last wait.
        self._touched: set[_Source] = set()
        #: The sources that have not ended.
        self._open: set[_Source] = set()
        sources = [_Source(session, self._shares, self._bell.ring) for session in sessions]
        watched: list[_Source] = []
        try:
            for source in sources:
                source.session.incoming.watch(source)
                watched.append(source)
        except BaseException:  # also Ctrl-C, otherwise none of them could be merged again
            _leave(watched)
            raise
        self._sources = sources
        self._open.update(sources)

    def __iter__(self) -> MergedSessions[E_co]:
        """Return itself."""
        return self

    def __next__(self) -> tuple[SSESession[E_co], E_co]:
        """Wait for the next event of any session. Stop when all have ended.

        Raises:
            SessionFailedError: One of them failed. The next call continues with the others.
        """
        if self._in_hand is not None:
            self._finish(self._in_hand)
        shares = self._shares
        while shares or self._wait_for_shares():
            source = shares[0]
            self._touched.add(source)
            source.use()
            shares.popleft()
            if source not in self._open:
                continue
            if source.keeps_position:
                self._in_hand = source
            try:
                return source.session, source.session.incoming.get(False)  # as for any queue
            except Empty:
                continue
            except ChannelClosed:
                self._open.discard(source)
            except Exception as error:
                if error is source.session.error or not isinstance(error, _PASSING):
                    self._open.discard(source)
                elif isinstance(error, CursorError):  # no event was taken
                    source.give_back()
                raise _failure(source, error) from error
            except BaseException:  # Ctrl-C: the event may still be there
                source.give_back()
                raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Close all sessions, and end the loop. Thread-safe. Blocks as ``HttpClient.close`` does.

        Can be called any number of times.
        """
        deadline = Deadline.after(CLOSE_TIMEOUT)
        for source in self._sources:
            source.session.close(0.0)
        for source in reversed(self._sources):  # as in ``stop_all``
            source.session.wait_until_closed(deadline.seconds_left())
        _leave(self._sources)
        self._bell = LockBell()  # frees any descriptor; nothing waits any longer
        self._is_closed = True

    def __enter__(self) -> MergedSessions[E_co]:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all sessions."""
        self.close()

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        """Close all sessions without waiting, because the loop was left."""
        if self._is_closed or is_exiting():
            return  # at the exit all have been stopped, and gevent's locks cannot be used
        for source in self._sources:
            source.session.close(0.0)
        _leave(self._sources)

    def _finish(self, source: _Source) -> None:
        """Finish the current event, because the next may belong to another session."""
        self._in_hand = None
        keeper = source.session.incoming.keeper
        assert keeper is not None, "the source keeps a position"
        disown_if_forked()  # a child must not save the position of its parent
        try:
            keeper.finish_and_save()
        except CursorError as error:
            raise _failure(source, error) from error

    def _wait_for_shares(self) -> bool:
        """Wait for the next share. Return False when all sessions have ended."""
        while not self._shares:
            for source in self._touched & self._open:
                if source.session.incoming.available():
                    source.give_back()  # its share was lost
            self._touched.clear()
            if not self._shares:
                if not self._open:
                    return False
                disown_if_forked()
                self._bell.wait_unless(self._shares)
        return True


def _leave(sources: Iterable[_Source]) -> None:
    for source in sources:
        source.session.incoming.watch(None)
        source.wake = _wake_nobody


def _wake_nobody() -> None:
    """Replace the bell, which may have a descriptor, after the merge has ended."""


def _failure(source: _Source, error: Exception) -> SessionFailedError:
    message = f"{source.session!r} failed with {type(error).__name__}"
    return SessionFailedError(message, session=source.session, error=error)


def merge(sessions: Iterable[SSESession[E_co]]) -> MergedSessions[E_co]:
    """Follow several streams in one loop. Each step blocks for the next event of any of them.

    It yields pairs of a session and its event, in order of arrival. Events that arrived before the
    merge are taken from the sessions in turn. The loop ends when all sessions have ended. No
    session starves: an event waits only for those that arrived before it, whose number each
    ``capacity`` limits.

    Leaving the loop closes all sessions. After ``break`` or an exception this happens without
    waiting for their threads, as soon as nothing references the returned object. A ``with`` block
    and ``close()`` wait.

    If a session fails, ``SessionFailedError``, which names it, is raised. Calling ``next()`` again
    continues with the others. So keep the returned object if a session may fail.

    Example:
        >>> with merge([first, second]) as merged:  # doctest: +SKIP
        ...     for session, event in merged:
        ...         print(session, event.data)

    Args:
        sessions: Sessions, which may have ended already. Each can be in one merge at a time.

    Raises:
        TypeError: One of them is not a session.
        ValueError: One of them is listed twice, or is already merged.
    """
    given: list[SSESession[E_co]] = list(sessions)
    seen: set[int] = set()
    for session in given:
        if not isinstance(session, SSESession):
            raise TypeError(f"sessions must contain SSESessions, not {type(session).__name__}")
        if id(session.incoming) in seen:
            raise ValueError(f"sessions must not contain a session twice: {session!r}")
        seen.add(id(session.incoming))
    return MergedSessions(given)
