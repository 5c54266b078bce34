"""Saves the position up to which a session's consumers have processed it, in the user's cursor.

There are two locks. ``_saving`` is never acquired while ``_lock`` is held:

* ``_lock`` guards the progress, and is held only briefly. The channel calls ``hand_out`` with its
  mutex held, so nothing here calls the channel.
* ``_saving`` is held by the one thread that calls the cursor. That is a consumer that asks for its
  next event, or a thread that acknowledges. The reader thread never waits for a disk. Other threads
  wait in the meantime, and usually find that their position was saved along with another.

A thread that ends the session does not wait for the cursor, which may block for any time. A thread
that is saving checks for the end when it is done, and then closes the cursor. If no thread is
saving, a daemon thread makes the last save, if one is due, and closes the cursor. A cursor whose
``close`` only unlocks a file needs no such thread.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Literal

from sse_client.cursors import claims
from sse_client.cursors.file import CursorStore, LockedCursor, Saved
from sse_client.cursors.progress import HandedOut, Progress
from sse_client.errors import CursorError, SessionClosedError
from sse_client.process import disown_if_forked, disown_in_child, is_ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sse_client.event_stream.events import ServerSentEvent

logger = logging.getLogger("sse_client")


class Phase(enum.IntEnum):
    """The phases of a session as far as its position is concerned. It only moves down this list."""

    FOLLOWING = 0
    #: No more events will be handed out. Earlier ones may still be acknowledged.
    DRAINED = 1
    #: The session was closed. As before, but the cursor is given back at once.
    CLOSED = 2
    #: This is the copy in a forked child, and the cursor belongs to the parent.
    DISOWNED = 3


class PositionKeeper:
    """Saves the position up to which a session's events have been processed. Thread-safe.

    Args:
        cursor: Stores the position.
        auto_acknowledge: Whether an event counts as processed when its consumer asks for the next.
        log_fields: The ``extra`` of the log records.
    """

    def __init__(
        self,
        cursor: CursorStore,
        *,
        auto_acknowledge: bool = True,
        log_fields: Mapping[str, object] | None = None,
    ) -> None:
        self._cursor = cursor
        self._log_fields = log_fields
        #: Whether closing the cursor only unlocks a file, which does not block.
        self._closes_at_once = getattr(type(cursor), "close", None) is LockedCursor.close
        self._auto_acknowledge = auto_acknowledge
        #: The events that each thread is processing. The class is looked up here, because a
        #: greenlet library may replace it after this module is imported.
        self._of_thread = threading.local()
        #: The same for each asyncio task.
        self._of_task: weakref.WeakKeyDictionary[object, list[HandedOut]] = (
            weakref.WeakKeyDictionary()
        )
        self._phase = Phase.FOLLOWING
        self._default = ""
        self._progress = Progress("")
        #: The ID after which a new process would begin.
        self._saved: str | Literal[Saved.UNKNOWN] = ""
        self._is_last_save_due = False
        self._make_locks()

    def _make_locks(self) -> None:
        self._lock = threading.RLock()  # reentrant, because a signal handler may acknowledge
        self._saving = threading.Lock()
        self._saver = 0
        #: Not set while the cursor is in use.
        self._given_back = threading.Event()
        self._given_back.set()
        #: Makes the last save and gives the cursor back, so that a closing thread need not wait.
        self._closer: threading.Thread | None = None
        self._lacks_closer = False  # whether the closer could not be started

    def load(self, default: str) -> str:
        """Return the ID after which the stream begins. Blocks for the cursor.

        Args:
            default: The ID to begin after if none was ever saved.

        Raises:
            CursorError: The position cannot be read, or is in use.
            ValueError: Another session of this process uses the same cursor.
        """
        disown_in_child(self)
        if not claims.take(self._cursor, self):
            raise ValueError("cursor is in use by another session: give each session its own")
        with self._saving:
            self._default = default
            start = self._load()
        with self._lock:
            self._progress = Progress(start)
            self._saved = start
        self._give_back_if_over()  # the session may have been closed in the meantime
        return start

    # For the channel.

    def finish_and_save(self) -> None:
        """Finish the calling thread's events before it takes the next. Blocks for a save if due.

        Raises:
            CursorError: The save failed. The next call tries again, unless the session is closed.
        """
        if self.finish_in_hand():
            self.save()

    def finish_in_hand(self, task: object = None) -> bool:
        """Finish the events of a task, or of the calling thread. Never blocks.

        Returns:
            Whether ``save`` must be called before the next event is taken.
        """
        if self._phase is Phase.DISOWNED:
            return False
        is_new = False
        with self._lock:
            in_hand = self._in_hand_of(task)
            while in_hand:
                is_new = self._progress.finish(in_hand.pop()) or is_new
        return is_new or self._phase is not Phase.CLOSED

    def _in_hand_of(self, task: object) -> list[HandedOut]:
        """Return the events that a task or the calling thread is processing. Requires the lock."""
        if task is not None:
            return self._of_task.setdefault(task, [])
        try:
            in_hand: list[HandedOut] = self._of_thread.links
        except AttributeError:
            in_hand = self._of_thread.links = []
        return in_hand

    async def finish_and_save_in_task(self) -> object:
        """Finish the current asyncio task's events before it takes the next. Return the task.

        This does not block the event loop: a save that is due runs on a thread of its executor.

        Raises:
            CursorError: As for ``finish_and_save``.
        """
        import asyncio  # noqa: PLC0415  # the caller has already imported it

        task = asyncio.current_task()
        is_over = self._phase is not Phase.FOLLOWING
        if self.finish_in_hand(task) and (self._unsaved() is not None or is_over):
            await asyncio.to_thread(self.save)
        return task

    def hand_out(
        self, event: ServerSentEvent | None, *, is_last: bool, task: object = None
    ) -> None:
        """Record that a task, or the calling thread, gets this event. Never blocks.

        Args:
            event: The event, or None if it is not an event of the stream.
            is_last: Whether it is the last event.
            task: The task, or None for the calling thread.
        """
        with self._lock:
            if event is not None:
                link = self._progress.hand_out(event)
                if self._auto_acknowledge:
                    self._in_hand_of(task).append(link)
            if is_last:
                self._advance(Phase.DRAINED)

    def drained(self, *, may_block: bool) -> None:
        """Record that no more events will be handed out.

        Args:
            may_block: Whether the calling thread may close the cursor if it is no longer needed.
        """
        self._advance(Phase.DRAINED)
        if may_block:
            self._give_back_if_over()
        else:
            self._give_back_elsewhere()

    def close(self) -> None:
        """Give the cursor back as soon as no thread is saving. Never blocks for the cursor."""
        with self._lock:
            self._advance(Phase.CLOSED)
            # An earlier save has failed, and is tried once more.
            is_due = self._is_in_use() and not self._saving.locked() and self._unsaved() is not None
            self._is_last_save_due = is_due or self._is_last_save_due
        self._give_back_elsewhere()

    def disown(self) -> None:
        """Leave the cursor to the parent in a forked child, whichever locks were held."""
        self._make_locks()
        claims.renew_lock()  # a thread of the parent may hold it
        self._phase = Phase.DISOWNED
        claims.give_back(self._cursor, self)

    def wait_given_back(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds until a closed session has given its cursor back."""
        if self._phase is not Phase.CLOSED or self._saver == threading.get_ident():
            return
        deadline = time.monotonic() + timeout
        closer = self._closer
        if closer is not None:
            closer.join(timeout)
        elif self._lacks_closer and not is_ending():
            # The reader thread would have given it back at its end, but had already ended.
            self._give_back_if_over()
        self._given_back.wait(max(0.0, deadline - time.monotonic()))

    # For the session.

    def acknowledge(self, events: Iterable[ServerSentEvent]) -> None:
        """Record that events were processed, and save the position if it advances."""
        if self._phase is Phase.DISOWNED:
            raise SessionClosedError("the session belongs to another process, which opened it")
        try:
            with self._lock:
                for event in events:
                    self._progress.acknowledge(event)
        finally:  # also the events before a refused one
            self.save()

    # The cursor.

    def _advance(self, phase: Phase) -> None:
        with self._lock:
            self._phase = max(self._phase, phase)

    def _is_in_use(self) -> bool:
        return not self._given_back.is_set()

    def _unsaved(self) -> str | None:
        """Return the position if it is not saved."""
        with self._lock:
            position = self._progress.position
            return None if position == self._saved else position

    def _is_over(self) -> bool:
        """Return whether the cursor is no longer needed."""
        with self._lock:
            if self._phase is Phase.DRAINED:
                return not self._progress.unacknowledged and self._unsaved() is None
            return self._phase is Phase.CLOSED and not self._is_last_save_due

    def save(self) -> None:
        """Save the position, and give the cursor back if no more saves follow. Blocks.

        Raises:
            CursorError: The save failed. The next call tries again, unless the session is closed.
        """
        me = threading.get_ident()
        if self._saver == me:
            return  # called by the cursor or a signal handler during a save, which checks again
        try:
            if self._unsaved() is not None:
                with self._saving:
                    self._saver = me
                    try:
                        while self._save():
                            pass
                    finally:
                        self._saver = 0
        finally:  # even after a failure, because the session may have ended in the meantime
            self._give_back_if_over()

    def _save(self) -> bool:
        """Save the position. Return False if there is nothing to save."""
        with self._lock:
            position, before = self._progress.position, self._saved
            if position == before:
                return False
            # Set first: if the position returns to the old ID, that is not known to be saved
            # either.
            self._saved = Saved.UNKNOWN
        if not self._is_in_use():
            self._saved = before
            if not self._take_again():
                # Another session continued from there, and gets the event again.
                logger.info(
                    "a late acknowledgement was not saved: another session has continued from %r",
                    self,
                    extra=self._log_fields,
                )
                self._saved = position
                return False
            self._saved = Saved.UNKNOWN
        with _cursor_errors("save"):
            self._cursor.save(position)
        self._saved = position
        return True

    def _take_again(self) -> bool:
        """Take the cursor again after giving it back. Return whether its position is unchanged."""
        if not claims.take(self._cursor, self):
            raise CursorError("cannot save the position: another session is using the cursor")
        return self._load() == self._saved or self._saved is Saved.UNKNOWN

    def _load(self) -> str:
        """Load the position, with the cursor claimed."""
        self._given_back.clear()
        try:
            with _cursor_errors("load"):
                loaded = _checked(self._cursor.load())
        except BaseException:
            claims.give_back(self._cursor, self)
            self._given_back.set()
            raise
        return self._default if loaded is None else loaded

    def _give_back_elsewhere(self) -> None:
        """Give the cursor back if it is no longer needed, on a thread that may block."""
        if self._closes_at_once and not self._is_last_save_due:
            self._give_back_if_over()
            return
        with self._lock:
            is_wanted = self._is_last_save_due or self._is_over()
            # A thread that is saving or closing the cursor checks for the end when it is done.
            if self._closer or self._saving.locked() or not (self._is_in_use() and is_wanted):
                return
            closer = threading.Thread(
                target=self._close_at_last, name="sse-client:save", daemon=True
            )
            self._closer = closer
        try:
            closer.start()
        except RuntimeError:  # the interpreter is ending
            self._closer, self._lacks_closer = None, True
            self._is_last_save_due = False

    def _close_at_last(self) -> None:
        while True:
            try:
                if self._is_last_save_due:
                    self.save()
            except CursorError:
                logger.exception("the last position was not saved", extra=self._log_fields)
            finally:
                self._is_last_save_due = False
                self._give_back_if_over()
            with self._lock:
                if not self._is_last_save_due:  # True if ``close`` was called again
                    self._closer = None
                    return

    def _give_back_if_over(self) -> None:
        # If the lock is held, its holder calls this method after releasing it.
        while self._is_in_use() and self._is_over() and self._saving.acquire(blocking=False):
            self._saver = threading.get_ident()
            try:
                if self._is_in_use():
                    self._give_back()
            finally:
                self._saver = 0
                self._saving.release()

    def _give_back(self) -> None:
        try:
            self._cursor.close()
        except Exception:
            logger.exception("closing %r failed", self._cursor, extra=self._log_fields)
        finally:
            claims.give_back(self._cursor, self)
            self._given_back.set()

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        """Close the cursor of an abandoned session, without saving."""
        if is_exiting():
            return  # the exit has already spent its time on closing
        disown_if_forked()
        if self._is_in_use() and self._phase is not Phase.DISOWNED:
            self._cursor.close()


def _checked(loaded: object) -> str | None:
    """Refuse a value that a user's own cursor must not return."""
    if loaded is None or isinstance(loaded, str):
        return loaded
    raise CursorError(f"the cursor must load a str or None, not {type(loaded).__name__}")


@contextlib.contextmanager
def _cursor_errors(what: str) -> Iterator[None]:
    """Turn any error of a user's own cursor into a CursorError."""
    try:
        yield
    except CursorError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise CursorError(f"cannot {what} the position: the cursor raised {kind}") from error
