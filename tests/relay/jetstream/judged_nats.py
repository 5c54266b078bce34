"""Several relays into one stream of JetStream, all of which fail again and again.

``python judged_nats.py --faults 50`` starts servers, relays and an origin of numbered events, kills
and pauses them at random, and compares the messages with the events. The events and the verdict are
those of the judge of the relay into Redis. ``--unconditional`` shows that the judge finds
duplicates. ``--rate-only`` measures how fast a backlog is written.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path += [str(HERE.parent), str(HERE.parents[1] / "chaos"), str(HERE.parents[1])]

from child import Child, Ports  # noqa: E402  # after the path
from commands import MISSING, find_nats_server  # noqa: E402
from judged import Judgement  # noqa: E402
from processes import Process  # noqa: E402

from sse_client.relay.jetstream.bucket import BUCKET, Bucket  # noqa: E402
from sse_client.relay.jetstream.connection import NatsServer  # noqa: E402
from sse_client.relay.jetstream.failures import NatsError  # noqa: E402
from sse_client.relay.jetstream.lease import read_value  # noqa: E402
from sse_client.relay.jetstream.stream import ID, read_headers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        server = find_nats_server()
        if server is None:
            raise FileNotFoundError(MISSING["nats-server"])
        clients = [ports.take() for _ in range(size)]
        routes = [ports.take() for _ in range(size)]
        self.address = ",".join(f"nats://127.0.0.1:{port}" for port in clients)
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
    """The judge's view of JetStream.

    Args:
        cluster: The servers.
        is_atomic: Whether the stream allows atomic batches, if its server has them.
    """

    def __init__(self, cluster: Cluster, *, is_atomic: bool) -> None:
        self._replicas = cluster.size
        self._is_atomic = is_atomic
        self._server = NatsServer(cluster.address)
        self._bucket = Bucket(self._server, BUCKET)

    def _ask(self, what: str, **question: object) -> dict[str, Any]:
        """Send a request until JetStream replies: a stream may have no leader for some seconds."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._server.ask(what, **question)
            except NatsError:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(_TICK)

    def set_up(self) -> None:
        """Create the stream, once the servers are ready."""
        self._ask(
            f"STREAM.CREATE.{STREAM}",
            name=STREAM,
            subjects=[STREAM],
            num_replicas=self._replicas,
            allow_atomic=self._is_atomic,
        )

    def length(self) -> int:
        """The number of messages, -1 if JetStream does not reply."""
        with contextlib.suppress(NatsError):
            return self._server.length(STREAM)
        return -1

    def owner(self) -> str:
        """The relay that holds the lease, ``""`` if there is none."""
        with contextlib.suppress(NatsError):
            return str(read_value(self._bucket.get(STREAM)).get("owner", ""))
        return ""

    def messages(self) -> list[tuple[str, str]]:
        """All messages, as pairs of ID and data."""
        found = []
        length = self._ask(f"STREAM.INFO.{STREAM}")["state"]["messages"]
        for number in range(1, length + 1):
            message = self._ask(f"STREAM.MSG.GET.{STREAM}", seq=number)["message"]
            data = base64.b64decode(message["data"]).decode()
            found.append((read_headers(message)[ID], data))
        return found

    def close(self) -> None:
        """Close the connection."""
        self._server.close()


class Run:
    """The processes, and their faults."""

    def __init__(self, options: argparse.Namespace, cluster: Cluster, ports: Ports) -> None:
        self.judgement = Judgement(options.seed)
        self._rng = random.Random(options.seed)
        self._cluster = cluster
        self._jetstream = JetStream(cluster, is_atomic=not options.no_atomic)
        port = ports.take()
        rate = 1e6 if options.rate_only else RATE
        epoch = time.monotonic()
        origin = {"port": port, "tls_port": 0, "epoch": epoch, "rate": rate, "with_retry": False}
        self.origin = Child("origin.py", origin)
        relay = {
            "url": f"http://127.0.0.1:{port}/events?stream=1&framing=chunked",
            "nats": cluster.address,
            "stream": STREAM,
            "conditional": not options.unconditional,
            "lease_time": LEASE_TIME,
        }
        buckets = [f"{BUCKET}-{number}" if options.no_lease else BUCKET for number in range(3)]
        script = str(HERE / "jetstream_process.py")
        self.relays = [Child(script, {**relay, "bucket": bucket}) for bucket in buckets]
        if options.rate_only:
            del self.relays[1:]

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Run all processes."""
        self._jetstream.set_up()
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
    parser.add_argument("--unconditional", action="store_true", help="write without conditions")
    parser.add_argument("--no-lease", action="store_true", help="all relays write at once")
    parser.add_argument("--no-atomic", action="store_true", help="without atomic batches")
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
