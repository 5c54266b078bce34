"""The hooks of a session, and their calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from sse_client.http.pending_request import PendingRequest
    from sse_client.session.caller_context import CallerContext
    from sse_client.session.observers import Observers
    from sse_client.session.session_log import SessionLog


@dataclass(frozen=True, slots=True)
class Hooks:
    """The functions called on the reader thread with the session. ``SSEConfig`` documents them."""

    on_request: Callable[[Any, PendingRequest], object] | None = None
    on_open: Callable[[Any], object] | None = None
    on_disconnect: Callable[[Any, Exception | None, float | None], object] | None = None
    on_comment: Callable[[Any, str], object] | None = None
    on_cursor_expired: Callable[[Any], object] | None = None
    on_close: Callable[[Any], object] | None = None


def is_event_id(text: str) -> bool:
    """Return whether a stream could have set this ID, which excludes nulls and line breaks."""
    return not any(forbidden in text for forbidden in "\0\r\n")


class HookCaller:
    """Calls the hooks with the session, without keeping it alive, and the observers of plugins.

    Only the reader thread uses it.

    An error that a hook raises is logged, and does not end the stream. But an error that
    ``on_request`` raises fails the attempt. ``disconnected``, ``retrying``, ``cursor_expired`` and
    ``closed`` are called between attempts, and each of these calls has its own context. The other
    methods are called within an attempt, in its context.

    Args:
        hooks: The hooks.
        find_session: Returns the session, or None if it was abandoned.
        context: The context of the hooks that are called between attempts.
        log: Logs the errors of hooks.
        observers: The observers of plugins.
    """

    __slots__ = ("_context", "_find_session", "_hooks", "_log", "_observers", "has_comment_hook")

    def __init__(
        self,
        hooks: Hooks,
        find_session: Callable[[], object | None],
        context: CallerContext,
        log: SessionLog,
        observers: Observers,
    ) -> None:
        self._hooks = hooks
        self._find_session = find_session
        self._context = context
        self._log = log
        self._observers = observers
        #: Whether ``commented`` must be called, and its time measured.
        self.has_comment_hook = hooks.on_comment is not None

    @property
    def are_silent_at_the_end(self) -> bool:
        """Whether no user code is called at the end of a stopped stream."""
        return self._hooks.on_close is None and not self._observers.are_any

    @property
    def are_called_while_reading(self) -> bool:
        """Whether user code is called while the stream is read."""
        return self.has_comment_hook or self._observers.are_any

    def requesting(self, request: PendingRequest) -> None:
        """Let the hook change a request that is about to be sent."""
        hook = self._hooks.on_request
        session = None if hook is None else self._find_session()
        if hook is not None and session is not None:
            hook(session, request)
        self._observers.notify("on_request", request)

    def responded(self, response: requests.Response) -> None:
        """Report an accepted response to the observers."""
        self._observers.notify("on_response", response)

    def opened(self) -> None:
        """Report that a connection was opened."""
        self._call(self._hooks.on_open)

    def received_first(self) -> None:
        """Report the first event of a connection to the observers."""
        self._observers.notify("on_first_event")

    def disconnected(self, error: Exception | None, delay: float | None) -> None:
        """Report that a connection was lost or an attempt failed, and the wait before the next."""
        self._context.run(self._observers.notify, "on_loss", error, delay)
        self._context.run(self._call, self._hooks.on_disconnect, error, delay)

    def retrying(self, error: Exception | None) -> None:
        """Report a loss to the observers after which the next attempt follows at once."""
        self._context.run(self._observers.notify, "on_loss", error, 0.0)

    def commented(self, text: str) -> None:
        """Report a comment line."""
        self._call(self._hooks.on_comment, text)

    def cursor_expired(self) -> str | None:
        """Return the ID with which the hook replaces the refused one, or None."""
        chosen = self._context.run(self._call, self._hooks.on_cursor_expired)
        if isinstance(chosen, str) and is_event_id(chosen):
            return chosen
        if chosen is not None:
            self._log.no_event_id(chosen)
        return None

    def closed(self, error: Exception | None) -> None:
        """Report that the stream has ended, first to the hook and then to the observers."""
        self._context.run(self._call, self._hooks.on_close)
        self._context.run(self._observers.end, error)

    def _call(self, hook: Callable[..., object] | None, *args: object) -> object:
        """Call a hook and return its result, or None if there is no hook or it raised an error."""
        session = None if hook is None else self._find_session()
        if hook is None or session is None:
            return None
        try:
            return hook(session, *args)
        except Exception:  # noqa: BLE001  # the log shows it
            self._log.hook_raised()
            return None
