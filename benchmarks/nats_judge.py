"""Judges the experiment with NATS JetStream: several relays, all of which fail again and again.

``python benchmarks/nats_judge.py --faults 50`` starts servers, relays and an origin of numbered
events, kills and pauses them at random, and compares the messages with the events. The events and
the verdict are those of the judge of the relay into Redis. ``--guard message-id`` and ``--guard
none`` show that the judge finds duplicates. ``--rate-only`` measures how fast a backlog is written.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
sys.path += [str(TESTS / "relay"), str(TESTS / "chaos"), str(TESTS)]

import nats  # noqa: E402  # after the path
from child import Child, Ports  # noqa: E402
from judged import Judgement  # noqa: E402
from nats.js import api  # noqa: E402
from nats_relay import GUARDS, ID, LEASES  # noqa: E402
from processes import Process  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from typing_extensions import Self

STREAM = "numbers"
RATE = 150.0
LEASE_TIME = 1.0
_LONGEST_SLEEP = 2.5 * LEASE_TIME

#: How long to wait for progress, in seconds, and how often to look.
PATIENCE = 60.0
_TICK = 0.05


class Cluster:
    """Servers of NATS: one, or three whose streams have three replicas.

    Args:
        folder: Where they store messages.
        ports: Where the ports come from.
        size: How many servers there are.
    """

    def __init__(self, folder: Path, ports: Ports, size: int) -> None:
        server = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
        if server is None:
            raise FileNotFoundError("nats-server is not installed (on Debian: apt install it)")
        clients = [ports.take() for _ in range(size)]
        routes = [ports.take() for _ in range(size)]
        self.addresses = [f"nats://127.0.0.1:{port}" for port in clients]
        self._commands = []
        for number in range(size):
            command = [server, "--jetstream", "--addr", "127.0.0.1", "--port", str(clients[number])]
            command += ["--store_dir", str(folder / str(number)), "--name", f"server-{number}"]
            if size > 1:
                others = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
                command += ["--cluster_name", "judged", "--routes", others]
                command += ["--cluster", f"nats://127.0.0.1:{routes[number]}"]
            self._commands.append(command)
        self._processes: dict[int, Process] = {}

    @property
    def size(self) -> int:
        """The number of servers."""
        return len(self._commands)

    def start(self, number: int) -> None:
        """Start a server."""
        self._processes[number] = Process(self._commands[number], stderr=subprocess.DEVNULL)

    def kill(self, number: int) -> None:
        """End a server as a crash does."""
        process = self._processes.pop(number)
        process.kill()
        process.wait(PATIENCE)

    def signal(self, number: int, what: signal.Signals) -> None:
        """Freeze a server, or let it continue."""
        self._processes[number].send_signal(what)

    def __enter__(self) -> Self:
        for number in range(self.size):
            self.start(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._processes):
            self.kill(number)


class JetStream:
    """JetStream for a program that blocks: an event loop on a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._cluster = cluster
        self._connection: Any = None
        self._stream: Any = None

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  # any result
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def set_up(self, window: float) -> None:
        """Create the stream and the bucket of the leases, once the servers are ready."""
        self._call(self._set_up(window))

    async def _set_up(self, window: float) -> None:
        self._connection = await nats.connect(
            self._cluster.addresses,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            error_cb=_ignore,
        )
        self._stream = self._connection.jetstream(timeout=2.0)
        replicas = self._cluster.size
        while True:
            with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError):
                await self._stream.create_key_value(
                    bucket=LEASES, ttl=LEASE_TIME, replicas=replicas
                )
                await self._stream.add_stream(
                    name=STREAM,
                    subjects=[STREAM],
                    num_replicas=replicas,
                    duplicate_window=window,
                    storage=api.StorageType.FILE,
                )
                return
            await asyncio.sleep(_TICK)

    def length(self) -> int:
        """The number of messages, -1 if JetStream does not reply."""
        try:
            return int(self._call(self._stream.stream_info(STREAM)).state.messages)
        except (nats.errors.Error, asyncio.TimeoutError):
            return -1

    def owner(self) -> str:
        """The process ID of the relay that holds the lease, ``""`` if there is none."""
        try:
            bucket = self._call(self._stream.key_value(LEASES))
            found: bytes = self._call(bucket.get(STREAM)).value
        except (nats.errors.Error, asyncio.TimeoutError):
            return ""
        return found.decode().rpartition(":")[0]

    def messages(self) -> list[tuple[str, str]]:
        """All messages, as pairs of ID and data."""
        return list(self._call(self._read()))

    async def _read(self) -> list[tuple[str, str]]:
        info = await self._stream.stream_info(STREAM)
        reading = await self._stream.subscribe(STREAM, ordered_consumer=True)
        found = []
        for _ in range(info.state.messages):
            message = await reading.next_msg(timeout=10.0)
            found.append((unquote(message.headers[ID]), message.data.decode()))
        return found

    def close(self) -> None:
        """Close the connection and end the loop."""
        self._call(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _ignore(_: Exception) -> None:
    """Leave it to whoever waits for a reply."""


class Run:
    """The processes, and their faults."""

    def __init__(self, options: argparse.Namespace, cluster: Cluster, ports: Ports) -> None:
        self.judgement = Judgement(options.seed)
        self._rng = random.Random(options.seed)
        self._cluster = cluster
        self._jetstream = JetStream(cluster)
        self._window = options.window
        port = ports.take()
        rate = 1e6 if options.rate_only else RATE
        epoch = time.monotonic()
        origin = {"port": port, "tls_port": 0, "epoch": epoch, "rate": rate, "with_retry": False}
        self.origin = Child("origin.py", origin)
        relay = {
            "url": f"http://127.0.0.1:{port}/events?stream=1&framing=chunked",
            "servers": cluster.addresses,
            "stream": STREAM,
            "guard": options.guard,
            "lease_time": 0.0 if options.no_lease else LEASE_TIME,
        }
        script = str(HERE / "nats_relay.py")
        self.relays = [Child(script, relay) for _ in range(1 if options.rate_only else 3)]

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Run all processes."""
        self._jetstream.set_up(self._window)
        with contextlib.ExitStack() as stack:
            stack.callback(self._jetstream.close)
            for process in (self.origin, *self.relays):
                stack.enter_context(process)
            self._await_progress()
            yield

    def go(self, faults: int) -> Judgement:
        """Inject faults, let all relays finish, and judge."""
        began = time.monotonic()
        with self._running():
            while self.judgement.faults.total() < faults:
                kind = self._rng.choice(_FAULTS)
                self.judgement.faults[kind.__name__] += 1
                kind(self)
                self._await_progress()
                self._pause(0.3)
            self.origin.order(finish=True)
            last = self.origin.wait_for("finishing")["last"]
            self._await(lambda: self._jetstream.length() >= last)
            self._pause(2 * _LONGEST_SLEEP)  # for writes that are late
            self.judgement.judge_stream(self._jetstream.messages(), last)
        self.judgement.seconds = time.monotonic() - began
        return self.judgement

    def measure(self, seconds: float) -> float:
        """Return how many messages of a backlog are written per second."""
        with self._running():
            first, began = self._jetstream.length(), time.monotonic()
            threading.Event().wait(seconds)
            return (self._jetstream.length() - first) / (time.monotonic() - began)

    def _choose_relay(self) -> tuple[Child, bool]:
        owner = self._jetstream.owner()
        owners = [each for each in self.relays if each.wait_for("ready")["owner"] == owner]
        if owners and self._rng.random() < 0.7:
            return owners[0], True
        relay = self._rng.choice(self.relays)
        return relay, relay in owners

    def relay_killed(self) -> None:
        """Kill a relay, more often the one that relays, and start it again."""
        relay, _ = self._choose_relay()
        relay.kill()
        relay.start()

    def relay_asleep(self) -> None:
        """Pause a relay, more often the one that relays, often for longer than its lease."""
        relay, _ = self._choose_relay()
        relay.freeze()
        self._pause(_LONGEST_SLEEP)
        relay.thaw()

    def nats_killed(self) -> None:
        """Kill a server of NATS, and start it again."""
        number = self._rng.randrange(self._cluster.size)
        self._cluster.kill(number)
        self._pause(1.0)
        self._cluster.start(number)

    def nats_asleep(self) -> None:
        """Pause a server of NATS."""
        number = self._rng.randrange(self._cluster.size)
        self._cluster.signal(number, signal.SIGSTOP)
        self._pause(_LONGEST_SLEEP)
        self._cluster.signal(number, signal.SIGCONT)

    def origin_killed(self) -> None:
        """Kill the server of the events, and start it again."""
        self.origin.kill()
        self._pause(0.2)
        self.origin.start()

    def _await_progress(self) -> None:
        length = -1
        while length < 0:
            length = self._jetstream.length()
        self._await(lambda: self._jetstream.length() > length)

    def _await(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no progress: {self.judgement}")
            threading.Event().wait(_TICK)

    def _pause(self, longest: float) -> None:
        threading.Event().wait(self._rng.uniform(0.0, longest))


_FAULTS = [
    *[Run.relay_killed] * 3,
    *[Run.relay_asleep] * 4,
    *[Run.nats_killed] * 2,
    Run.nats_asleep,
    Run.origin_killed,
]


def main() -> int:
    """Run, print the figures, and return 0 if nothing was lost, duplicated or misplaced."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--servers", type=int, default=1, help="1, or 3 with three replicas")
    parser.add_argument("--guard", choices=GUARDS, default=GUARDS[0])
    parser.add_argument("--no-lease", action="store_true", help="all relays write at once")
    parser.add_argument("--window", type=float, default=120.0, help="of duplicates, in seconds")
    parser.add_argument("--rate-only", action="store_true", help="measure, without faults")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Ports() as ports,
        Cluster(Path(folder), ports, options.servers) as cluster,
    ):
        run = Run(options, cluster, ports)
        if options.rate_only:
            print(f"{run.measure(10.0):,.0f} events per second")
            return 0
        found = run.go(options.faults)
    verdict = found.lost + found.doubled + found.misplaced == 0 and found.entries > 0
    shown = ("seed", "faults", "entries", "lost", "doubled", "misplaced", "seconds")
    print(json.dumps({**{name: getattr(found, name) for name in shown}, "holds": verdict}))
    return 0 if verdict else 1


if __name__ == "__main__":
    sys.exit(main())
