"""A resolver for the hosts of the chaos tests: all are 127.0.0.1, unless it must fail."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

DOMAIN = "chaos.test"

#: Where redirects lead, past the proxy.
ELSEWHERE = f"elsewhere.{DOMAIN}"


def host_of(stream: str) -> str:
    return f"stream-{stream}.{DOMAIN}"


class Names:
    """Replaces ``socket.getaddrinfo`` within a block."""

    def __init__(self) -> None:
        self._real = socket.getaddrinfo
        self._lock = threading.Lock()
        self._troubles: dict[str, tuple[str, float]] = {}
        self._watchers: dict[str, Callable[[], object]] = {}

    def watch(self, host: str, watcher: Callable[[], object]) -> None:
        """Call a function at each lookup of the host, which is at the start of each attempt."""
        self._watchers[host] = watcher

    def trouble(self, host: str, kind: str, seconds: float) -> float:
        """Let lookups "fail" or be "slow" for a while. Return the time of the end."""
        until = time.monotonic() + seconds
        with self._lock:
            self._troubles[host] = kind, until
        return until

    def _resolve(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(host, str) or not host.endswith(DOMAIN):
            return self._real(host, port, *args, **kwargs)
        if host in self._watchers:
            self._watchers[host]()
        with self._lock:
            kind, until = self._troubles.get(host, ("", 0.0))
        left = until - time.monotonic()
        if left > 0 and kind == "fail":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if left > 0 and kind == "slow":
            threading.Event().wait(left)  # like a resolver, it cannot be interrupted
        return self._real("127.0.0.1", port, *args, **kwargs)

    def __enter__(self) -> Names:
        socket.getaddrinfo = self._resolve
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        socket.getaddrinfo = self._real


@contextlib.contextmanager
def bypassing_proxies() -> Iterator[None]:
    """Prevent requests from using a proxy of the environment for these hosts."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    os.environ.update(dict.fromkeys(before, f"{DOMAIN},127.0.0.1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
