"""Several relays and consumers on one Redis, all of which fail repeatedly.

``python judged.py --faults 50 [--seed N]`` starts a run by hand. ``make relay-soak`` calls it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "chaos"))

import redis as library  # noqa: E402  # after the path is set
from child import Child, Ports  # noqa: E402
from numbered import data_of  # noqa: E402
from redis_process import RedisProcess  # noqa: E402

#: How long to wait for a condition, in seconds.
PATIENCE = 60.0

STREAM = "numbers"
GROUP = "judged"
LEASE_TIME = 1.0
RATE = 150.0

#: The number of relays, and of consumers.
COPIES = 3

#: The interval between two checks of Redis by the judge, in seconds.
_TICK = 0.02

#: How long a process is paused: longer than the lease, or less.
_LONGEST_SLEEP = 2.5 * LEASE_TIME


@dataclass
class Judgement:
    """The result of a run.

    Attributes:
        seed: The seed of the faults.
        faults: The number of faults of each kind.
        entries: Entries in the stream.
        lost: Numbers that were offered but are not in the stream.
        doubled: Entries with a number that an earlier entry has.
        misplaced: Entries in a wrong place, or with wrong content.
        unprocessed: Numbers that no consumer has processed.
        again: Numbers that were processed more than once.
        tolerated: The allowed number of those: one in progress at each fault of a consumer or of
            Redis.
        longest_take_over: The longest time from a fault of the owner to an entry of another relay,
            in seconds.
        seconds: The duration of the run.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    lost: int = 0
    doubled: int = 0
    misplaced: int = 0
    unprocessed: int = 0
    again: int = 0
    tolerated: int = 0
    take_overs: int = 0
    longest_take_over: float = 0.0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        wrong = self.lost + self.doubled + self.misplaced + self.unprocessed
        return not wrong and self.again <= self.tolerated and self.entries > 0

    def judge_stream(self, entries: list[tuple[str, str]], last: int) -> None:
        """Judge the entries, given as pairs of ID and data, in order."""
        self.entries = len(entries)
        counts = Counter(id for id, _ in entries)
        self.lost = sum(str(number) not in counts for number in range(1, last + 1))
        self.doubled = sum(count - 1 for count in counts.values())
        expected = [(str(number), data_of(number)) for number in range(1, len(entries) + 1)]
        self.misplaced = sum(one != other for one, other in zip(entries, expected, strict=True))

    def judge_ledger(self, processed: list[int], last: int) -> None:
        """Judge the events that the consumers have processed."""
        counts = Counter(processed)
        self.unprocessed = sum(number not in counts for number in range(1, last + 1))
        self.again = sum(count - 1 for count in counts.values())


