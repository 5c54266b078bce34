"""A Redis or Valkey server for one test, on a free port, in a temporary folder."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from commands import MISSING, find_redis_server
from processes import Process

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

REDIS_SERVER = find_redis_server()

#: How long the server may take to start, in seconds.
PATIENCE = 20.0


#: Ports below those that systems choose for connections, so no other test gets one of them before
#: the server listens on it. The bus of a cluster has the port of its node plus 10,000.
_PORTS = range(10_000, 22_000)

_random = random.SystemRandom()  # not one that all processes of a test run may have seeded alike


def free_port() -> int:
    """Return a port on which nothing listens."""
    while True:
        port = _random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RedisProcess:
    """A server with an append-only file, which can be killed, frozen and started again.

    If there is no server, the test that requests one is skipped.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        if REDIS_SERVER is None:
            pytest.skip(MISSING["redis"])
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        defaults = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            "appendonly": "yes",
            # The file is written before each reply, which survives a kill. Only a power cut would
            # need fsync, which waits for the disk.
            "appendfsync": "no",
            "loglevel": "warning",
        }
        settings = {**defaults, **options}
        self._command = [REDIS_SERVER]
        for name, value in settings.items():
            self._command += [f"--{name.replace('_', '-')}", value]
        self._process: Process | None = None
        self.client = redis.Redis(port=self.port, password=options.get("requirepass"), protocol=2)

    def start(self) -> None:
        """Start it, and wait until it has loaded its data."""
        self._process = Process(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(redis.ConnectionError):
                if self.client.ping():
                    return
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < deadline, "redis-server does not answer"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)

    def kill(self) -> None:
        """End it like a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def ensure_running(self) -> None:
        """Start it if it was killed."""
        if self._process is None:
            self.start()

    def freeze(self) -> None:
        """Stop the process, while its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process continue, unless it was killed."""
        if self._process is not None:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def config(self, **settings: Any) -> None:
        """Change settings while it runs."""
        for name, value in settings.items():
            self.client.config_set(name.replace("_", "-"), value)

    @property
    def has_lag(self) -> bool:
        """Whether it reports the lag of a consumer group, as Redis 7.0 and newer do."""
        version: str = self.client.info("server")["redis_version"]
        return int(version.partition(".")[0]) >= 7

    def entries(self, stream: str) -> list[dict[str, str]]:
        """All entries of a stream."""
        found = self.client.xrange(stream)
        return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in found]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.kill()
