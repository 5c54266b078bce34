"""How the relay scales: events per second by the numbers of workers and streams.

``python benchmarks/relay.py`` prints a table. All processes, including Redis and the server of the
events, run on this machine and share its cores. The table shows the number of cores.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from sse_client.relay.connection import RedisServer
from sse_client.relay.status import read_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The size of an event in bytes, and the number of events in a run, over all streams.
PAYLOAD = 200
EVENTS = 400_000

#: The combinations that are measured.
WORKERS = (1, 2, 3)
STREAMS = (1, 10, 100)

#: How long a batch of slow streams waits for more events, in seconds.
BATCH_TIMES = (0.0, 0.1, 0.5)

#: How long anything may take, and the interval between two checks, in seconds.
_PATIENCE = 120.0
_TICK = 0.02

_LEASE_TIME = 2.0


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        workers: The number of processes that relayed.
        streams: The number of streams that they shared.
        rate: Events per second, from the first event sent to the last one written.
        worker_cpu: Microseconds of the workers' processor time per event.
        redis_cpu: Microseconds of Redis's processor time per event.
        memory: Bytes of Redis's memory per entry.
        network: Bytes that Redis received per event.
    """

    workers: int
    streams: int
    rate: float
    worker_cpu: float
    redis_cpu: float
    memory: float
    network: float


@dataclass(frozen=True)
class Load:
    """The streams to relay.

    Attributes:
        streams: The number of streams.
        events: The number of events of each stream.
        rate: Events per second of each stream. None sends them as fast as they are read.
        batch_time: How long a batch waits for more events, in seconds.
    """

    streams: int
    events: int
    rate: float | None = None
    batch_time: float = 0.0


class Source:
    """Sends each connection its events on request."""

    def __init__(self, load: Load) -> None:
        self.go = threading.Event()
        self._load = load
        self._clients: list[socket.socket] = []
        data = "x" * PAYLOAD
        self._blocks = [
            f"id: {number}\ndata: {data}\n\n".encode() for number in range(1, load.events + 1)
        ]
        self._wire = b"".join(self._blocks)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        if load.rate is not None:
            threading.Thread(target=self._pace, args=(load.rate,), daemon=True).start()

    def _pace(self, rate: float) -> None:
        """Send each client one event, and the next when it is due, from one thread."""
        self.go.wait()
        began = time.monotonic()
        for number, block in enumerate(self._blocks):
            threading.Event().wait(max(0.0, began + number / rate - time.monotonic()))
            for client in self._clients:
                client.sendall(block)

    def _accept(self) -> None:
        while True:
            accepted, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted:
            accepted.recv(65536)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
            if self._load.rate is not None:
                self._clients.append(accepted)
            self.go.wait()
            with suppress(OSError):
                if self._load.rate is None:
                    accepted.sendall(self._wire)
                accepted.recv(1)  # until the client leaves


@contextmanager
def running_redis(folder: str, fsync: str) -> Iterator[redis.Redis]:
    """A separate Redis with an append-only file."""
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
            raise TimeoutError("no progress")
        threading.Event().wait(_TICK)


def measure(workers: int, load: Load, fsync: str) -> Result:
    """Start everything, release the events once the streams are shared, and measure the time."""
    streams = load.streams
    total = load.events * streams
    names = [f"s{number}" for number in range(streams)]
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        client = stack.enter_context(running_redis(folder, fsync))
        port = client.get_connection_kwargs()["port"]
        address = f"redis://127.0.0.1:{port}"
        source = Source(load)
        config = Path(folder) / "relays.toml"
        lines = [f'redis = "{address}"', f"lease_time = {_LEASE_TIME}"]
        for name in names:
            url = f"http://127.0.0.1:{source.port}/"
            lines += ["[[streams]]", f'url = "{url}"', f'stream = "{name}"']
            lines.append(f"batch_time = {load.batch_time}")
        config.write_text("\n".join(lines))
        for _ in range(workers):
            command = [sys.executable, "-m", "sse_client", "relay", "--config", str(config)]
            process = subprocess.Popen(command)
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.kill)
        server = RedisServer(address)
        stack.callback(server.close)
        # Shared evenly, and open: a worker has at most `streams / workers`, rounded up.
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

        worked = sum(map(_cpu_seconds, processes))
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
            (sum(map(_cpu_seconds, processes)) - worked) / total * 1e6,
            cpu / total * 1e6,
            (client.info("memory")["used_memory"] - memory) / total,
            network / total,
        )


def _cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time of a process so far, in seconds. Only on Linux."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(first: object, second: object, result: Result) -> None:
    """Print a row of a table."""
    print(
        f"| {first} | {second} | {result.rate:,.0f} | {result.worker_cpu:.1f} µs "
        f"| {result.redis_cpu:.1f} µs | {result.memory:.0f} B | {result.network:.0f} B |",
        flush=True,
    )


def head(first: str, second: str) -> None:
    """Print the head of a table."""
    figures = "events/s | worker CPU/event | Redis CPU/event | memory/entry | network/event"
    print(f"\n| {first} | {second} | {figures} |\n|{' --: |' * 7}", flush=True)


def main() -> None:
    """Measure, and print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="events in each run")
    parser.add_argument("--fsync", default="everysec", choices=["everysec", "always", "no"])
    parser.add_argument("--quick", action="store_true", help="only one run")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {PAYLOAD} bytes an event, appendfsync {options.fsync}")
    head("workers", "streams")
    combinations = [(1, 1)] if options.quick else list(itertools.product(WORKERS, STREAMS))
    for workers, streams in combinations:
        if workers <= streams:
            load = Load(streams, options.events // streams)
            show(workers, streams, measure(workers, load, options.fsync))
    if options.quick:
        return
    head("streams of 50 events/s", "batch_time")
    for batch_time in BATCH_TIMES:
        load = Load(100, 300, 50.0, batch_time)
        show(load.streams, f"{batch_time} s", measure(1, load, options.fsync))


if __name__ == "__main__":
    main()
