"""Sessions of asyncio programs: opened, refused, cancelled and closed without blocking the loop."""

from __future__ import annotations

import asyncio

import pytest
from support import sse_client_for_tests

from sse_client import SSE, HttpClient, ReadyState, SessionClosedError, UnexpectedStatusError


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


def test_a_session_that_was_awaited_is_closed_at_the_end_of_its_block(server, client):
    server.serve(["one"], then="stall")

    async def main():
        session = await client.sse_async(server.url)
        async with session as entered:
            assert entered is session
            assert (await anext(session.incoming)).data == "one"
        return session

    assert asyncio.run(main()).state is ReadyState.CLOSED


def test_a_refused_stream_raises_what_sse_raises(server, client):
    server.respond(404)

    async def main():
        with pytest.raises(UnexpectedStatusError) as caught:
            await client.sse_async(server.url)
        return caught.value.status_code

    assert asyncio.run(main()) == 404


def test_closing_the_client_ends_the_wait_for_the_stream(server, client):
    async def main():
        opening = asyncio.create_task(enter())
        exchange = await asyncio.to_thread(server.accept)
        await client.aclose()
        with pytest.raises(SessionClosedError, match="while it was connecting"):
            await opening
        assert await asyncio.to_thread(exchange.wait_closed)

    async def enter():
        async with client.sse_async(server.url):
            pytest.fail("it cannot be open")

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing_open(server, client):
    async def enter():
        async with client.sse_async(server.url):
            pytest.fail("it cannot be open")

    async def main():
        opening = asyncio.create_task(enter())
        exchange = await asyncio.to_thread(server.accept)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert await asyncio.to_thread(exchange.wait_closed)

    asyncio.run(main())


def test_a_client_is_closed_at_the_end_of_its_block(server):
    server.serve(["one"], then="stall")

    async def main():
        async with HttpClient().install(SSE) as client:
            session = await client.sse_async(server.url)
            assert session.state is ReadyState.OPEN
        return session

    assert asyncio.run(main()).state is ReadyState.CLOSED
