"""The positions of many streams in one SQLite database."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import TYPE_CHECKING

from sse_client.cursors.file import LockedCursor
from sse_client.cursors.file_system import open_private, sync_folder
from sse_client.cursors.lock import FileLock
from sse_client.errors import CursorError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path, PurePath

_TABLE = """
CREATE TABLE IF NOT EXISTS sse_client_cursor (name TEXT PRIMARY KEY, last_event_id TEXT NOT NULL)
"""

#: How long a save waits while other streams save to the same database, in seconds.
_BUSY_TIMEOUT = 10.0

#: The seconds after which a statement is started again. SQLite polls at intervals that grow to
#: 0.1 s, and would then hardly ever find the short gaps that another process in a loop leaves.
_TRY_TIMEOUT = 0.02


class SQLiteCursor(LockedCursor):
    """Keeps the positions of many streams in one SQLite database, one row each.

    Streams with different names share the database, from any number of processes. Using the same
    name twice at once is an error: a lock for each name (``<path>.<hash of the name>.lock``)
    excludes other users from the first call until ``close`` or the end of the process. A new
    database can be read only by its owner. An existing one gets the table ``sse_client_cursor``,
    and is not changed otherwise. A damaged database is an error.

    Each save waits for the disk several times, and for other saves. Not thread-safe. It is a
    context manager that closes itself.

    Example:
        >>> with SQLiteCursor("positions.db", "orders") as cursor:  # doctest: +SKIP
        ...     cursor.save("42")
        ...     cursor.load()
        '42'

    Args:
        path: The database. Its folder must exist.
        name: The name of the stream in the database.

    Raises:
        TypeError, ValueError: ``path`` is not a path, or ``name`` is not a name.
    """

    # Each call opens the database again, and a new database has a rollback journal. A write-ahead
    # log would save three times as fast, but only through a connection that stays open. Such a
    # connection does not survive a fork: SQLite forbids even closing it in a child. Since nothing
    # stays open, any thread may call, a removed database is detected, and it is a single file.

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        super().__init__(path)
        given: object = name
        if not isinstance(given, str):
            raise TypeError(f"name must be a str, not {type(given).__name__}")
        if not given:
            raise ValueError("name must not be empty")
        self._name = name
        self._hash = hashlib.sha256(name.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        """Name the file and the stream."""
        return f"<SQLiteCursor {self._path} {self._name!r}>"

    def _lock_path(self) -> Path:
        return self._beside(f".{self._hash}.lock")

    def _read(self) -> str | None:
        self._make_if_missing()
        self._execute(_TABLE)
        row = self._execute(
            "SELECT last_event_id FROM sse_client_cursor WHERE name = ?", self._name
        )
        if row is None:
            return None
        if not isinstance(row[0], str):
            raise self._error("is damaged: it holds no last event ID")
        return row[0]

    def _write(self, event_id: str) -> None:
        self._execute(
            "INSERT OR REPLACE INTO sse_client_cursor VALUES (?, ?)", self._name, event_id
        )

    def _execute(self, statement: str, *values: str) -> tuple[object, ...] | None:
        """Execute one statement once no other process is writing, and return its first row."""
        deadline = time.monotonic() + _BUSY_TIMEOUT
        while True:
            try:
                with self._connection(self._target) as connection:
                    row: tuple[object, ...] | None = connection.execute(
                        statement, values
                    ).fetchone()
                    return row
            except CursorError as error:
                # Python 3.10 has no names for extended error codes.
                if "is locked" not in str(error.__cause__) or time.monotonic() > deadline:
                    raise

    def _make_if_missing(self) -> None:
        if self._is_there():
            return
        # Streams with other names may create it at the same time, and may have saved to theirs
        # before this one is in place. A hard link never replaces another file, but not every file
        # system has hard links. Hence the lock.
        making = FileLock(self._beside(".lock"), self._path)
        making.acquire(_BUSY_TIMEOUT)
        try:
            if not self._is_there():
                self._make()
        finally:
            making.release()

    def _is_there(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            if not self._target.stat().st_size:
                raise self._error("is damaged: it is empty")
            return True
        return False

    def _make(self) -> None:
        """Create a database that has its table from the start.

        SQLite would begin with an empty file. Without that, an empty file is known to be damaged.
        """
        temporary = self._beside(".tmp")
        temporary.unlink(missing_ok=True)
        try:
            os.close(open_private(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            with self._connection(temporary) as connection:
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute(_TABLE)
            _put_in_place(temporary, self._target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self._target)

    @contextlib.contextmanager
    def _connection(self, path: Path) -> Iterator[sqlite3.Connection]:
        try:
            import sqlite3  # noqa: PLC0415  # some Pythons were built without it
        except ImportError as error:
            raise self._error("needs the module sqlite3, which this Python lacks") from error
        try:
            # It must not be created here: if it was removed, positions are lost, which is an error.
            address = f"{_uri_of(path)}?mode=rw"
            with contextlib.closing(
                sqlite3.connect(address, uri=True, timeout=_TRY_TIMEOUT, isolation_level=None)
            ) as connection:
                # EXTRA is FULL and also syncs the folder. Otherwise a power cut could undo the last
                # save.
                connection.execute("PRAGMA synchronous = EXTRA")
                # As in ``file_system.sync`` on macOS. Elsewhere it has no effect.
                connection.execute("PRAGMA fullfsync = ON")
                yield connection
        except sqlite3.Error as error:
            raise self._error(f"is damaged or cannot be used: {error}") from error


def _uri_of(path: PurePath) -> str:
    """Return a file URI for SQLite, which accepts no host, as in that of a Windows share."""
    uri = path.as_uri()
    return uri if uri.startswith("file:///") else uri.replace("file:", "file://", 1)


def _put_in_place(temporary: Path, target: Path) -> None:
    """Give a database its name, unless another program has just created it."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        return
    except (OSError, NotImplementedError):  # the file system or the platform has no hard links
        with contextlib.suppress(FileExistsError):  # on Windows, rename does not replace a file
            temporary.rename(target)
