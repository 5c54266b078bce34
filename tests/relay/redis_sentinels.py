"""A master and a replica under three Sentinels, for tests."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import redis
from processes import Process
from redis_process import PATIENCE, REDIS_SERVER, RedisProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

SERVICE = "main"

_CONFIG = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {service} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {service} 300
sentinel failover-timeout {service} 3000
"""


class RedisSentinels:
    """The processes. If the master is killed, the replica is promoted."""

    def __init__(self, folder: Path) -> None:
        for name in ("master", "replica"):
            (folder / name).mkdir()
        self._folder = folder
        self.master = RedisProcess(folder / "master", repl_diskless_sync_delay="0")
        self.replica = RedisProcess(folder / "replica", replicaof=f"127.0.0.1 {self.master.port}")
        self._ports = [free_port() for _ in range(3)]
        self.clients = [redis.Redis(port=port, protocol=2) for port in self._ports]
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}/0"

    def await_promotion(self) -> None:
        """Wait until all Sentinels name the replica as the master."""
        for client in self.clients:
            self._await(
                lambda client=client: (
                    int(client.sentinel_master(SERVICE)["port"]) == self.replica.port
                )
            )

    def _await_knowledge(self) -> None:
        """Wait until each Sentinel knows the replica and both other Sentinels."""
        for client in self.clients:

            def knows(client: redis.Redis = client) -> bool:
                found = client.sentinel_master(SERVICE)
                return (found["num-slaves"], found["num-other-sentinels"]) == (1, 2)

            self._await(knows)

    def _await(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(redis.RedisError):
                if condition():
                    return
            assert time.monotonic() < deadline, "the Sentinels are not ready"
            threading.Event().wait(0.02)

    def _start_sentinel(self, port: int) -> Process:
        folder = self._folder / str(port)
        folder.mkdir()
        config = folder / "sentinel.conf"
        text = _CONFIG.format(port=port, folder=folder, service=SERVICE, master=self.master.port)
        config.write_text(text)
        return Process(
            [str(REDIS_SERVER), str(config), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.master)
            stack.enter_context(self.replica)
            for port, client in zip(self._ports, self.clients, strict=True):
                process = self._start_sentinel(port)
                stack.callback(process.wait, PATIENCE)
                stack.callback(process.kill)
                stack.callback(client.close)
            self._await(
                lambda: self.replica.client.info("replication")["master_link_status"] == "up"
            )
            self._await_knowledge()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