class Run:
    """The processes, and the faults injected into them."""

    def __init__(
        self, seed: int, folder: Path, redis: RedisProcess, ports: Ports, copies: int
    ) -> None:
        self.judgement = Judgement(seed)
        self._rng = random.Random(seed)
        self._redis = redis
        self._ledger = folder / "ledger"
        self._ledger.touch()
        port = ports.take()
        origin = {"port": port, "tls_port": 0, "epoch": time.monotonic(), "rate": RATE}
        self.origin = Child("origin.py", {**origin, "with_retry": False})
        url = f"http://127.0.0.1:{port}/events?stream=1&framing=chunked"
        shared = {"redis": redis.url, "stream": STREAM}
        relay = {**shared, "url": url, "lease_time": LEASE_TIME}
        consumer = {**shared, "group": GROUP, "ledger": str(self._ledger)}
        self.relays = [Child(str(HERE / "relay_process.py"), relay) for _ in range(copies)]
        self.consumers = [Child(str(HERE / "consumer_process.py"), consumer) for _ in range(copies)]
        self._client = library.Redis(port=redis.port, socket_timeout=2.0, protocol=2)

    def go(self, faults: int, deadline: float) -> Judgement:
        """Inject at least this many faults, until the deadline. Then end everything, and judge."""
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            stack.callback(self._client.close)
            for process in (self.origin, *self.relays, *self.consumers):
                stack.enter_context(process)
            self._await_progress()
            while self.judgement.faults.total() < faults or time.monotonic() < deadline:
                kind = self._rng.choice(_FAULTS)
                self.judgement.faults[kind.__name__.strip("_")] += 1
                kind(self)
                self._await_progress()
                self._pause(0.3)
            self.origin.order(finish=True)
            last = self.origin.wait_for("finishing")["last"]
            self._await(lambda: self._length() >= last)
            self._await(lambda: len(set(self._processed())) >= last)
            self._judge(last)
        self.judgement.seconds = time.monotonic() - began
        return self.judgement

    # Faults. Each is over when its method returns, except for its consequences.

    def _relay_killed(self) -> None:
        relay, owner = self._choose_relay()
        began = time.monotonic()
        relay.kill()
        if owner is not None:
            self._await_take_over(owner, began)
        relay.start()

    def _relay_asleep(self) -> None:
        relay, owner = self._choose_relay()
        relay.freeze()
        began = time.monotonic()
        if owner is not None and self._rng.random() < 0.7:
            self._await_take_over(owner, began)
        self._pause(_LONGEST_SLEEP)
        relay.thaw()

    def _consumer_killed(self) -> None:
        self.judgement.tolerated += 1
        consumer = self._rng.choice(self.consumers)
        consumer.kill()
        self._pause(0.2)
        consumer.start()

    def _consumer_asleep(self) -> None:
        self.judgement.tolerated += 1
        consumer = self._rng.choice(self.consumers)
        consumer.freeze()
        self._pause(_LONGEST_SLEEP)
        consumer.thaw()

    def _redis_killed(self) -> None:
        self.judgement.tolerated += len(self.consumers)
        self._redis.kill()
        self._pause(0.5)
        self._redis.start()

    def _redis_asleep(self) -> None:
        self.judgement.tolerated += len(self.consumers)
        self._redis.freeze()
        self._pause(_LONGEST_SLEEP)
        self._redis.thaw()

    def _server_killed(self) -> None:
        self.origin.kill()
        self._pause(0.2)
        self.origin.start()

    # The observations of the judge.

    def _choose_relay(self) -> tuple[Child, str | None]:
        """Choose a relay, usually the owner. Return the owner's name if it is the owner."""
        owner = self._owner()
        owners = [each for each in self.relays if each.wait_for("ready")["owner"] == owner]
        if owners and self._rng.random() < 0.7:
            return owners[0], owner
        relay = self._rng.choice(self.relays)
        return relay, owner if relay in owners else None

    def _owner(self) -> str:
        lease = self._client.get(f"sse-client:{{{STREAM}}}:lease")
        return "" if lease is None else lease.decode().rpartition(" ")[0]

    def _writer(self) -> str:
        writer = self._client.hget(f"sse-client:{{{STREAM}}}:state", "writer")
        return "" if writer is None else writer.decode().rpartition(" ")[0]

    def _await_take_over(self, owner: str, began: float) -> None:
        # Not until the writer changes: on a busy machine it may have changed before this call.
        self._await(lambda: self._writer() != owner)
        taken = time.monotonic() - began
        self.judgement.take_overs += 1
        self.judgement.longest_take_over = max(self.judgement.longest_take_over, taken)

    def _await_progress(self) -> None:
        length = self._length()
        self._await(lambda: self._length() > length)

    def _length(self) -> int:
        with contextlib.suppress(library.RedisError):
            return int(self._client.xlen(STREAM))
        return -1

    def _processed(self) -> list[int]:
        return [int(line) for line in self._ledger.read_bytes().split()]

    def _judge(self, last: int) -> None:
        found = self._client.xrange(STREAM)
        entries = [(fields[b"id"].decode(), fields[b"data"].decode()) for _, fields in found]
        self.judgement.judge_stream(entries, last)
        self.judgement.judge_ledger(self._processed(), last)

    def _await(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no progress: {self.judgement}")
            threading.Event().wait(_TICK)

    def _pause(self, longest: float) -> None:
        threading.Event().wait(self._rng.uniform(0.0, longest))


_FAULTS = [
    *[Run._relay_killed] * 3,
    *[Run._relay_asleep] * 3,
    *[Run._consumer_killed] * 2,
    Run._consumer_asleep,
    *[Run._redis_killed] * 2,
    Run._redis_asleep,
    Run._server_killed,
]


def judged_run(
    seed: int, folder: Path, faults: int, *, seconds: float = 0.0, copies: int = COPIES
) -> Judgement:
    """Start everything, inject faults, and judge."""
    deadline = time.monotonic() + seconds
    with Ports() as ports, RedisProcess(folder) as redis:
        return Run(seed, folder, redis, ports, copies).go(faults, deadline)


def main() -> int:
    """Run, print the figures, and return 0 if nothing was lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50, help="the minimum number of faults")
    parser.add_argument("--minutes", type=float, default=0.0, help="the minimum duration")
    parser.add_argument("--seed", type=int, help="repeat the faults of this seed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        judgement = judged_run(seed, Path(folder), options.faults, seconds=options.minutes * 60)
    print(json.dumps({**vars(judgement), "holds": judgement.holds}, indent=2))
    return 0 if judgement.holds else 1


if __name__ == "__main__":
    sys.exit(main())
