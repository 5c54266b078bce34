"""How the relay grows: events a second by the number of workers and of streams.

``python benchmarks/relay.py`` prints a table. All processes are real and on this machine, Redis and
the server of the events among them: they share its cores, and the table says how many there are.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from sse_client.relay.connection import RedisServer
from sse_client.relay.status import read_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What an event holds, in bytes, and how many are sent in a run, over all streams.
PAYLOAD = 200
EVENTS = 400_000

#: Which combinations are measured.
WORKERS = (1, 2, 3)
STREAMS = (1, 10, 100)

#: How long anything may take, in seconds, and how often it is looked at.
_PATIENCE = 120.0
_TICK = 0.02

_LEASE_TIME = 2.0


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        workers: How many processes relayed.
        streams: How many streams they shared.
        rate: Events a second, from the first that is sent to the last that is written.
        redis_cpu: Microseconds of Redis's time for each event.
        memory: Bytes of Redis's memory for each entry.
        network: Bytes that Redis received for each event.
    """

    workers: int
    streams: int
    rate: float
    redis_cpu: float
    memory: float
    network: float


class Source:
    """Sends each connection its events as fast as it takes them, once it is told to."""

    def __init__(self, events: int) -> None:
        self.go = threading.Event()
        data = "x" * PAYLOAD
        self._wire = "".join(f"id: {n}\ndata: {data}\n\n" for n in range(1, events + 1)).encode()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            accepted, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted:
            accepted.recv(65536)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
            self.go.wait()
            try:
                accepted.sendall(self._wire)
                accepted.recv(1)  # until the client leaves
            except OSError:
                pass


@contextmanager
def running_redis(folder: str, fsync: str) -> Iterator[redis.Redis]:
    """A Redis of its own, with an append-only file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = shutil.which("redis-server") or "/usr/bin/redis-server"
    options = ["--bind", "127.0.0.1", "--dir", folder, "--save", "", "--loglevel", "warning"]
    options += ["--appendonly", "yes", "--appendfsync", fsync]
    process = subprocess.Popen([server, "--port", str(port), *options], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    try:
        wait_for(lambda: _answers(client))
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing moves")
        threading.Event().wait(_TICK)


def measure(workers: int, streams: int, fsync: str, events: int) -> Result:
    """Start all, let the events go once the streams are shared, and take the time."""
    each = events // streams
    total = each * streams
    names = [f"s{number}" for number in range(streams)]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        client = stack.enter_context(running_redis(folder, fsync))
        port = client.get_connection_kwargs()["port"]
        address = f"redis://127.0.0.1:{port}"
        source = Source(each)
        config = Path(folder) / "relays.toml"
        lines = [f'redis = "{address}"', f"lease_time = {_LEASE_TIME}"]
        for name in names:
            url = f"http://127.0.0.1:{source.port}/"
            lines += ["[[streams]]", f'url = "{url}"', f'stream = "{name}"']
        config.write_text("\n".join(lines))
        for _ in range(workers):
            command = [sys.executable, "-m", "sse_client", "relay", "--config", str(config)]
            process = subprocess.Popen(command)
            stack.callback(process.wait)
            stack.callback(process.kill)
        server = RedisServer(address)
        stack.callback(server.close)
        # Shared as fairly as it gets, and open: a worker has `streams / workers`, rounded up.
        share = -(-streams // workers)

        def is_shared() -> bool:
            owners = [status.owner for status in read_status(server, names)]
            counts = [owners.count(owner) for owner in set(owners)]
            return None not in owners and max(counts) <= share

        wait_for(is_shared)
        threading.Event().wait(1.0)  # until the connections are open
        before, memory = client.info("all"), client.info("memory")["used_memory"]

        def written() -> int:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.xlen(name)
            return sum(pipeline.execute())

        source.go.set()
        began = time.monotonic()
        wait_for(lambda: written() >= total)
        seconds = time.monotonic() - began
        after = client.info("all")
        cpu = sum(after[k] - before[k] for k in ("used_cpu_user", "used_cpu_sys"))
        network = after["total_net_input_bytes"] - before["total_net_input_bytes"]
        return Result(
            workers,
            streams,
            total / seconds,
            cpu / total * 1e6,
            (client.info("memory")["used_memory"] - memory) / total,
            network / total,
        )


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="in each run")
    parser.add_argument("--fsync", default="everysec", choices=["everysec", "always", "no"])
    parser.add_argument("--quick", action="store_true", help="one run only")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {PAYLOAD} bytes an event, appendfsync {options.fsync}\n")
    print("| workers | streams | events/s | Redis CPU/event | memory/entry | network/event |")
    print("| --: | --: | --: | --: | --: | --: |")
    combinations = [(1, 1)] if options.quick else itertools.product(WORKERS, STREAMS)
    for workers, streams in combinations:
        if workers > streams:
            continue
        one = measure(workers, streams, options.fsync, options.events)
        print(
            f"| {workers} | {streams} | {one.rate:,.0f} | {one.redis_cpu:.1f} µs "
            f"| {one.memory:.0f} B | {one.network:.0f} B |",
            flush=True,
        )


if __name__ == "__main__":
    main()
