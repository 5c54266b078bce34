"""Saves the last processed event ID of a stream, so that a new process resumes after it.

A damaged file is an error, and never means that the stream starts from the beginning. A store in a
file holds a lock (``lock``) from its first use until it is closed, so that two streams never move
the same position.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from sse_client.cursors.file_system import open_private, sync, sync_folder
from sse_client.cursors.lock import FileLock
from sse_client.errors import CursorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

_VERSION = 1

#: More than an ID of the default maximum size with each character escaped. A larger file is not a
#: position, but was given by mistake.
_MAX_FILE_SIZE = 128 * 1024 * 1024


class Saved(enum.Enum):
    """Stands for an unknown saved ID."""

    #: A save is in progress or has failed, so the store may hold the previous ID or the new one.
    UNKNOWN = enum.auto()


@runtime_checkable
class CursorStore(Protocol):
    """Stores the last processed event ID of one stream. Implement it for your own store.

    A stream calls ``load`` once before it connects, ``save`` any number of times, and ``close`` at
    its end. It may then begin again with ``load``. It makes one call at a time, but not always from
    the same thread. Each call blocks the stream or its consumer.

    Closing a session waits for these calls no longer than its timeout. A call that still blocks
    then finishes on its own thread: the consumer's, the reader thread or a daemon thread. The
    interpreter's exit does not wait for it either, and calls ``close`` only if the session's thread
    is still running. Python 3.12 and newer cannot start a thread at that time. So the cursors of
    one client are closed one after another, and a cursor that blocks keeps the others open.

    Any exception means a failure. After a failed ``load`` the position is unknown, and the stream
    does not open. After a failed ``save``, a later ``load`` may return this ID or the previous one.
    ``CursorError`` is the exception for this.
    """

    def load(self) -> str | None:
        """Return the ID that was saved last, or None if there is none. ``""`` is also an ID."""

    def save(self, event_id: str) -> None:
        """Replace the saved ID. It is durable when this returns."""

    def close(self) -> None:
        """Free the store's resources. Does nothing if it is already closed."""


class LockedCursor(abc.ABC):
    """The base of the stores in files: it holds the lock, and skips needless writes.

    Not thread-safe.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given: object = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(given, str):
            raise TypeError(f"path must be a str or a path, not {type(given).__name__}")
        if not given or "\0" in given:
            raise ValueError("path must be the path of a file")
        self._path = Path(given).absolute()
        #: Where the file is, or will be. A link is kept, and its target is written.
        self._target = self._path
        self._lock: FileLock | None = None
        #: The ID in the file, or None if there is none.
        self._saved: str | Literal[Saved.UNKNOWN] | None = None

    def __repr__(self) -> str:
        """Name the file."""
        return f"<{type(self).__name__} {self._path}>"

    def load(self) -> str | None:
        """Read the ID that was saved last. Takes the lock. Blocks for the file.

        Returns:
            The ID, or None if none was ever saved.

        Raises:
            CursorError: The file is damaged, cannot be read, or is in use.
        """
        with self._errors("load"):
            self._acquire()
            try:
                self._saved = loaded = self._read()
            except BaseException:
                self.close()
                raise
            return loaded

    def save(self, event_id: str) -> None:
        """Save the ID. Blocks until it is on disk, unless it is already the saved ID.

        Raises:
            CursorError: It could not be saved, or the file is in use.
        """
        given: object = event_id
        if not isinstance(given, str):
            raise TypeError(f"event_id must be a str, not {type(given).__name__}")
        if self._lock is None:
            self.load()  # a damaged file must not be overwritten
        with self._errors("save"):
            self._acquire()
            if event_id != self._saved:
                self._saved = Saved.UNKNOWN
                self._write(event_id)
                self._saved = event_id

    def close(self) -> None:
        """Release the lock. A later ``load`` takes it again."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def __enter__(self) -> Self:
        """Return the cursor."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the cursor."""
        self.close()

    def _acquire(self) -> None:
        if self._lock is None:
            self._target = Path(os.path.realpath(self._path))
            lock = FileLock(self._lock_path(), self._path)
            lock.acquire()
            self._lock = lock
        else:
            self._lock.acquire()  # raises an error in a forked child

    def _lock_path(self) -> Path:
        return self._beside(".lock")

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self._target}{suffix}")

    @abc.abstractmethod
    def _read(self) -> str | None:
        """Return the ID in the file. Requires the lock."""

    @abc.abstractmethod
    def _write(self, event_id: str) -> None:
        """Make the ID durable. Requires the lock."""

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise self._error(f"cannot {what} the position: {reason}") from error

    def _error(self, what: str) -> CursorError:
        return CursorError(f"{self._path}: {what}", path=str(self._path))


class FileCursor(LockedCursor):
    """Keeps the position of one stream in a small JSON file: ``FileCursor("position.json")``.

    The file is replaced atomically. Even after a crash of the process or the machine it holds the
    last saved ID or the one before it. A file that is damaged nevertheless is an error. A lock
    (``position.json.lock``) excludes other users, also in this process, from the first call until
    ``close`` or the end of the process. A new file can be read only by its owner. An existing file
    keeps its mode.

    Each save waits for the disk, which takes from less than a millisecond to tens of milliseconds.
    Not thread-safe. It is a context manager that closes itself.

    Example:
        >>> with FileCursor("position.json") as cursor:  # doctest: +SKIP
        ...     cursor.save("42")
        ...     cursor.load()
        '42'

    Args:
        path: The file. Its folder must exist. A link is followed, not replaced.

    Raises:
        TypeError, ValueError: ``path`` is not a path.
    """

    def _read(self) -> str | None:
        try:
            if not stat.S_ISREG(self._target.stat().st_mode):
                raise self._error("is not a regular file")  # reading a pipe could block forever
            with self._target.open("rb") as file:
                content = file.read(_MAX_FILE_SIZE + 1)
        except FileNotFoundError:
            return None
        if len(content) > _MAX_FILE_SIZE:
            raise self._error(f"holds no position: larger than {_MAX_FILE_SIZE} bytes")
        return self._decode(content)

    def _decode(self, content: bytes) -> str:
        try:
            document: object = json.loads(content.decode())
        except (ValueError, RecursionError) as error:
            raise self._error("is damaged: it is not JSON in UTF-8") from error
        if not isinstance(document, dict) or not isinstance(document.get("version"), int):
            raise self._error("is damaged: it holds no position")
        if document["version"] != _VERSION or document["version"] is True:
            raise self._error(f"is a position of an unknown version, {document['version']}")
        event_id = document.get("last_event_id")
        if not isinstance(event_id, str):
            raise self._error("is damaged: it holds no last event ID")
        return event_id

    def _write(self, event_id: str) -> None:
        content = json.dumps({"version": _VERSION, "last_event_id": event_id}).encode() + b"\n"
        if len(content) > _MAX_FILE_SIZE:
            raise self._error(f"cannot save an ID that takes more than {_MAX_FILE_SIZE} bytes")
        # Always the same name, guarded by the lock. A killed process may have left the file.
        temporary = self._beside(".tmp")
        temporary.unlink(missing_ok=True)
        try:
            with open(temporary, "xb", opener=open_private) as file:
                with contextlib.suppress(FileNotFoundError):
                    temporary.chmod(stat.S_IMODE(self._target.stat().st_mode))
                file.write(content)
                file.flush()
                sync(file.fileno())
            temporary.replace(self._target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(self._target)
