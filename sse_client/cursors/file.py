"""Where the last processed event ID of a stream is kept, so that a new process goes on behind it.

A position that was saved is either read again or is an error: nothing here starts from zero
because a file was damaged. A store in a file holds a lock (``lock``) from its first use until
it is closed, so that two streams never take turns in moving one position back and forth.
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

from sse_client.cursors.file_system import open_private, sync_folder
from sse_client.cursors.lock import FileLock
from sse_client.errors import CursorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

_VERSION = 1

#: More than the largest event that is allowed by default takes as an ID with each character
#: escaped. What is larger is not a position, but a file given by mistake.
_MAX_FILE_SIZE = 128 * 1024 * 1024


class Saved(enum.Enum):
    """Stands for the saved ID where that is not known."""

    #: A save is under way or has failed: the store may hold the ID before it or the new one.
    UNKNOWN = enum.auto()


@runtime_checkable
class CursorStore(Protocol):
    """What keeps the last processed event ID of one stream: implement it for a store of your own.

    A stream calls ``load`` once before it connects, ``save`` any number of times, and ``close`` at
    its end; after that it may begin again with ``load``. It makes one call at a time, but not
    always from the same thread, and each of them keeps the stream or its consumer waiting.

    Closing a session waits for none of them longer than its timeout. A call that still blocks then
    ends later, on the thread that is in it: the consumer that saves, the reader thread, or a daemon
    thread. The exit of the interpreter does not wait for it either, and calls ``close`` only if
    the session's thread still runs.

    Any exception means that it did not work: of ``load``, that the position is unknown, which is
    never taken for "from the beginning"; of ``save``, that a later ``load`` may return this ID or
    the one before it. ``CursorError`` says so by its name.
    """

    def load(self) -> str | None:
        """Return the ID that was saved last, None if none ever was. ``""`` is an ID, too."""

    def save(self, event_id: str) -> None:
        """Keep the ID in place of the one before it. It is durable when this returns."""

    def close(self) -> None:
        """Free what the store holds. Nothing happens if it was closed already."""


class LockedCursor(abc.ABC):
    """What the stores in files have in common: the lock, and no write for nothing.

    For one thread at a time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given: object = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(given, str):
            raise TypeError(f"path must be a str or a path, not {type(given).__name__}")
        if not given or "\0" in given:
            raise ValueError("path must be the path of a file")
        self._path = Path(given).absolute()
        #: Where the file is, or will be: a link stays one, and its target is written.
        self._target = self._path
        self._lock: FileLock | None = None
        #: The ID that the file holds; None if it holds none.
        self._saved: str | Literal[Saved.UNKNOWN] | None = None

    def __repr__(self) -> str:
        """Name the file."""
        return f"<{type(self).__name__} {self._path}>"

    def load(self) -> str | None:
        """Read the ID that was saved last. Blocks for the file, and takes the lock.

        Returns:
            The ID, None if none was ever saved: there is no file yet.

        Raises:
            CursorError: The file is damaged, can't be read, or is in use by somebody else.
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
        """Save the ID. Blocks until it is on the disk; the ID that was saved last costs nothing.

        Raises:
            CursorError: It could not be saved, or the file is in use by somebody else.
        """
        given: object = event_id
        if not isinstance(given, str):
            raise TypeError(f"event_id must be a str, not {type(given).__name__}")
        if self._lock is None:
            self.load()  # what is damaged is not written over
        with self._errors("save"):
            self._acquire()
            if event_id != self._saved:
                self._saved = Saved.UNKNOWN
                self._write(event_id)
                self._saved = event_id

    def close(self) -> None:
        """Give the lock back. A later ``load`` takes it again."""
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
            self._lock.acquire()  # that is, not in a forked child

    def _lock_path(self) -> Path:
        return self._beside(".lock")

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self._target}{suffix}")

    @abc.abstractmethod
    def _read(self) -> str | None:
        """Return what the file says; hold the lock for this."""

    @abc.abstractmethod
    def _write(self, event_id: str) -> None:
        """Make it durable; hold the lock for this."""

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

    The file is replaced as a whole: whatever happens to the process or the machine, it holds the
    ID that was saved last or the one before it, and a file that is damaged all the same is an
    error. A lock (``position.json.lock``) keeps others away, in this process, too, from the first
    call until ``close``, or until the process ends. A new file can be read by its owner alone; an
    existing one keeps its mode.

    Each save waits for the disk: from a part of a millisecond to tens of them, as that is. For one
    thread at a time. A context manager that closes itself.

    Example:
        >>> with FileCursor("position.json") as cursor:  # doctest: +SKIP
        ...     cursor.save("42")
        ...     cursor.load()
        '42'

    Args:
        path: The file; its folder has to be there. A link is followed, not replaced.

    Raises:
        TypeError, ValueError: ``path`` is none.
    """

    def _read(self) -> str | None:
        try:
            if not stat.S_ISREG(self._target.stat().st_mode):
                raise self._error("is not a regular file")  # reading a pipe could block for ever
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
            raise self._error(f"is of an unknown version, {document['version']}")
        event_id = document.get("last_event_id")
        if not isinstance(event_id, str):
            raise self._error("is damaged: it holds no last event ID")
        return event_id

    def _write(self, event_id: str) -> None:
        content = json.dumps({"version": _VERSION, "last_event_id": event_id}).encode() + b"\n"
        if len(content) > _MAX_FILE_SIZE:
            raise self._error(f"cannot save an ID that takes more than {_MAX_FILE_SIZE} bytes")
        # Always the same one, under the lock: what a killed process has left is taken away here.
        temporary = self._beside(".tmp")
        temporary.unlink(missing_ok=True)
        try:
            with open(temporary, "xb", opener=open_private) as file:
                with contextlib.suppress(FileNotFoundError):
                    temporary.chmod(stat.S_IMODE(self._target.stat().st_mode))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(self._target)
