"""File system operations of the stores: private files, durable contents and durable names."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: The errors of a file system that cannot sync a folder, or cannot make the drive flush its cache.
#: On macOS these are four different numbers.
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}


def open_private(path: str | Path, flags: int) -> int:
    """Open a file. If this creates it, only its owner can use it."""
    return os.open(path, flags, 0o600)


if sys.platform == "darwin":
    import fcntl

    def sync(descriptor: int) -> None:
        """Make a file durable. On macOS ``fsync`` does not wait until the drive has written it."""
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            os.fsync(descriptor)  # for example on a network share

else:

    def sync(descriptor: int) -> None:
        """Make a file durable."""
        os.fsync(descriptor)


if sys.platform == "win32":

    def sync_folder(path: Path) -> None:
        """Do nothing, because Windows cannot open a folder."""

else:

    def sync_folder(path: Path) -> None:
        """Make the names in this file's folder durable."""
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            sync(descriptor)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        finally:
            os.close(descriptor)
