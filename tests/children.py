"""Children that are forked while streams are open, and that continue to run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")

#: The system's library, called without releasing the interpreter's lock.
SYSTEM = ctypes.PyDLL(None) if hasattr(os, "fork") else None


def fork_by_python() -> int:
    """Fork as most programs do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns about forks of processes with threads
        return os.fork()


def fork_by_system() -> int:
    """Fork as uWSGI does, bypassing Python."""
    assert SYSTEM is not None
    return int(SYSTEM.fork())


FORKS = pytest.mark.parametrize(
    "fork", [fork_by_python, fork_by_system], ids=["by Python", "by the system"]
)


@contextlib.contextmanager
def living_child(fork: Callable[[], int]) -> Iterator[None]:
    """Fork a child that does nothing and lives until the end of the block."""
    assert SYSTEM is not None
    child = fork()
    while not child:
        SYSTEM.pause()
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def in_child(function: Callable[[], object]) -> str:
    """Call the function in a child that Python forks. Return its result or its error."""
    reading, writing = os.pipe()
    child = fork_by_python()
    if not child:
        signal.alarm(15)
        try:
            said = repr(function())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, f"it hangs; it said {said!r}"
    return said
