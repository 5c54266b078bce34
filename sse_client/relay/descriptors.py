"""File descriptors: the limit of a process, and whether an attempt failed because of it."""

from __future__ import annotations

import errno
import importlib
import logging

logger = logging.getLogger("sse_client")

#: The maximum number for a stream: the connection to its server and one to Redis.
_PER_STREAM = 2

#: The number for everything else: standard streams, libraries, metrics.
_OTHERS = 64

_OUT = frozenset({errno.EMFILE, errno.ENFILE})


def is_out_of_descriptors(error: BaseException) -> bool:
    """Return whether an error, or its cause, is that there are no descriptors left."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _OUT:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def prepare_descriptors(streams: int) -> None:
    """Raise the soft limit of this process as far as these streams need, or log that it is too low.

    Args:
        streams: The number of streams that it may have to relay: all, if no other worker runs.
    """
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # on Windows, which has no such limit
        return
    needed = _PER_STREAM * streams + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # for example in a container that forbids it
        wanted = soft
    if wanted < needed:
        logger.warning(
            "%d streams may need %d open files, but the limit is %d: raise it (ulimit -n, or "
            "LimitNOFILE= of systemd), or let other workers take a share",
            streams,
            needed,
            wanted,
        )
