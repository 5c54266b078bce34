"""Servers of the Model Context Protocol with its SDK, one under each path, for uvicorn."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage, EventStore
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp_types import JSONRPCMessage
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Store(EventStore):
    """All events of all streams, in memory. The ID of an event is its position, from 1."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []
        self.primed = asyncio.Condition()

    def primings(self, stream: str) -> int:
        return self._events.count((stream, None))

    async def store_event(self, stream_id, message):
        self._events.append((stream_id, message))
        if message is None:
            async with self.primed:
                self.primed.notify_all()
        return str(len(self._events))

    async def replay_events_after(self, last_event_id, send_callback):
        place = int(last_event_id)
        stream, _ = self._events[place - 1]
        for number, (found, message) in enumerate(self._events[place:], place + 1):
            if found == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def new_server(store: Store) -> MCPServer:
    server = MCPServer("adder")

    @server.tool()
    async def add(a: int, b: int, context: Context) -> int:
        """Add two numbers, and log it."""
        await context.info(f"adding {a} and {b}")
        return a + b

    @server.tool()
    async def repeat(text: str, times: int) -> str:
        """Return a text repeated many times."""
        return text * times

    @server.tool()
    async def announce(context: Context) -> str:
        """Send a notification without a request."""
        await context.session.send_tool_list_changed()
        return "announced"

    @server.tool()
    async def ask_back(context: Context) -> str:
        """Send a request to the client before the response."""
        await context.session.send_ping()
        return "the client responded"

    @server.tool()
    async def close_early(times: int, context: Context) -> str:
        """Close the stream before the response, and again each time it is resumed."""
        stream = context.request_id
        before = store.primings(stream)
        await context.close_sse_stream()
        for resumed in range(1, times):
            async with store.primed:
                await store.primed.wait_for(lambda n=before + resumed: store.primings(stream) >= n)
            await context.close_sse_stream()
        return f"closed {times} times"

    @server.tool()
    async def wait_for_end(context: Context) -> None:
        """Send a notification, and no response before the session ends."""
        await context.info("waiting")
        await asyncio.Event().wait()

    return server


class WithoutStream:
    """Refuses each GET with 405."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = Response(status_code=405) if scope["method"] == "GET" else self._app
        await app(scope, receive, send)


class Held:
    """Cuts the first stream of a GET after its first event, and keeps the server's end of it open.

    The server learns of the loss once it has refused another stream with 409.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._has_cut = False
        self._refused = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await self._app(scope, receive, send)
        elif self._has_cut:
            await self._app(scope, receive, self._noticing_refusal(send))
        else:
            await self._cut(scope, receive, send)

    async def _cut(self, scope: Scope, receive: Receive, send: Send) -> None:
        cut = asyncio.Event()
        is_first = True

        async def receive_later() -> Message:
            nonlocal is_first
            if is_first:
                is_first = False
                return await receive()
            await self._refused.wait()
            return {"type": "http.disconnect"}

        async def send_until_cut(message: Message) -> None:
            if not cut.is_set():
                await send(message)
                if message.get("body"):
                    self._has_cut = True
                    cut.set()

        task = asyncio.ensure_future(self._app(scope, receive_later, send_until_cut))
        self._tasks.add(task)
        await cut.wait()  # returning in the middle of the response breaks the connection

    def _noticing_refusal(self, send: Send) -> Send:
        async def noticing(message: Message) -> None:
            if message.get("status") == 409:
                self._refused.set()
                await asyncio.wait(self._tasks)
            await send(message)

        return noticing


def new_app() -> Starlette:
    """Create a server for each mode, with its sessions and tools."""
    store = Store()
    apps = {
        path: new_server(store).streamable_http_app(**options)
        for path, options in {
            "/json": {"json_response": True},
            "/stateless": {"stateless_http": True},
            "/stateless-json": {"stateless_http": True, "json_response": True},
            "/resumable": {"event_store": store, "retry_interval": 10},
            "/without-stream": {},
            "/held": {},
            "": {},
        }.items()
    }
    wrapped = {"/without-stream": WithoutStream, "/held": Held}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for app in apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    return Starlette(
        routes=[
            Mount(path, wrapped[path](app) if path in wrapped else app)
            for path, app in apps.items()
        ],
        lifespan=lifespan,
    )


app = new_app()
