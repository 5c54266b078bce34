"""A cluster of three masters for tests, each of which can be killed, frozen and started again."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import redis
from redis_process import PATIENCE, RedisProcess

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

_SLOTS = 16384
_TICK = 0.02


class RedisClusterProcesses:
    """Three masters, each with a third of the slots and no replica."""

    def __init__(self, folder: Path) -> None:
        self.nodes = []
        for number in range(3):
            (folder / str(number)).mkdir()
            node = RedisProcess(
                folder / str(number),
                cluster_enabled="yes",
                # A master that is dead for less than this does not disturb the others.
                cluster_node_timeout="60000",
                cluster_require_full_coverage="no",
                save="",
            )
            self.nodes.append(node)
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"redis+cluster://{hosts}"

    def node_of(self, key: str) -> RedisProcess:
        """The master that has the slot of a key."""
        slot = redis.crc.key_slot(key.encode())
        return self.nodes[slot * 3 // _SLOTS]

    def names_of(self, node: RedisProcess, count: int) -> list[str]:
        """Return names of streams whose keys are on this master."""
        names = (f"n{number}" for number in range(1000))
        return [name for name in names if self.node_of(name) is node][:count]

    def flush(self) -> None:
        """Empty all masters, and start those that are down."""
        for node in self.nodes:
            node.ensure_running()
            node.client.flushall()
        self._await_ok()

    def _await_ok(self) -> None:
        deadline = time.monotonic() + PATIENCE
        for node in self.nodes:
            while node.client.cluster("INFO")["cluster_state"] != "ok":
                assert time.monotonic() < deadline, "the cluster is not ready"
                threading.Event().wait(_TICK)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for number, node in enumerate(self.nodes):
                stack.enter_context(node)
                begin, end = (-(-_SLOTS * each // 3) for each in (number, number + 1))
                node.client.execute_command("CLUSTER ADDSLOTS", *range(begin, end))
                node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            for node in self.nodes[1:]:
                node.client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
            self._await_ok()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
