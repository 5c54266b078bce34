"""A lock against other processes, and against other users in this one: a locked file.

The system releases the lock when its process ends in any way, so it is never stale. The existence
of the file means nothing: only the lock on it counts.

Only the holder removes the file. A process that has locked a file checks that it is still the file
of that name. Otherwise two processes could hold the lock, one on an old file and one on a new file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING

from sse_client.cursors.file_system import open_private
from sse_client.errors import CursorError
from sse_client.process import disown_in_child

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    #: The byte to lock. Windows refuses to read a locked byte, so it is after the contents.
    _LOCKED_BYTE = 1024

    def _lock(file: FileIO) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _is_at(_file: FileIO, _path: Path) -> bool:
        """Return True, because nobody can remove an open file on Windows."""
        return True

    def _release(file: FileIO, path: Path) -> None:
        """Unlock, close and remove the file. It stays if another process has opened it."""
        with contextlib.suppress(OSError):
            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        file.close()  # an open file cannot be removed
        with contextlib.suppress(OSError):
            path.unlink()

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        # Not lockf, whose locks end as soon as the process closes any descriptor of the file.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _is_at(file: FileIO, path: Path) -> bool:
        """Return whether this is still the file at that path."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), path.lstat())
        except FileNotFoundError:
            return False

    def _release(file: FileIO, path: Path) -> None:
        """Remove, unlock and close the file. Another file at that path stays."""
        with contextlib.suppress(OSError):
            if _is_at(file, path):
                path.unlink()
        # Closing is not enough, because a child forked just now may hold it, too.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
        file.close()


#: The system's error codes for a lock that is held.
_HELD = {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}

#: The wait before trying a held lock again, in seconds.
_TRY_AGAIN = 0.01

#: More than the digits of any process ID. The rest of the file is not read.
_MAX_PID_SIZE = 32


class FileLock:
    """A lock with one holder at a time. Not thread-safe.

    Args:
        path: The file to lock. It is created, and removed when the lock is released.
        guarded: The path of the file that the lock guards, for the errors.
    """

    def __init__(self, path: Path, guarded: Path) -> None:
        self._path = path
        self._guarded = guarded
        self._file: FileIO | None = None
        self._owner = 0  # the process that holds it

    def acquire(self, timeout: float = 0.0) -> None:
        """Acquire the lock, unless this object already holds it.

        Args:
            timeout: How long to wait for another holder to release it, in seconds.

        Raises:
            CursorError: Another user holds it, it was acquired before ``os.fork``, or the lock file
                is not a regular file.
            OSError: The file cannot be created or locked.
        """
        if self._file is None:
            disown_in_child(self)
            self._file = self._open_locked(time.monotonic() + timeout)
            self._owner = os.getpid()
            with contextlib.suppress(OSError):  # the disk may be full; only errors need this
                self._file.truncate(0)
                self._file.write(f"{self._owner}\n".encode())
        elif self._owner != os.getpid():
            raise self._error(f"belongs to process {self._owner}, from which this one was forked")

    def release(self) -> None:
        """Release the lock, and remove the file. Does nothing if the lock is not held."""
        file, self._file = self._file, None
        if file is None:
            return
        if self._owner == os.getpid():
            _release(file, self._path)
        else:
            file.close()

    def disown(self) -> None:
        """Close the file in a forked child, so that the lock ends with the process that holds it.

        That process keeps the lock, and ``acquire`` raises an error that names it.
        """
        if self._file is not None:
            self._file.close()

    def _open_locked(self, deadline: float) -> FileIO:
        while True:
            # Check before opening, because opening a device or a pipe has effects. On Windows this
            # is the only way to detect a link.
            with contextlib.suppress(FileNotFoundError):
                self._refuse_other_kinds(self._path.lstat())
            file: FileIO = open(self._path, "a+b", buffering=0, opener=_open_no_link)  # noqa: SIM115  # kept
            try:
                self._refuse_other_kinds(os.fstat(file.fileno()))  # it may have been replaced
                is_locked = _try_lock(file)
                if is_locked and _is_at(file, self._path):
                    return file
                if not is_locked:
                    self._raise_if_late(file, deadline)
            except BaseException:
                file.close()
                raise
            file.close()  # its holder removes it, or has just removed it
            if not is_locked:
                threading.Event().wait(_TRY_AGAIN)

    def _raise_if_late(self, file: FileIO, deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise self._error(f"is in use by {_holder(file)}")

    def _refuse_other_kinds(self, status: os.stat_result) -> None:
        """Accept only a regular file, because the target of a link would be overwritten."""
        if not stat.S_ISREG(status.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
            raise self._error(f"cannot be locked: {self._path} is {kind}")

    def _error(self, what: str) -> CursorError:
        return CursorError(f"{self._guarded} {what}", path=str(self._guarded))


def _open_no_link(path: str, flags: int) -> int:
    """Open a file like ``open_private``, but do not follow links or wait for a pipe's other end."""
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):  # not every system has these
        flags |= getattr(os, name, 0)
    return open_private(path, flags)


def _try_lock(file: FileIO) -> bool:
    """Lock the file. Return False if another user holds the lock."""
    try:
        _lock(file)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        return False
    return True


def _holder(file: FileIO) -> str:
    file.seek(0)
    pid = file.read(_MAX_PID_SIZE).strip()
    if not pid.isdigit():
        return "another process"
    return "another cursor of this process" if int(pid) == os.getpid() else f"process {int(pid)}"
