"""The application that uvicorn serves: streams of sse-starlette and of Starlette itself.

Each stream belongs to the key in its query, under which other requests ask what it did.
"""

from __future__ import annotations

import asyncio
import functools
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

GZIP = 16 + zlib.MAX_WBITS


class Ledger:
    """The record of the streams of one key."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.bodies: list[Any] = []
        self.acknowledged = 0
        self.present = 0
        self.ended = 0
        self._changed = asyncio.Event()

    def begin(self, request: Request) -> int:
        """Record a request for a stream. Return the number of the first event to send."""
        self.requests.append({":method": request.method, **request.headers})
        return int(request.headers.get("last-event-id", 0)) + 1

    def count(self, name: str, by: int = 1) -> None:
        """Increment a counter. It does not wait, because cancelled tasks also call it."""
        setattr(self, name, getattr(self, name) + by)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def is_acknowledged(self, number: int) -> bool:
        return self.acknowledged >= number

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


ledgers: defaultdict[str, Ledger] = defaultdict(Ledger)


def ledger_of(request: Request) -> Ledger:
    return ledgers[request.query_params["key"]]


def number(count: int) -> dict[str, Any]:
    return {"id": str(count), "event": "number", "data": f"number {count}"}


async def numbers(request: Request) -> Response:
    """Send some numbers per connection, then end as requested."""
    ledger, query = ledger_of(request), request.query_params
    first, last = ledger.begin(request), int(query["last"])
    if first > last:
        return Response(status_code=204)

    async def events() -> AsyncIterator[dict[str, Any]]:
        try:
            for count in range(first, min(last, first + int(query.get("each", last)) - 1) + 1):
                yield number(count) | ({"retry": int(query["retry"])} if "retry" in query else {})
            if query.get("then") == "break":
                raise RuntimeError("the stream breaks off on purpose")
            if query.get("then") == "hold":
                await asyncio.Event().wait()
        finally:
            ledger.count("ended")

    return EventSourceResponse(events())


async def paced_numbers(ledger: Ledger, first: int, last: int) -> AsyncIterator[dict[str, Any]]:
    try:
        for count in range(first, last + 1):
            await ledger.wait_for(functools.partial(ledger.is_acknowledged, count - 1))
            yield number(count)
    finally:
        ledger.count("ended")


async def paced(request: Request) -> Response:
    """Send each number after the previous one was acknowledged."""
    ledger, last = ledger_of(request), int(request.query_params["last"])
    first = ledger.begin(request)
    if first > last:
        return Response(status_code=204)
    return EventSourceResponse(paced_numbers(ledger, first, last))


async def zipped(request: Request) -> Response:
    """Do the same with gzip. GZipMiddleware ignores event streams."""
    ledger, last = ledger_of(request), int(request.query_params["last"])
    first = ledger.begin(request)
    if first > last:
        return Response(status_code=204)

    async def compressed() -> AsyncIterator[bytes]:
        compressor = zlib.compressobj(wbits=GZIP)
        async for event in paced_numbers(ledger, first, last):
            yield compressor.compress(ServerSentEvent(**event).encode())
            yield compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()

    headers = {"Content-Encoding": "gzip"}
    return StreamingResponse(compressed(), headers=headers, media_type="text/event-stream")


async def echo(request: Request) -> Response:
    """Send the posted body."""
    ledger_of(request).begin(request)
    posted = await request.json()

    async def events() -> AsyncIterator[dict[str, Any]]:
        for event in posted:
            yield event

    return EventSourceResponse(events(), sep=request.query_params.get("sep"))


async def chat(request: Request) -> Response:
    """Respond to a prompt word by word, then send the end mark, and keep the connection."""
    ledger = ledger_of(request)
    ledger.begin(request)
    body = await request.json()
    ledger.bodies.append(body)

    async def events() -> AsyncIterator[ServerSentEvent]:
        try:
            for word in body["prompt"].split():
                yield ServerSentEvent(word)
            yield ServerSentEvent("[DONE]")
            await asyncio.Event().wait()
        finally:
            ledger.count("ended")

    return EventSourceResponse(events())


async def pings(request: Request) -> Response:
    """Send only sse-starlette's pings until they are acknowledged."""
    ledger = ledger_of(request)
    ledger.begin(request)

    async def events() -> AsyncIterator[dict[str, Any]]:
        await ledger.wait_for(lambda: ledger.acknowledged > 0)
        yield number(1)

    return EventSourceResponse(events(), ping=0.01)


