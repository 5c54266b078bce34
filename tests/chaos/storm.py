"""A run: an origin, a proxy, followers, and rounds of faults from one seed.

In a round, all streams go through their own faults at the same time, and then through one that they
share. After each fault a stream must deliver all events that have become due.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from child import Child, Ports
from faults import Fault, own_faults, shared_fault
from follower import FINAL_ERRORS, Follower
from judge import Judge
from names import ELSEWHERE, Names, bypassing_proxies, host_of
from numbered import due, first_due
from resources import Held, held_beyond, resident_memory
from summary import MIB, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificates

#: Events per second of each stream.
RATE = 40.0

#: The framing of each stream, and whether it uses TLS.
STREAMS = {
    "1": ("chunked", False),
    "2": ("length", False),
    "3": ("close", False),
    "4": ("gzip chunked", False),
    "5": ("gzip close", False),
    "6": ("chunked", True),
}

#: The number of rounds after which memory counts as warm, and the growth that is allowed from then
#: on, because the allocator's own use varies. A leak of one buffer per fault would be far larger.
WARM_ROUNDS = 3
MEMORY_BOUND = 16 * MIB

#: A silent connection is given up after the timeout. The rest is what a busy machine may add.
UNNOTICED_BOUND = 3.0

#: The same for the arrival of an event after a fault is over.
STALL_BOUND = 5.0

#: What a running session holds: a thread, a socket (and a duplicate of it while it opens), the
#: thread of its follower, and the shared reader of its client with its selector and the pair of
#: sockets that wakes it.
_THREADS_A_STREAM = 3
_DESCRIPTORS_A_STREAM = 5


class Storm:
    """One run.

    Args:
        seed: The seed of the faults.
        certificates: The certificates of the TLS stream.
    """

    def __init__(self, seed: int, certificates: Certificates) -> None:
        self.summary = Summary(seed)
        self._certificates = certificates
        self._judge = Judge(self._complain)
        self._lock = threading.Lock()  # guards the summary
        self._names = Names()
        self._followers: dict[str, Follower] = {}

    def run(self, seconds: float, least_faults: int = 0) -> Summary:
        """Inject at least this many faults for at least this time, or until one does damage."""
        began = time.monotonic()
        before = Held.now()
        with self._all_running():
            while not self.summary.violations and (
                time.monotonic() - began < seconds or self.summary.faults.total() < least_faults
            ):
                self._round(self.summary.rounds)
                self.summary.rounds += 1
                self._measure()
            self._finish()
        if left := held_beyond(before):
            self._complain(f"there are {left} at the end, and there were {before} at the start")
        gc.collect()  # so that an unclosed socket warns here, and not in another test
        self.summary.minutes = (time.monotonic() - began) / 60
        return self.summary

    @contextlib.contextmanager
    def _all_running(self) -> Iterator[None]:
        with Ports() as ports, self._names, bypassing_proxies():
            self._epoch = time.monotonic()
            origin_port, tls_port = ports.take(), ports.take()
            upstreams = {
                name: tls_port if tls else origin_port for name, (_, tls) in STREAMS.items()
            }
            lanes = {name: (ports.take(), upstream) for name, upstream in upstreams.items()}
            config = {
                "port": origin_port,
                "tls_port": tls_port,
                "epoch": self._epoch,
                "rate": RATE,
                "certificates": self._certificates.servers,
            }
            self._upstreams = upstreams
            self._origin = Child("origin.py", config, self._judge.hear)
            self._proxy = Child("proxy.py", lanes, self._judge.hear)
            with self._origin, self._proxy:
                each = len(lanes)
                bound = Held.now().plus(each * _THREADS_A_STREAM, each * _DESCRIPTORS_A_STREAM)
                self._bound = bound
                for name, (port, _) in lanes.items():
                    self._follow(name, port)
                try:
                    yield
                finally:
                    for follower in self._followers.values():
                        follower.stop()

    def _follow(self, name: str, port: int) -> None:
        url = self._url(name, f"{host_of(name)}:{port}")
        follower = Follower(name, url, self._certificates.ca_bundle, self._complain)
        self._followers[name] = follower
        self._judge.add(follower)
        self._names.watch(host_of(name), follower.attempted)
        follower.start()

    def _url(self, name: str, address: str) -> str:
        framing, is_tls = STREAMS[name]
        scheme = "https" if is_tls else "http"
        return f"{scheme}://{address}/events?stream={name}&framing={framing.replace(' ', '+')}"

    def _complain(self, violation: str) -> None:
        with self._lock:
            if len(self.summary.violations) < 20:
                self.summary.violations.append(violation)

    def _round(self, number: int) -> None:
        plan = {name: own_faults(self.summary.seed, number, name) for name in STREAMS}
        shared = shared_fault(self.summary.seed, number)
        with ThreadPoolExecutor(len(plan), "storm") as pool:
            for _ in pool.map(self._go_through, plan, plan.values()):
                pass
        if not self.summary.violations:
            self._inject_into_all(shared)
        if self.summary.violations:
            self.summary.violations += [
                f"all this in round {number}, with these faults:",
                *(f"stream {name}: {', '.join(map(str, own))}" for name, own in plan.items()),
                f"all: {shared}",
            ]

    def _go_through(self, name: str, faults: list[Fault]) -> None:
        """Inject the faults of one stream, one after the other."""
        follower = self._followers[name]
        for fault in faults:
            if self.summary.violations:
                return
            follower.may_end_with = FINAL_ERRORS.get(fault.kind)
            follower.is_excused = fault.target == "consumer"
            try:
                over = self._inject(name, fault)
                self._recover(follower, over)
            except Exception as error:
                self._complain(f"stream {name}, {fault}: {type(error).__name__}: {error}")
                return
            follower.may_end_with = None
            follower.is_excused = False
            with self._lock:
                self.summary.faults[fault.kind] += 1

    def _inject(self, name: str, fault: Fault) -> float:
        """Inject a fault, wait until it is over, and return the time."""
        begun = self._begin(name, fault)
        if not isinstance(begun, int):
            return begun
        if fault.target == "origin":
            return self._origin.wait_until_over(begun)
        began = time.monotonic()
        over = self._proxy.wait_until_over(begun)
        if fault.kind == "silence":
            with self._lock:
                unnoticed = max(self.summary.longest_unnoticed, over - began)
                self.summary.longest_unnoticed = unnoticed
            if over - began > UNNOTICED_BOUND:
                self._complain(f"stream {name}: {over - began:.2f} s of silence were not detected")
        return over

    def _begin(self, name: str, fault: Fault) -> int | float:
        """Begin a fault. Return the number of its order, or the time of its end."""
        settings = dict(fault.settings)
        if fault.target == "proxy":
            return self._proxy.order(lane=name, **settings)
        if fault.target == "origin":
            address = f"{ELSEWHERE}:{self._upstreams[name]}"
            settings["answers"] = [
                {**answer, "location": f"{self._url(name, address)}&only={answer['only']}"}
                if "only" in answer
                else answer
                for answer in settings.get("answers", ())
            ]
            return self._origin.order(stream=name, **settings)
        if fault.target == "names":
            over = self._names.trouble(host_of(name), settings["trouble"], settings["seconds"])
            self._proxy.wait_until_over(self._proxy.order(lane=name, drop="rst"))
            return over
        return self._inject_into_consumer(self._followers[name], name, fault)

    def _inject_into_consumer(self, follower: Follower, name: str, fault: Fault) -> float:
        settings = fault.settings
        if fault.kind == "slow consumer":
            follower.pause()
            threading.Event().wait(settings["seconds"])
            follower.go_on()
        elif fault.kind == "reconnect":
            follower.reconnect()
        else:
            self._close(follower, name, settings)
        return time.monotonic()

    def _close(self, follower: Follower, name: str, settings: dict[str, Any]) -> None:
        """Close during another fault, and wait for the end of that fault."""
        under = settings["under"]
        begun: int | float = 0.0
        if under is not None and under.kind == "slow consumer":
            follower.pause()
        elif under is not None:
            begun = self._begin(name, under)
        threading.Event().wait(settings["after"])
        follower.close(whole_client=settings["whole_client"])
        if isinstance(begun, int):
            self._proxy.wait_until_over(begun)
        else:
            threading.Event().wait(max(0.0, begun - time.monotonic()))

    def _inject_into_all(self, fault: Fault) -> None:
        child = self._origin if fault.kind.startswith("origin") else self._proxy
        try:
            if fault.kind.endswith("killed"):
                child.kill()
                threading.Event().wait(fault.settings["seconds"])
                over = child.start()
            else:
                child.freeze()
                threading.Event().wait(fault.settings["seconds"])
                child.thaw()
                over = time.monotonic()
            for follower in self._followers.values():
                self._recover(follower, over)
        except Exception as error:
            self._complain(f"{fault}: {type(error).__name__}: {error}")
            return
        self.summary.faults[fault.kind] += 1

    def _recover(self, follower: Follower, over: float) -> None:
        """Wait for an event that was due when the fault was over, and check how long that takes."""
        number = first_due(over - self._epoch, RATE)
        seen = follower.wait_for(number)
        stall = seen - max(self._epoch + due(number, RATE), follower.next_due)
        with self._lock:
            self.summary.longest_stall = max(self.summary.longest_stall, stall)
        if stall > STALL_BOUND:
            self._complain(f"stream {follower.stream}: a stall of {stall:.2f} s")

    def _measure(self) -> None:
        summary = self.summary
        if beyond := held_beyond(self._bound):
            self._complain(f"there are {beyond}, but only {self._bound} are needed")
        memory = resident_memory()
        summary.last_memory = memory
        summary.peak_memory = max(summary.peak_memory, memory)
        if summary.rounds == WARM_ROUNDS:
            summary.warm_memory = memory

    def _finish(self) -> None:
        """Let all streams end, and count their events."""
        summary = self.summary
        if not summary.violations:
            self._origin.order(finish=True)
            last = self._origin.wait_for("finishing")["last"]
            for name, follower in self._followers.items():
                follower.join()
                if follower.position != last:
                    summary.lost += last - follower.position
                    self._complain(f"stream {name}: ended at {follower.position}, not at {last}")
        for follower in self._followers.values():
            for key in ("delivered", "lost", "doubled", "sessions", "connections", "losses"):
                setattr(summary, key, getattr(summary, key) + follower.counts[key])
            summary.longest_close = max(summary.longest_close, follower.longest_close)
        grown = summary.last_memory - summary.warm_memory
        if summary.rounds > WARM_ROUNDS and grown > MEMORY_BOUND:
            self._complain(f"memory grew by {grown / MIB:.1f} MiB")
