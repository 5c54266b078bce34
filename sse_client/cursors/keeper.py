"""The position of a session: what its consumers have processed, kept in the user's cursor.

Two locks, the second never taken under the first:

* ``_lock`` guards the progress, for moments only. The channel calls ``hand_out`` with its mutex
  held, so nothing here calls the channel.
* ``_saving`` is held by the one thread that calls the cursor. That is the consumer that comes back
  for its next event, or whoever acknowledges: the reader thread never waits for a disk. Those who
  come meanwhile wait, and mostly find that their position was saved along with another.

Whoever ends the session does not wait for the cursor, which may block for as long as it likes. A
thread that is saving sees the end when it is done, and then closes the cursor. If no thread is
saving, a daemon thread does both: a last save, if one is due, and the closing. For a cursor whose
``close`` only unlocks a file no thread is needed.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Literal

from sse_client.cursors import claims
from sse_client.cursors.file import CursorStore, LockedCursor, Saved
from sse_client.cursors.progress import HandedOut, Progress
from sse_client.errors import CursorError, SessionClosedError
from sse_client.process import is_ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sse_client.event_stream.events import ServerSentEvent

logger = logging.getLogger("sse_client")


class Phase(enum.IntEnum):
    """How far the session is, as to its position. It only ever moves down this list."""

    FOLLOWING = 0
    #: No further event will be handed out; earlier ones may still be acknowledged.
    DRAINED = 1
    #: It was closed: the same, but the cursor is given back at once.
    CLOSED = 2
    #: It is a forked child's copy, and the cursor is the parent's.
    DISOWNED = 3


class _InHand(threading.local):
    """What the current thread got last, and has not come back for the next one."""

    link: HandedOut | None = None


class PositionKeeper:
    """Saves how far a session's events have been processed. Thread-safe.

    Args:
        cursor: Where the position is kept.
        auto_acknowledge: Whether a consumer that comes back for its next event has processed the
            one before.
    """

    def __init__(self, cursor: CursorStore, *, auto_acknowledge: bool = True) -> None:
        self._cursor = cursor
        #: Whether closing it only unlocks a file, which blocks for nothing.
        self._closes_at_once = getattr(type(cursor), "close", None) is LockedCursor.close
        self._auto_acknowledge = auto_acknowledge
        self._in_hand = _InHand()
        self._phase = Phase.FOLLOWING
        self._default = ""
        self._progress = Progress("")
        #: After which ID a new process would begin.
        self._saved: str | Literal[Saved.UNKNOWN] = ""
        self._is_last_save_due = False
        self._make_locks()

    def _make_locks(self) -> None:
        self._lock = threading.RLock()  # reentrant, since a signal handler may acknowledge
        self._saving = threading.Lock()
        self._saver = 0
        #: Not set as long as the cursor is in use.
        self._given_back = threading.Event()
        self._given_back.set()
        #: Saves at last and gives the cursor back, so that no thread that closes waits for it.
        self._closer: threading.Thread | None = None
        self._lacks_closer = False  # it could not be started

    def load(self, default: str) -> str:
        """Return the ID after which the stream begins. Blocks for the cursor.

        Args:
            default: The ID to begin after if none was ever saved.

        Raises:
            CursorError: The position can't be read, or somebody else uses it.
            ValueError: Another session of this process uses the same cursor.
        """
        if not claims.take(self._cursor, self):
            raise ValueError("cursor is in use by another session: give each session its own")
        with self._saving:
            self._default = default
            start = self._load()
        with self._lock:
            self._progress = Progress(start)
            self._saved = start
        return start

    # For the channel.

    def come_back(self) -> None:
        """Take note that the calling thread wants its next event. Blocks for a save, if one is due.

        Raises:
            CursorError: It failed. The next call tries again, unless the session is closed.
        """
        link, self._in_hand.link = self._in_hand.link, None
        if self._phase is Phase.DISOWNED:
            return
        is_new = False
        if link is not None:
            with self._lock:
                is_new = self._progress.finish(link)
        if is_new or self._phase is not Phase.CLOSED:
            self._settle()

    def hand_out(self, event: ServerSentEvent | None, *, is_last: bool) -> None:
        """Take note that the calling thread is about to get this event. Never blocks.

        Args:
            event: The event, None if it is not one of the stream.
            is_last: Whether none will come after it.
        """
        with self._lock:
            if event is not None:
                link = self._progress.hand_out(event)
                if self._auto_acknowledge:
                    self._in_hand.link = link
            if is_last:
                self._advance(Phase.DRAINED)

    def drained(self, *, may_block: bool) -> None:
        """Take note that no further event will be handed out.

        Args:
            may_block: Whether the calling thread may close the cursor if it is no longer needed.
        """
        self._advance(Phase.DRAINED)
        if may_block:
            self._give_back_if_over()
        else:
            self._give_back_elsewhere()

    def close(self) -> None:
        """Give the cursor back, as soon as nobody is saving. Never blocks for the cursor."""
        with self._lock:
            self._advance(Phase.CLOSED)
            # A save has failed before, and is tried once more.
            is_due = self._is_in_use() and not self._saving.locked() and self._unsaved() is not None
            self._is_last_save_due = is_due or self._is_last_save_due
        self._give_back_elsewhere()

    def disown(self) -> None:
        """Leave the cursor to the parent process, in a forked child, whatever lock was held."""
        self._make_locks()
        claims.renew_lock()
        self._phase = Phase.DISOWNED
        claims.give_back(self._cursor, self)

    def wait_given_back(self, timeout: float) -> None:
        """Wait for ``timeout`` seconds at most until a session that was closed has no cursor."""
        if self._phase is not Phase.CLOSED or self._saver == threading.get_ident():
            return
        deadline = time.monotonic() + timeout
        closer = self._closer
        if closer is not None:
            closer.join(timeout)
        elif self._lacks_closer and not is_ending():
            # The reader thread was to give it back as it ended, but had ended before.
            self._give_back_if_over()
        self._given_back.wait(max(0.0, deadline - time.monotonic()))

    # For the session.

    def acknowledge(self, event: ServerSentEvent) -> None:
        """Take note that an event was processed, and save the position if that moves it."""
        if self._phase is Phase.DISOWNED:
            raise SessionClosedError("the session belongs to another process, which opened it")
        with self._lock:
            self._progress.acknowledge(event)
        self._settle()

    # The cursor.

    def _advance(self, phase: Phase) -> None:
        with self._lock:
            self._phase = max(self._phase, phase)

    def _is_in_use(self) -> bool:
        return not self._given_back.is_set()

    def _unsaved(self) -> str | None:
        """Return the position if it isn't the one that is saved."""
        with self._lock:
            position = self._progress.position
            return None if position == self._saved else position

    def _is_over(self) -> bool:
        """Return whether the cursor is no longer needed."""
        with self._lock:
            if self._phase is Phase.DRAINED:
                return not self._progress.unacknowledged and self._unsaved() is None
            return self._phase is Phase.CLOSED and not self._is_last_save_due

    def _settle(self) -> None:
        """Save what is due, and give the cursor back if that was the last."""
        me = threading.get_ident()
        if self._saver == me:
            return  # called by the cursor, or by a signal handler: it goes on below
        try:
            if self._unsaved() is not None:
                with self._saving:
                    self._saver = me
                    try:
                        while self._save():
                            pass
                    finally:
                        self._saver = 0
        finally:  # also where it failed: the end may have come meanwhile
            self._give_back_if_over()

    def _save(self) -> bool:
        """Save the position; return False if there is nothing to save."""
        with self._lock:
            position, before = self._progress.position, self._saved
            if position == before:
                return False
            # From this very moment on: a position that returns to the old ID isn't saved, either.
            self._saved = Saved.UNKNOWN
        if not self._is_in_use():
            self._saved = before
            if not self._take_again():
                # Somebody else went on from where this session was: the event comes again there.
                logger.info("%r has moved on: what was acknowledged late is not saved", self)
                self._saved = position
                return False
            self._saved = Saved.UNKNOWN
        with _cursor_errors("save"):
            self._cursor.save(position)
        self._saved = position
        return True

    def _take_again(self) -> bool:
        """Take the cursor once more after it was given back; return whether it is as it was."""
        if not claims.take(self._cursor, self):
            raise CursorError("cannot save the position: another session uses the cursor by now")
        return self._load() == self._saved or self._saved is Saved.UNKNOWN

    def _load(self) -> str:
        """Load the position, with the cursor claimed."""
        self._given_back.clear()
        try:
            with _cursor_errors("load"):
                loaded = _checked(self._cursor.load())
        except BaseException:
            claims.give_back(self._cursor, self)  # and it holds nothing
            self._given_back.set()
            raise
        return self._default if loaded is None else loaded

    def _give_back_elsewhere(self) -> None:
        """Give the cursor back on a thread that may wait for it, if it is no longer needed."""
        if self._closes_at_once and not self._is_last_save_due:
            self._give_back_if_over()
            return
        with self._lock:
            is_wanted = self._is_last_save_due or self._is_over()
            # A thread that is saving, or closing the cursor, sees the end when it is done.
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
                    self._settle()
            except CursorError:
                logger.exception("the last position is not saved")
            finally:
                self._is_last_save_due = False
                self._give_back_if_over()
            with self._lock:
                if not self._is_last_save_due:  # else it was closed once more meanwhile
                    self._closer = None
                    return

    def _give_back_if_over(self) -> None:
        # Who finds the lock taken leaves it to the one who has it, and who comes here after it.
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
            logger.exception("closing %r failed", self._cursor)
        finally:
            claims.give_back(self._cursor, self)
            self._given_back.set()

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        """Give the cursor back if the session was abandoned; nothing is saved here."""
        if is_exiting():
            return  # it was not closed within the time that the exit had for it
        if self._is_in_use() and self._phase is not Phase.DISOWNED:
            self._cursor.close()


def _checked(loaded: object) -> str | None:
    """Refuse what a user's own cursor must not return."""
    if loaded is None or isinstance(loaded, str):
        return loaded
    raise CursorError(f"the cursor has loaded neither a str nor None: {type(loaded).__name__}")


@contextlib.contextmanager
def _cursor_errors(what: str) -> Iterator[None]:
    """Turn whatever a user's own cursor raises into a CursorError."""
    try:
        yield
    except CursorError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise CursorError(f"cannot {what} the position: the cursor raised {kind}") from error