async def torn(request: Request) -> Response:
    """Break off in the middle of the second event, the first time."""
    ledger = ledger_of(request)
    first = ledger.begin(request)
    if first > 3:
        return Response(status_code=204)

    async def chunks() -> AsyncIterator[bytes]:
        if first == 1:
            yield b"id: 1\ndata: number 1\n\nid: 2\ndata: num"
            raise RuntimeError("the stream breaks off on purpose")
        yield b"id: 2\ndata: number 2\n\nid: 3\ndata: number 3\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def busy(request: Request) -> Response:
    """Send one number on each connection, but be too busy for the second."""
    ledger = ledger_of(request)
    first = ledger.begin(request)
    if len(ledger.requests) == 2:
        return Response("too busy", status_code=503, headers={"Retry-After": "1"})
    if first > 2:
        return Response(status_code=204)

    async def events() -> AsyncIterator[dict[str, Any]]:
        yield number(first)

    return EventSourceResponse(events())


async def crowd(request: Request) -> Response:
    """Send nothing until this many streams are open, and then send an event to each of them."""
    ledger, query = ledger_of(request), request.query_params

    async def events() -> AsyncIterator[str]:
        ledger.count("present")
        await ledger.wait_for(lambda: ledger.present >= int(query["size"]))
        for count in range(1, int(query["last"]) + 1):
            yield f"{query['name']}: number {count}"
            await asyncio.sleep(0)
        yield "[DONE]"

    return EventSourceResponse(events())


async def plain(request: Request) -> Response:
    """Count the stream as ended when Starlette cancels it because the client has gone."""
    ledger = ledger_of(request)
    ledger.begin(request)

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"data: here\n\n"
            await asyncio.Event().wait()
        finally:
            ledger.count("ended")

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def told(request: Request) -> Response:
    """Count the stream as ended when sse-starlette reports that the client has gone."""
    ledger = ledger_of(request)
    ledger.begin(request)

    async def gone(_: object) -> None:
        ledger.count("ended")

    async def events() -> AsyncIterator[str]:
        yield "here"
        await asyncio.Event().wait()

    return EventSourceResponse(events(), client_close_handler_callable=gone)


async def nothing(request: Request) -> Response:
    ledger_of(request).begin(request)
    return Response(status_code=204)


async def moved(request: Request) -> Response:
    ledger_of(request).begin(request)
    return RedirectResponse(f"{request.query_params['to']}?{request.url.query}", status_code=307)


async def guarded(request: Request) -> Response:
    if request.headers.get("authorization") != "Bearer open-sesame":
        headers = {"WWW-Authenticate": "Bearer"}
        return JSONResponse({"detail": "who is there?"}, status_code=401, headers=headers)
    return await numbers(request)


async def acknowledge(request: Request) -> Response:
    ledger = ledger_of(request)
    ledger.count("acknowledged", by=int(request.query_params["number"]) - ledger.acknowledged)
    return JSONResponse(None)


async def seen_requests(request: Request) -> Response:
    return JSONResponse(ledger_of(request).requests)


async def seen_bodies(request: Request) -> Response:
    return JSONResponse(ledger_of(request).bodies)


async def ended(request: Request) -> Response:
    """Respond once this many streams have ended."""
    ledger, streams = ledger_of(request), int(request.query_params["streams"])
    await ledger.wait_for(lambda: ledger.ended >= streams)
    return JSONResponse(None)


app = Starlette(
    routes=[
        Route("/numbers", numbers),
        Route("/paced", paced),
        Route("/zipped/paced", zipped),
        Route("/echo", echo, methods=["POST"]),
        Route("/chat", chat, methods=["POST"]),
        Route("/pings", pings),
        Route("/torn", torn),
        Route("/busy", busy),
        Route("/crowd", crowd),
        Route("/plain", plain),
        Route("/told", told),
        Route("/nothing", nothing),
        Route("/moved", moved, methods=["GET", "POST"]),
        Route("/guarded", guarded),
        Route("/acknowledge", acknowledge),
        Route("/requests", seen_requests),
        Route("/bodies", seen_bodies),
        Route("/ended", ended),
    ]
)
