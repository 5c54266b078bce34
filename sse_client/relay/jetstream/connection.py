"""The connection to NATS, for threads that wait for its replies.

nats-py only has coroutines. So a ``NatsServer`` has a thread with an event loop, which any number
of threads may use at the same time.

It does not use nats-py's own reconnecting, which keeps messages while there is no connection, and
retries a wrong password forever. If a connection is lost or a reply does not arrive in time, the
request fails, and the next one opens a connection to the next server. So a server that is frozen is
left, too.

No request is sent twice by this module. JetStream may have carried out a request whose reply was
lost. So each request that its callers repeat must be correct when it is carried out twice.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from sse_client.relay.jetstream.address import parse_addresses
from sse_client.relay.jetstream.event_loop import DaemonEventLoop
from sse_client.relay.jetstream.failures import (
    NatsError,
    NoRespondersError,
    from_complaint,
    from_exception,
    from_reply,
    parse_reply,
)
from sse_client.relay.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from sse_client.relay.jetstream.address import ServerAddress

    #: The data and the headers of a message.
    Message = tuple[bytes, dict[str, str]]

T = TypeVar("T")

#: How long a server may take to accept a connection, and to reply, in seconds. A server that is
#: stopped (SIGSTOP) accepts connections and does not reply.
TIMEOUT = 5.0

#: How long it may take to send a batch and to get the reply, in seconds.
_LONGEST_REQUEST = 30.0

#: How often a request that waits for its reply looks whether the connection is lost, in seconds.
_LOOK = 0.1

#: How long closing a connection may take, in seconds. Then it is aborted.
_CLOSE_TIMEOUT = 1.0


class _Link:
    """An open connection. For the thread of the event loop.

    Attributes:
        client: The client of nats-py.
        server: The server.
        failed: Set to the reason once it can't be used any longer.
    """

    def __init__(self, client: Any, server: ServerAddress) -> None:  # noqa: ANN401  # of nats-py
        self.client = client
        self.server = server
        self.failed: asyncio.Future[NatsError] = asyncio.get_running_loop().create_future()

    def fail(self, error: NatsError) -> None:
        """Note that it can't be used any longer. The first reason counts."""
        if not self.failed.done():
            self.failed.set_result(error)

    async def lost(self) -> None:
        """Note that the server has ended it; called by nats-py."""
        self.fail(NatsError(f"the connection was lost ({self.server.shown})", passes=True))

    async def complained(self, error: Exception) -> None:
        """Note a complaint of the server; called by nats-py."""
        found = from_complaint(str(error))
        if found is not None:
            self.fail(found)

    async def close(self) -> None:
        """Close it, within bounds."""
        self.fail(_closed())
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.client.close(), _CLOSE_TIMEOUT)
        # nats-py waits until everything is sent, which a frozen server prevents.
        writer = getattr(getattr(self.client, "_transport", None), "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
            await asyncio.sleep(0)  # the event loop closes the socket in its next round


class NatsServer:
    """NATS: one server, or a cluster. For any number of threads. It is a ``Target``.

    The first request starts the thread and opens the connection. In a forked child it must not be
    used.

    ``_lock`` guards the thread's start and end, and is not held across I/O.

    Args:
        address: The address, see ``parse_addresses``.
        user: The name of the user in the log.

    Attributes:
        outage: Whether it fails, for all threads together.
        failures: The errors of a failed attempt.

    Raises:
        ImportError: The package ``nats-py`` is missing.
        ValueError: It is not an address; the message doesn't repeat it.
    """

    name = "NATS"
    failures: tuple[type[Exception], ...] = (NatsError,)

    def __init__(self, address: str, user: str = "") -> None:
        self._client_class = _load_client_class()
        self._servers = parse_addresses(address)
        self.outage = Outage(user, self.name)
        #: The server to which the next connection goes.
        self._next = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping = asyncio.Event()
        # For the thread of the event loop.
        self._connecting = asyncio.Lock()
        self._link: _Link | None = None
        self._max_payload = 0

    def __repr__(self) -> str:
        """Show host and port only."""
        return f"<{type(self).__name__} {self.shown}>"

    @property
    def shown(self) -> str:
        """Host and port of each server."""
        return ",".join(each.shown for each in self._servers)

    @property
    def max_payload(self) -> int:
        """The maximum size of a message with its headers, as the server reported last, or 0."""
        return self._max_payload

    def passes(self, error: Exception) -> bool:
        """Return whether the failure is worth another attempt."""
        return isinstance(error, NatsError) and error.passes

    def length(self, stream: str) -> int:
        """Return the number of messages of a stream. Blocks for JetStream."""
        return int(self.ask(f"STREAM.INFO.{stream}")["state"]["messages"])

    def ask(self, what: str, **question: object) -> dict[str, Any]:
        """Send a request to the API of JetStream, and return the reply. Blocks.

        Args:
            what: The subject after ``$JS.API.``.
            **question: The request.

        Raises:
            NatsError: NATS fails, or JetStream refuses.
        """
        payload = json.dumps(question).encode() if question else b""
        return self.publish(f"$JS.API.{what}", [(payload, {})])

    def publish(self, subject: str, messages: Sequence[Message]) -> dict[str, Any]:
        """Send messages, and return the reply to the last one. Blocks.

        The others are sent without a reply.

        Raises:
            NatsError: NATS fails, or JetStream refuses the last message.
        """
        reply = parse_reply(self._call(self._request(subject, messages)))
        if "error" in reply:
            raise from_reply(reply["error"])
        return reply

    def close(self) -> None:
        """Close the connection and end the thread. Idempotent."""
        with self._lock:
            self._is_closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join(3 * _CLOSE_TIMEOUT)

    # The calling thread.

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        with self._lock:
            if self._is_closed:
                coroutine.close()
                raise _closed()
            if self._thread is None:
                self._loop = DaemonEventLoop()
                # Daemon: it must not delay the exit of the interpreter.
                self._thread = threading.Thread(
                    target=self._run, name="sse-client:nats", daemon=True
                )
                self._thread.start()
            # Within the lock, so that the loop does not end before it has seen the coroutine.
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _closed() from None

    # The thread of the event loop.

    def _run(self) -> None:
        with contextlib.closing(self._loop) as loop:
            loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await self._stopping.wait()
        if self._link is not None:
            await self._link.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_CLOSE_TIMEOUT)

    async def _request(self, subject: str, messages: Sequence[Message]) -> bytes:
        link = await self._connected()
        exchange = asyncio.ensure_future(_exchange(link.client, subject, messages))
        waiting: set[asyncio.Future[Any]] = {exchange, link.failed}
        deadline = time.monotonic() + _LONGEST_REQUEST
        while time.monotonic() < deadline:
            done, _ = await asyncio.wait(
                waiting, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                break
            if link.client.is_closed:  # not every version of nats-py calls ``lost`` then
                await link.lost()
        failure: BaseException = asyncio.TimeoutError()
        if exchange.done():
            found = exchange.exception()
            if found is None:
                return exchange.result()
            failure = found
        exchange.cancel()
        if type(failure).__name__ == "NoRespondersError":  # of nats-py
            raise NoRespondersError(link.server.shown)
        link.fail(from_exception(failure, link.server.shown))
        await link.close()
        raise link.failed.result()

    async def _connected(self) -> _Link:
        """Return the open connection, or open one."""
        async with self._connecting:
            link = self._link
            if link is not None:
                if not link.failed.done():
                    return link
                await link.close()
                self._link = None
            for _ in self._servers:
                server = self._servers[self._next % len(self._servers)]
                self._next += 1
                try:
                    link = self._link = await self._connect_to(server)
                    break
                except NatsError as error:
                    if not error.passes:
                        raise
                    failure = error
            else:
                raise failure
            self._max_payload = link.client.max_payload
            return link

    async def _connect_to(self, server: ServerAddress) -> _Link:
        link = _Link(self._client_class(server), server)
        seen: list[Exception] = []

        async def complained(error: Exception) -> None:
            seen.append(error)
            await link.complained(error)

        options: dict[str, Any] = (
            {"tls": ssl.create_default_context()} if server.is_encrypted else {}
        )
        try:
            await asyncio.wait_for(
                link.client.connect(
                    [server.url],
                    name="sse-client relay",
                    # These make nats-py try twice, and then report the failure.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=TIMEOUT,
                    error_cb=complained,
                    disconnected_cb=link.lost,
                    closed_cb=link.lost,
                    **server.credentials,
                    **options,
                ),
                2 * TIMEOUT,
            )
        except BaseException as error:
            await link.close()
            if not isinstance(error, Exception):  # it is cancelled
                raise
            # nats-py raises that there are no servers, and passes the reason to the callback.
            raise from_exception(seen[-1] if seen else error, server.shown) from error
        return link


def _closed() -> NatsError:
    return NatsError("the connection is closed", passes=True)


async def _exchange(client: Any, subject: str, messages: Sequence[Message]) -> bytes:  # noqa: ANN401
    """Send messages, and return the reply to the last one."""
    *others, (data, headers) = messages
    for each, its_headers in others:
        await client.publish(subject, each, headers=its_headers)
    reply = await client.request(subject, data, timeout=TIMEOUT, headers=headers or None)
    found: bytes = reply.data
    return found


def _load_client_class() -> Any:  # noqa: ANN401  # a class
    try:
        from nats import errors  # noqa: PLC0415  # an extra
        from nats.aio.client import Client  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "the relay into NATS needs the package nats-py: pip install 'sse-client[nats]'"
        ) from error

    class CheckedClient(Client):
        """Sends no password without TLS to a server whose address begins with ``tls://``.

        nats-py uses TLS only if the server asks for it.
        """

        def __init__(self, server: ServerAddress) -> None:
            super().__init__()
            self._is_encrypted = server.is_encrypted

        def _connect_command(self) -> bytes:
            if self._is_encrypted and not self._server_info.get("tls_required"):
                raise errors.SecureConnWantedError
            command: bytes = super()._connect_command()
            return command

    return CheckedClient
