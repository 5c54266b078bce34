"""An event loop for a daemon thread: it does not delay the exit of the interpreter."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    #: Of ``socket.getaddrinfo``.
    Addresses = Sequence[tuple[Any, ...]]


class DaemonEventLoop(asyncio.SelectorEventLoop):
    """Resolves names on daemon threads.

    asyncio uses a thread pool for that. The interpreter waits for its threads when it exits, so a
    resolver that does not reply would delay the exit until its time-out.
    """

    async def getaddrinfo(  # type: ignore[override]  # with the options as keywords
        self, host: bytes | str | None, port: bytes | str | int | None, **options: int
    ) -> Addresses:
        """Return the addresses of a host, as ``socket.getaddrinfo`` does."""
        future: concurrent.futures.Future[Addresses] = concurrent.futures.Future()
        # So that only the wait for it can be cancelled.
        future.set_running_or_notify_cancel()

        def resolve() -> None:
            try:
                future.set_result(socket.getaddrinfo(host, port, **options))
            except Exception as error:  # noqa: BLE001  # raised by the coroutine
                future.set_exception(error)

        threading.Thread(target=resolve, name="sse-client:resolving", daemon=True).start()
        return await asyncio.wrap_future(future)
