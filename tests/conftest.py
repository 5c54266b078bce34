"""Fixtures for all tests, and the check that a test leaves nothing behind."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme
from canaries import CanaryWatch
from effort import set_effort
from processes import start_watchman
from support import PATIENCE

from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client.testing import Exchange

DESCRIPTORS = "/proc/self/fd"

# How long ending threads may take, all together, in seconds.
ENDING_TIME = 2.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ci", action="store_true", help="also run the long tests, as CI does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--ci"):
        return
    long = [item for item in items if item.get_closest_marker("ci")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("ci")]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CanaryWatch())
    set_effort(whole=config.getoption("--ci"))
    # Before the tests, so that no test seems to leave it behind.
    start_watchman()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Exclude the collected tests, which exist until the end, from garbage collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def open_descriptors() -> dict[str, str]:
    """The target of each file descriptor, if the system reports it. Sockets have unique names."""
    # This runs twice per test, so it uses os, which is several times faster than pathlib.
    try:
        descriptors = os.listdir(DESCRIPTORS)  # noqa: PTH208
    except FileNotFoundError:
        return {}
    found = {}
    for descriptor in descriptors:
        try:
            found[descriptor] = os.readlink(f"{DESCRIPTORS}/{descriptor}")  # noqa: PTH115
        except FileNotFoundError:
            # The descriptor of the listing itself, which is closed.
            continue
    return found


def describe_threads(threads: list[threading.Thread]) -> list[str]:
    frames = sys._current_frames()
    lines = []
    for thread in threads:
        stack = traceback.format_stack(frames[thread.ident])[-2:] if thread.ident in frames else []
        lines.append(f"thread {thread.name!r} at\n{''.join(stack)}")
    return lines


class Leftovers:
    """Compares the current threads and descriptors with those at its creation."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = open_descriptors()

    def find(self, patience: float) -> list[str]:
        """Wait for ending threads, then name the threads and descriptors that are new."""
        deadline = time.monotonic() + patience
        started = [thread for thread in threading.enumerate() if thread not in self._threads]
        for thread in started:
            # Threads that were not started by `threading` cannot be joined.
            if not isinstance(thread, threading._DummyThread):
                thread.join(max(0.0, deadline - time.monotonic()))
        found = describe_threads([thread for thread in started if thread.is_alive()])
        for number, target in open_descriptors().items():
            if self._descriptors.get(number) != target:
                found.append(f"file descriptor {number} -> {target}")
        return found


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test after which a thread, a socket or a file descriptor is left."""
    leftovers = Leftovers()
    yield
    if leftovers.find(ENDING_TIME):
        # A reference cycle may keep them alive. If the garbage collector closes them, there is
        # still a warning, and warnings are errors.
        gc.collect()
        found = leftovers.find(ENDING_TIME)
        if found:
            pytest.fail("left behind by this test:\n" + "\n".join(found), pytrace=False)


class PatientServer(SSEServer):
    """A server that waits long enough for the request of a process that has just been started."""

    def accept(self, timeout: float = PATIENCE) -> Exchange:
        return super().accept(timeout)


@pytest.fixture
def server() -> Iterator[SSEServer]:
    """A started server, with nothing queued and no handler."""
    with PatientServer() as started:
        yield started


@dataclass(frozen=True)
class Tls:
    """An unknown certificate authority, and a server certificate from it."""

    server_context: ssl.SSLContext
    ca_bundle: str


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A server-side context for 127.0.0.1 and localhost, and the bundle that trusts it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return Tls(context, str(bundle))


@pytest.fixture
def tls_server(tls: Tls) -> Iterator[SSEServer]:
    """A started https server."""
    with SSEServer(ssl_context=tls.server_context) as started:
        yield started


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt processes started here, even if this process ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
