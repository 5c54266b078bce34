"""Lets SIGTERM end a command in an orderly way."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The status that a shell reports for a command ended by SIGTERM.
TERMINATED = 143


@contextlib.contextmanager
def ended_by_sigterm(status: int = TERMINATED) -> Iterator[None]:
    """Let SIGTERM end the block with a SystemExit of this status."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
