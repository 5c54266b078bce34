"""The whole path over loopback: throughput and processor time of a backlog, and latency."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clients import HTTPX_SSE, LAUNCHDARKLY, LIMIT, OURS, Client, installed
from measuring import multiples, settle_garbage
from serving import PACE, Server, apart_from_server, backlog

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMINGS = {
    "chunks": "one HTTP chunk per event, large sends",
    "coalesced": "64 KiB of events per HTTP chunk",
    "close": "close-delimited, large sends",
    "singly": "one send per event (unranked)",
}

#: The goals: the processor time of a peer as a multiple of ours.
GOALS = {
    LAUNCHDARKLY: {"chunks": 1.7, "close": 1.5, "coalesced": 1.3},
    HTTPX_SSE: {"chunks": 5.0, "close": 1.8, "coalesced": 1.6},
}

PACED_FRAMINGS = {
    "chunked": "chunked",
    "length": "content-length",
    "close": "close-delimited",
    "gzip": "gzip, chunked",
}

#: The goal for the median latency: milliseconds above that of the bare loop.
GREATEST_DELAY = 0.1


@dataclass
class Backlog:
    """The figures for one framing: medians of each client.

    Attributes:
        rates: Events per second.
        cpu: Seconds of processor time for a million events, in all threads of the client.
        multiples: Processor time as a multiple of the bare loop's in the same round.
        against_ours: The same as a multiple of ours.
        wrong: The clients that did not deliver all events or failed, and so were not timed.
    """

    framing: str
    title: str
    events: int
    rates: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    multiples: dict[str, float] = field(default_factory=dict)
    against_ours: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def goals(self) -> dict[str, tuple[float, float]]:
        """Return, for each peer with a goal, its time as a multiple of ours, and the goal."""
        return {
            peer: (self.against_ours[peer], goals[self.framing])
            for peer, goals in GOALS.items()
            if self.framing in goals and peer in self.against_ours
        }


@dataclass
class Latency:
    """From the server's clock to the consumer's loop, in milliseconds.

    Attributes:
        above: Each client's median minus that of the bare loop.
        wrong: The clients that did not deliver all events, or failed.
    """

    framing: str
    title: str
    events: int
    median: dict[str, float] = field(default_factory=dict)
    p99: dict[str, float] = field(default_factory=dict)
    above: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def held_back(self) -> list[str]:
        """Return the clients that deliver an event only when later ones have arrived."""
        return [name for name, above in self.above.items() if above > PACE * 1000 / 2]


@dataclass
class WholeWay:
    """The figures for all framings, and whether client and server each had their own core."""

    pinned: bool
    backlogs: list[Backlog] = field(default_factory=list)


@dataclass
class Latencies:
    """The same for the latency."""

    pinned: bool
    framings: list[Latency] = field(default_factory=list)


def measure_backlogs(*, quick: bool, tell: Callable[[str], None]) -> WholeWay:
    """Measure throughput and processor time in each framing."""
    count, rounds = (10_000, 3) if quick else (60_000, 7)
    with Server() as url_for, apart_from_server() as pinned:
        clients = installed()
        settle_garbage()
        result = WholeWay(pinned)
        for framing, title in FRAMINGS.items():
            tell(f"whole way: {title}")
            url = url_for(f"/bulk/{framing}/{count}")
            backlog_of = Backlog(framing, title, count)
            _measure_backlog(backlog_of, clients, url, rounds)
            result.backlogs.append(backlog_of)
    return result


def _measure_backlog(result: Backlog, clients: list[Client], url: str, rounds: int) -> None:
    wall: defaultdict[str, list[float]] = defaultdict(list)
    cpu: defaultdict[str, list[float]] = defaultdict(list)
    last = backlog(result.events)[-1].decode().removeprefix("data: ").strip()
    for client in clients:  # so that no client's first run counts
        result.wrong += [] if _reads(client, url, result.events, last) else [client.name]
    right = [client for client in clients if client.name not in result.wrong]
    for _, client in itertools.product(range(rounds), right):
        gc.collect()
        began, began_cpu = time.perf_counter(), time.process_time()
        read = _read(client, url)
        cpu[client.name].append(time.process_time() - began_cpu)
        wall[client.name].append(time.perf_counter() - began)
        assert client.name == LIMIT or read == (result.events, last), client.name
    result.rates = {name: result.events / statistics.median(each) for name, each in wall.items()}
    result.cpu = {name: statistics.median(each) / result.events * 1e6 for name, each in cpu.items()}
    result.multiples = multiples(cpu, LIMIT)
    result.against_ours = multiples(cpu, OURS)


def _reads(client: Client, url: str, count: int, last: str) -> bool:
    """Return whether all events arrive."""
    try:
        read = _read(client, url)
    except Exception:  # noqa: BLE001  # whatever a peer fails with
        return False
    return client.name == LIMIT or read == (count, last)


def _read(client: Client, url: str) -> tuple[int, str]:
    """Read a stream to its end. Return the number of events and the data of the last one."""
    count = 0
    event = None
    with client.opened(url) as events:
        for event in events:  # noqa: B007  # the last one is used
            count += 1
    return count, getattr(event, "data", "")


def measure_latency(*, quick: bool, tell: Callable[[str], None]) -> Latencies:
    """Measure the latency in each framing."""
    count, rounds = (100, 1) if quick else (200, 2)
    with Server() as url_for, apart_from_server() as pinned:
        clients = installed()
        settle_garbage()
        result = Latencies(pinned)
        for framing, title in PACED_FRAMINGS.items():
            tell(f"latency: {title}")
            url = url_for(f"/paced/{framing}/{count}")
            latency = Latency(framing, title, count * rounds)
            _measure_latency(latency, clients, url, rounds)
            result.framings.append(latency)
    return result


def _measure_latency(result: Latency, clients: list[Client], url: str, rounds: int) -> None:
    delays: dict[str, list[float]] = {client.name: [] for client in clients}
    for _, client in itertools.product(range(rounds), clients):
        if client.name in result.wrong:
            continue
        gc.collect()
        try:
            delays[client.name] += _delays(client, url)
        except Exception:  # noqa: BLE001  # whatever a peer fails with
            result.wrong.append(client.name)
    for name, each in delays.items():
        if len(each) != result.events and name not in result.wrong:
            result.wrong.append(name)
        if name not in result.wrong:
            result.median[name] = statistics.median(each)
            result.p99[name] = sorted(each)[int(len(each) * 0.99)]
    result.above = {name: own - result.median[LIMIT] for name, own in result.median.items()}


def _delays(client: Client, url: str) -> list[float]:
    """Return the age of each event in milliseconds."""
    arrived: list[tuple[int, str]] = []
    with client.opened(url) as events:
        if client.name == LIMIT:
            for read in events:
                now = time.monotonic_ns()
                arrived += [(now, text[6:]) for text in read.decode().split("\n\n") if text]
        else:
            for event in events:
                arrived.append((time.monotonic_ns(), event.data))
    return [(now - int(data.partition(" ")[0])) / 1e6 for now, data in arrived]
