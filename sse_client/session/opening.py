"""Opens and closes a session from asyncio, without blocking the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from typing_extensions import TypeVar  # which knows defaults

    from sse_client.event_stream.events import ServerSentEvent
    from sse_client.session.sse_session import SSESession

    E_co = TypeVar("E_co", covariant=True, default=ServerSentEvent)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)


class SessionOpening(Generic[E_co]):
    """A session that opens without blocking the loop, as returned by ``client.sse_async(...)``.

    Use it in ``async with``, which closes the session at the end of the block. Or await it, and
    close the session with ``await session.aclose()``. It can be used once, by one task.
    """

    def __init__(self, prepare: Callable[[], SSESession[E_co]]) -> None:
        self._prepare = prepare
        self._session: SSESession[E_co] | None = None

    def __await__(self) -> Generator[Any, Any, SSESession[E_co]]:
        """Open the session, and return it; raise what ``client.sse`` raises."""
        return self._open().__await__()

    async def __aenter__(self) -> SSESession[E_co]:
        """Open the session, and return it; raise what ``client.sse`` raises."""
        self._session = await self._open()
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session."""
        if self._session is not None:  # pragma: no branch  # __aenter__ has set it
            await self._session.aclose()

    async def _open(self) -> SSESession[E_co]:
        session = self._prepare()
        try:
            if session.incoming.keeper is not None:
                # If the task is cancelled in the meantime, the thread gives the cursor back.
                await asyncio.to_thread(session.load_position)
            session.start()
            await session.until_open()
        except BaseException as error:  # also if the task is cancelled
            session.give_up(error, 0.0)
            raise
        return session
