"""What the stores in files ask of the file system: private files, and durable names."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: A file system that can't make folders durable says so with one of these.
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP}


def open_private(path: str | Path, flags: int) -> int:
    """Open a file that, if it is made, only its owner can use."""
    return os.open(path, flags, 0o600)


def sync_folder(path: Path) -> None:
    """Make what happened to the names in the folder of this file durable."""
    if sys.platform == "win32":
        return  # a folder can't be opened there
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)
