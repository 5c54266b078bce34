"""An origin, a proxy in front of it, and one stream, for tests of single faults."""

from __future__ import annotations

import contextlib
import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from child import PATIENCE, Child, Ports
from names import Names, bypassing_proxies, host_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificates

#: Events per second: enough for each connection to have some to send at once.
_RATE = 1000.0


@dataclass(frozen=True)
class Scene:
    """The parts that a test needs. The only lane is called "1"."""

    origin: Child
    proxy: Child
    url: str
    heard: queue.SimpleQueue[dict[str, Any]]

    def hear(self, what: str) -> dict[str, Any]:
        """Wait for the next report of this name."""
        while (report := self.heard.get(timeout=PATIENCE))["what"] != what:
            pass
        return report


@contextlib.contextmanager
def set_scene(
    framing: str, certificates: Certificates | None = None, rate: float = _RATE
) -> Iterator[Scene]:
    """Start it with this rate of events per second, over TLS if there are certificates."""
    with Ports() as ports, Names(), bypassing_proxies():
        port, tls_port, lane = (ports.take() for _ in range(3))
        config = {
            "port": port,
            "tls_port": tls_port,
            "epoch": time.monotonic(),
            "rate": rate,
            "with_retry": False,  # otherwise each of many reconnections would take that long
        }
        if certificates is not None:
            config |= {"certificates": certificates.servers, "rogue": certificates.rogue}
        lanes = {"1": (lane, port if certificates is None else tls_port)}
        scheme = "http" if certificates is None else "https"
        framing = framing.replace(" ", "+")
        url = f"{scheme}://{host_of('1')}:{lane}/events?stream=1&framing={framing}"
        heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with Child("origin.py", config, heard.put) as origin, Child("proxy.py", lanes) as proxy:
            yield Scene(origin, proxy, url, heard)
