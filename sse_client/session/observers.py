"""Lets plugins observe a stream, from the call of ``sse`` to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import requests

    from sse_client.http.pending_request import PendingRequest
    from sse_client.session.caller_context import CallerContext
    from sse_client.session.session_log import SessionLog
    from sse_client.session.statistics import Statistics


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream that is about to be opened.

    Attributes:
        method: The HTTP method.
        url: The address that ``sse`` was called with. It may contain secrets, and
            ``DefaultRequest`` may still complete it.
        name: The name of the stream in the log, without secrets.
        statistics: The figures, which change during the stream. Any thread may read them.
    """

    method: str
    url: str = field(repr=False)
    name: str
    statistics: Statistics


class StreamObserver:
    """Observes one stream, as returned by ``Plugin.on_stream``.

    Any object with some of these methods can be an observer. The methods are called on the reader
    thread, one at a time, in a copy of the context of ``Plugin.on_stream``. The stream waits for
    them. An exception is logged and does not end the stream.
    """

    def on_request(self, request: PendingRequest) -> None:
        """Called with each request that is about to be sent, also when it is repeated after a 401.

        All plugins and the hook ``on_request`` have already changed the request.
        """

    def on_response(self, response: requests.Response) -> None:
        """Called with an accepted response: the stream is open, or a 204 has ended it."""

    def on_first_event(self) -> None:
        """Called when the first event of a connection has arrived."""

    def on_loss(self, error: Exception | None, delay: float | None) -> None:
        """Called when a connection was lost or an attempt failed.

        Args:
            error: The error, or None if the stream ended or ``reconnect`` was called.
            delay: The seconds until the next attempt, or None if there is none.
        """

    def on_end(self, error: Exception | None) -> None:
        """Called last, exactly once, when the stream has ended.

        If the stream could not be started, this is called on the thread that called ``sse``. It is
        not called in a forked process, to which the stream does not belong.

        Args:
            error: The error, or None for a clean end or a closed session.
        """


class Observers:
    """The observers of one stream. The thread that calls ``sse`` and then the reader thread use it.

    Args:
        context: The context in which the stream runs.
        log: Logs the exceptions of observers.
    """

    __slots__ = ("_context", "_log", "_observers")

    def __init__(self, context: CallerContext, log: SessionLog) -> None:
        self._context = context
        self._log = log
        self._observers: list[object] = []

    @property
    def are_any(self) -> bool:
        """Whether there are any observers."""
        return bool(self._observers)

    def begin(self, hooks: Iterable[Callable[[StreamInfo], object]], stream: StreamInfo) -> None:
        """Call the ``on_stream`` of each plugin. The context keeps the variables that it sets."""
        for hook in hooks:
            observer = self._context.enter(self._call, hook, stream)
            if observer is not None:
                self._observers.append(observer)

    def notify(self, name: str, *arguments: object) -> None:
        """Call a method of each observer that has it."""
        self._notify(self._observers, name, *arguments)

    def end(self, error: BaseException | None) -> None:
        """Report the end of the stream, the first time that this is called."""
        observers, self._observers = self._observers, []
        self._notify(observers, "on_end", error if isinstance(error, Exception) else None)

    def forget(self) -> None:
        """Report nothing more, because the stream belongs to the parent."""
        self._observers = []

    def _notify(self, observers: Iterable[object], name: str, *arguments: object) -> None:
        for observer in observers:
            method = getattr(observer, name, None)
            if method is not None:
                self._call(method, *arguments)

    def _call(self, function: Callable[..., object], *arguments: object) -> object:
        """Call a function, and return its result, or None if it raised an error."""
        try:
            return function(*arguments)
        except Exception:  # noqa: BLE001  # the log shows it
            self._log.plugin_raised()
            return None
