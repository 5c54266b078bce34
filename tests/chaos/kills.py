"""Kills a client repeatedly, and checks in its ledger which events it has processed."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from child import PATIENCE, Child
from scene import set_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Certificates

#: Events per second. More than are processed between two kills would only take time.
_RATE = 100.0

#: The maximum number of events processed before the next kill, and the maximum additional wait in
#: seconds, so that the kill can happen anywhere between two events.
_MOST_EVENTS = 30
_LONGEST_PAUSE = 0.02

#: The maximum delay of a kill at the start, in seconds.
_LONGEST_START = 0.3


@dataclass
class Kills:
    """The result.

    Attributes:
        seed: The seed of the times of the kills.
        count: The number of kills.
        processed: The number of distinct events processed.
        doubled: The number of events processed again: at most one per kill.
        violations: Descriptions of all problems.
    """

    seed: int
    count: int = 0
    processed: int = 0
    doubled: int = 0
    violations: list[str] = field(default_factory=list)

    def judge(self, lives: list[list[int]], last: int) -> None:
        """Check the events that each process of the client has processed."""
        position = 0
        for number, life in enumerate(lives):
            comes_again = number > 0 and life[:1] == [position]
            fresh = life[1:] if comes_again else life
            expected = list(range(position + 1, position + 1 + len(fresh)))
            if fresh != expected:
                shown = [one for one, other in zip(fresh, expected, strict=True) if one != other]
                self.violations.append(f"after {position}, life {number}: {shown[:10]}")
                return
            self.doubled += comes_again
            position += len(fresh)
        self.processed = position
        if position != last:
            self.violations.append(f"processed up to {position}, not up to {last}")


class Victim:
    """The client, one process after another."""

    def __init__(self, folder: Path, url: str) -> None:
        self._ledger = folder / "ledger"
        self._ledger.touch()
        config = {"url": url, "cursor": str(folder / "cursor.json"), "ledger": str(self._ledger)}
        self._child = Child("victim.py", config, self._hear)
        self._changed = threading.Condition()
        self._processed = 0
        self._lives = [0]

    def _hear(self, report: dict[str, Any]) -> None:
        with self._changed:
            self._processed += 1
            self._changed.notify_all()

    def live(self, rng: random.Random) -> None:
        """Let the client process some events, and kill it, sometimes before it has begun."""
        with self._living():
            if rng.random() < 0.2:
                threading.Event().wait(rng.uniform(0.0, _LONGEST_START))
            else:
                self._wait_for(rng.randint(1, _MOST_EVENTS))
                threading.Event().wait(rng.uniform(0.0, _LONGEST_PAUSE))

    def _wait_for(self, count: int) -> None:
        with self._changed:
            goal = self._processed + count
            if not self._changed.wait_for(lambda: self._processed >= goal, PATIENCE):
                raise TimeoutError("it hangs after a restart")

    def live_to_the_end(self) -> None:
        """Let the client process the rest, which may take long after many kills."""
        with self._living():
            while True:
                processed = self._processed
                try:
                    self._child.wait_for("ended")
                except TimeoutError:
                    if self._processed == processed:
                        raise
                else:
                    return

    @contextlib.contextmanager
    def _living(self) -> Iterator[None]:
        """Start the client, and kill it at the end of the block."""
        with self._child:
            yield
        self._lives.append(self._ledger.stat().st_size)

    def lives(self) -> list[list[int]]:
        """The entries that each process has added to the ledger."""
        written = self._ledger.read_bytes()
        spans = zip(self._lives, self._lives[1:], strict=False)
        return [[int(line) for line in written[begin:end].split()] for begin, end in spans]


def kill_again_and_again(
    seed: int, folder: Path, count: int, seconds: float, certificates: Certificates | None = None
) -> Kills:
    """Kill a client with breaking connections at least this often and this long, then check."""
    kills = Kills(seed)
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    with set_scene("chunked", certificates, rate=_RATE) as scene:
        victim = Victim(folder, scene.url)
        while kills.count < count or time.monotonic() < deadline:
            cut = {"kind": "cut", "after": rng.randrange(300, 3000), "how": "rst"}
            scene.proxy.order(lane="1", next=[cut])
            victim.live(rng)
            kills.count += 1
        scene.origin.order(finish=True)
        last = scene.origin.wait_for("finishing")["last"]
        victim.live_to_the_end()
    kills.judge(victim.lives(), last)
    return kills
