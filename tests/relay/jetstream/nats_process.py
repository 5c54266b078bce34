"""A NATS server for one test, on a free port, in a folder that is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from commands import MISSING, find_nats_server
from processes import Process
from redis_process import free_port

from sse_client.relay.jetstream.connection import NatsServer
from sse_client.relay.jetstream.failures import NO_STREAM, NatsError
from sse_client.relay.jetstream.stream import read_headers

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from typing_extensions import Self

NATS_SERVER = find_nats_server()

#: The lease time of all tests, in seconds. They share a bucket.
LEASE = 0.6

#: How long it may take to start, in seconds.
PATIENCE = 20.0


class NatsProcess:
    """A server with JetStream, which can be killed, frozen and started again.

    Without a server, the test that asks for one is skipped.

    Attributes:
        nats: A connection to it, for the test.
    """

    def __init__(self, folder: Path, *options: str, jetstream: bool = True) -> None:
        if NATS_SERVER is None:
            pytest.skip(MISSING["nats-server"])
        pytest.importorskip("nats", reason="nats-py is not installed (the extra nats)")
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._command = [
            *(NATS_SERVER, "--addr", "127.0.0.1", "--port", str(self.port), *options),
            *(("--jetstream", "--store_dir", str(folder)) if jetstream else ()),
        ]
        self._has_jetstream = jetstream
        self._process: Process | None = None
        self.nats = NatsServer(self.url)

    def start(self) -> None:
        """Start it, and wait until it replies."""
        self._process = Process(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.nats.ask("INFO")
            except NatsError as error:
                if not error.passes:
                    raise
                if not self._has_jetstream and "not available" in str(error):
                    return
            else:
                return
            assert self._process.poll() is None, "nats-server has ended"
            assert time.monotonic() < deadline, "nats-server does not reply"
            self._pause()

    def _pause(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(0.01)
        except subprocess.TimeoutExpired:
            return

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Stop it, with its connections open, and wait until it has stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let it continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def length(self, stream: str) -> int:
        """The number of messages of a stream, 0 if it doesn't exist."""
        try:
            return self.nats.length(stream)
        except NatsError as error:
            if error.code != NO_STREAM:
                raise
            return 0

    def messages(self, stream: str) -> list[dict[str, Any]]:
        """All messages of a stream, as JetStream's API replies them."""
        state = self.nats.ask(f"STREAM.INFO.{stream}")["state"]
        return [
            self.nats.ask(f"STREAM.MSG.GET.{stream}", seq=sequence)["message"]
            for sequence in range(state["first_seq"], state["last_seq"] + 1)
        ]

    def ids(self, stream: str) -> list[str]:
        """The IDs of all messages of a stream."""
        return [read_headers(message)["Sse-Id"] for message in self.messages(stream)]

    def disconnect(self) -> None:
        """Close the connection, and end its thread. The next request opens another one."""
        self.nats.close()
        self.nats = NatsServer(self.url)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.nats.close()
        self.kill()
