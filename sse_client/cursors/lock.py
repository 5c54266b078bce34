"""A lock against other processes, and against others in this one: a file that is locked.

The system gives the lock back when its process ends, however that happens, so none is ever stale.
Whether the file is there says nothing: only the lock on it counts.

The file is removed by its holder alone, and whoever has locked it looks whether it is still the
one of that name: else two processes could each hold "the" lock, on an old file and on a new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import weakref
from typing import TYPE_CHECKING

from sse_client.cursors.file_system import open_private
from sse_client.errors import CursorError

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    #: The byte that is locked: there a locked one can't be read, and what is written comes before.
    _LOCKED_BYTE = 1024

    def _lock(file: FileIO) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _unlock(file: FileIO) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

    def _is_at(_file: FileIO, _path: Path) -> bool:
        """Say yes: nobody can remove a file there that is open."""
        return True

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        # Not lockf: its locks are the process's, and gone once it closes any file of that name.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)

    def _is_at(file: FileIO, path: Path) -> bool:
        """Return whether this is still the file of that name."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), path.lstat())
        except FileNotFoundError:
            return False


#: How the system says that somebody else holds a lock.
_HELD = {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}

#: More than the digits of any process ID: whatever else is in the file is not read.
_MAX_PID_SIZE = 32

_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """A lock that one at a time can hold. Never waits. For one thread at a time.

    Args:
        path: The file to lock; it is made, and removed when the lock is released.
        guarded: The path of what it guards, for the errors.
    """

    def __init__(self, path: Path, guarded: Path) -> None:
        self._path = path
        self._guarded = guarded
        self._file: FileIO | None = None
        self._owner = 0  # the process that holds it

    def acquire(self) -> None:
        """Take the lock, unless it is held already.

        Raises:
            CursorError: Somebody else holds it, it was taken before ``os.fork``, or the lock file
                is not a regular file.
            OSError: The file can't be made or locked.
        """
        if self._file is None:
            self._file = self._open_locked()
            self._owner = os.getpid()
            _held.add(self)
            with contextlib.suppress(OSError):  # a full disk: it only helps those who read it
                self._file.truncate(0)
                self._file.write(f"{self._owner}\n".encode())
        elif self._owner != os.getpid():
            raise self._error(f"belongs to process {self._owner}, from which this one was forked")

    def release(self) -> None:
        """Give the lock back, and remove the file. Nothing happens if it isn't held."""
        file, self._file = self._file, None
        if file is None:
            return
        _held.discard(self)
        if self._owner == os.getpid():
            with contextlib.suppress(OSError):  # Windows removes no file that is open
                if _is_at(file, self._path):
                    self._path.unlink()
            # Closing would not do: a child that was forked just now may hold it, too.
            with contextlib.suppress(OSError):
                _unlock(file)
        file.close()

    def leave_to_parent(self) -> None:
        """In a forked child: close the file, so that the lock ends with the process that took it.

        The lock itself stays that process's, and ``acquire`` says so.
        """
        if self._file is not None:
            self._file.close()

    def _open_locked(self) -> FileIO:
        while True:
            # Before the file is opened, which means something to a device or a pipe. Windows has
            # no other way to find a link.
            with contextlib.suppress(FileNotFoundError):
                self._refuse_other_kinds(self._path.lstat())
            file: FileIO = open(self._path, "a+b", buffering=0, opener=_open_no_link)  # noqa: SIM115  # kept
            try:
                self._refuse_other_kinds(os.fstat(file.fileno()))  # it may be another by now
                self._lock_or_raise(file)
                if _is_at(file, self._path):
                    return file
            except BaseException:
                file.close()
                raise
            file.close()  # its last holder has removed it meanwhile

    def _lock_or_raise(self, file: FileIO) -> None:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in _HELD:
                raise
            raise self._error(f"is in use by {_holder(file)}") from None

    def _refuse_other_kinds(self, status: os.stat_result) -> None:
        """Accept a regular file only: what a link leads to would be overwritten."""
        if not stat.S_ISREG(status.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
            raise self._error(f"cannot be locked: {self._path} is {kind}")

    def _error(self, what: str) -> CursorError:
        return CursorError(f"{self._guarded} {what}", path=str(self._guarded))


def _open_no_link(path: str, flags: int) -> int:
    """Open a file as ``open_private`` does, but follow no link and wait for no other end."""
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):  # which not every system has
        flags |= getattr(os, name, 0)
    return open_private(path, flags)


def _holder(file: FileIO) -> str:
    file.seek(0)
    pid = file.read(_MAX_PID_SIZE).strip()
    if not pid.isdigit():
        return "another process"
    return "another cursor of this process" if int(pid) == os.getpid() else f"process {int(pid)}"


def _leave_all_to_parent() -> None:
    for lock in list(_held):
        lock.leave_to_parent()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=_leave_all_to_parent)
