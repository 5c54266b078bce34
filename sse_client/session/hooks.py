"""The hooks of a session, and how they are called."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.http.pending_request import PendingRequest

logger = logging.getLogger("sse_client")


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is called on the reader thread, with the session first; ``SSEConfig`` documents each."""

    on_request: Callable[[Any, PendingRequest], object] | None = None
    on_open: Callable[[Any], object] | None = None
    on_disconnect: Callable[[Any, Exception | None, float | None], object] | None = None
    on_comment: Callable[[Any, str], object] | None = None
    on_cursor_expired: Callable[[Any], object] | None = None
    on_close: Callable[[Any], object] | None = None


def is_event_id(text: str) -> bool:
    """Return whether a stream could have set this ID: one without a null or a line break."""
    return not any(forbidden in text for forbidden in "\0\r\n")


class HookCaller:
    """Calls the hooks with the session, without keeping it alive. For the reader thread.

    A hook that raises is logged, and does not end the stream; but what ``on_request`` raises fails
    the attempt.

    Args:
        hooks: The hooks.
        find_session: Returns the session, None once it was abandoned.
    """

    __slots__ = ("_find_session", "_hooks", "hears_comments")

    def __init__(self, hooks: Hooks, find_session: Callable[[], object | None]) -> None:
        self._hooks = hooks
        self._find_session = find_session
        #: Whether ``commented`` is worth a call, and a look at the clock around it.
        self.hears_comments = hooks.on_comment is not None

    def requesting(self, request: PendingRequest) -> None:
        """Let the hook change a request that is about to be sent."""
        hook = self._hooks.on_request
        session = None if hook is None else self._find_session()
        if hook is not None and session is not None:
            hook(session, request)

    def opened(self) -> None:
        """Report that a connection was opened."""
        self._call(self._hooks.on_open)

    def disconnected(self, error: Exception | None, delay: float | None) -> None:
        """Report that a connection was lost or an attempt failed, and when the next one comes."""
        self._call(self._hooks.on_disconnect, error, delay)

    def commented(self, text: str) -> None:
        """Report a comment line."""
        self._call(self._hooks.on_comment, text)

    def cursor_expired(self) -> str | None:
        """Ask after which ID to go on in place of the refused one; return None for none."""
        chosen = self._call(self._hooks.on_cursor_expired)
        if isinstance(chosen, str) and is_event_id(chosen):
            return chosen
        if chosen is not None:
            logger.error("on_cursor_expired returned no event ID, but %r", type(chosen).__name__)
        return None

    def closed(self) -> None:
        """Report that the stream has ended."""
        self._call(self._hooks.on_close)

    def _call(self, hook: Callable[..., object] | None, *args: object) -> object:
        """Return what the hook returned, None if there is none or it raised."""
        session = None if hook is None else self._find_session()
        if hook is None or session is None:
            return None
        try:
            return hook(session, *args)
        except Exception:
            logger.exception("%r: a hook raised", session)
            return None
