"""The positions of many streams in one SQLite database."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from sse_client.cursors.file import LockedCursor
from sse_client.cursors.file_system import open_private, sync_folder

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS sse_client_cursor (name TEXT PRIMARY KEY, last_event_id TEXT NOT NULL)
"""

#: How long a save waits while other streams save to the same database, in seconds.
_BUSY_TIMEOUT = 10.0


class SQLiteCursor(LockedCursor):
    """Keeps the positions of many streams in one SQLite database, one row each.

    Streams of different names share the database, from any number of processes. The same name in
    use twice at once is an error: a lock for each name (``<path>.<hash of the name>.lock``) keeps
    others away from the first call until ``close``, or until the process ends. A new database can
    be read by its owner alone; in one that is there already, the table ``sse_client_cursor`` is
    added, and nothing else is touched. A database that is damaged is an error.

    Each save waits for the disk several times, and for its turn while others save. For one thread
    at a time. A context manager that closes itself.

    Example:
        >>> with SQLiteCursor("positions.db", "orders") as cursor:  # doctest: +SKIP
        ...     cursor.save("42")
        ...     cursor.load()
        '42'

    Args:
        path: The database; its folder has to be there.
        name: The name of the stream within it.

    Raises:
        TypeError, ValueError: ``path`` or ``name`` is none.
    """

    # Each call opens the database again, and a new one has a rollback journal. A write-ahead log
    # would save three times as fast, but only through a connection that stays open, and that
    # survives no fork: SQLite forbids even to close it in a child. So nothing is open in between,
    # any thread may call, a database that was removed is noticed, and it stays a single file.

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
        with self._connection(self._target) as connection:
            connection.execute(_TABLE)
            row = connection.execute(
                "SELECT last_event_id FROM sse_client_cursor WHERE name = ?", (self._name,)
            ).fetchone()
        if row is None:
            return None
        if not isinstance(row[0], str):
            raise self._error("is damaged: it holds no last event ID")
        return row[0]

    def _write(self, event_id: str) -> None:
        with self._connection(self._target) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sse_client_cursor VALUES (?, ?)", (self._name, event_id)
            )

    def _make_if_missing(self) -> None:
        """Make a database that has its table from its first moment on.

        SQLite would begin with an empty file; so one that is empty was cut off.
        """
        with contextlib.suppress(FileNotFoundError):
            if not self._target.stat().st_size:
                raise self._error("is damaged: it is empty")
            return
        temporary = self._beside(f".{self._hash}.tmp")
        temporary.unlink(missing_ok=True)
        try:
            os.close(open_private(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            with self._connection(temporary) as connection:
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute(_TABLE)
            with contextlib.suppress(FileExistsError):  # a stream of another name was faster
                self._target.hardlink_to(temporary)
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
            # Not made here: where it is gone, positions are lost, and that has to be told.
            address = f"{path.as_uri()}?mode=rw"
            with contextlib.closing(
                sqlite3.connect(address, uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None)
            ) as connection:
                # EXTRA is FULL, and the folder, too: else a power cut could undo the last save.
                connection.execute("PRAGMA synchronous = EXTRA")
                yield connection
        except sqlite3.Error as error:
            raise self._error(f"is damaged or cannot be used: {error}") from error
