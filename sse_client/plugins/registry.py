"""The base class of plugins, and the registry of a client's plugins."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sse_client.errors import DuplicatePluginError, PluginNotInstalledError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from sse_client.http.pending_request import PendingRequest
    from sse_client.session.observers import StreamInfo, StreamObserver

P = TypeVar("P")


class Plugin:
    """The methods of a plugin. Any class that has some of these methods can be a plugin.

    ``client.install(YourPlugin, option=...)`` calls ``YourPlugin(option=...)``. Its constructor
    should check the options, and raise a TypeError or ValueError that names the option. Several
    threads may call the methods at once: the threads that send requests, and the reader thread of
    each session.
    """

    def on_request(self, request: PendingRequest) -> None:
        """Inspect or change a request before it is sent. Called for each attempt of a stream.

        If this method raises an error, the request fails. An OSError, such as an error of requests,
        counts as a failed connection, so that a stream tries again.
        """

    def on_response(self, response: requests.Response) -> None:
        """Inspect the header of a response before the client checks it."""

    def on_unauthorized(
        self,
        request: PendingRequest,  # noqa: ARG002  # for those who override it
        response: requests.Response,  # noqa: ARG002  # the same
    ) -> bool:
        """Return whether to create and send a request again after a 401.

        It is repeated once, without a wait, beginning with ``on_request``. The second response is
        final. The request is the one that ``on_request`` got. The response may be that of a
        redirect. Errors are treated like those of ``on_request``.
        """
        return False

    def on_stream(
        self,
        stream: StreamInfo,  # noqa: ARG002  # for those who override it
    ) -> StreamObserver | None:
        """Inspect a stream that is about to be opened. May return an observer of it.

        It is called on the thread that called ``sse``, in the context (``contextvars``) of the
        stream. The requests, hooks and plugins of this stream see the variables that it sets, but
        the caller does not. An exception is logged, and the stream is opened without an observer.
        """
        return None

    def close(self) -> None:
        """Free the resources of the plugin, because its client is being closed."""


class PluginRegistry:
    """The plugins of a client, in the order in which they were installed."""

    def __init__(self) -> None:
        self._plugins: dict[type, Any] = {}

    def install(self, plugin: type[Any], options: Mapping[str, Any]) -> None:
        """Create a plugin with these options, and add it."""
        if not isinstance(cast("object", plugin), type):
            raise TypeError(f"plugin must be a class, not {plugin!r}")
        if plugin in self._plugins:
            raise DuplicatePluginError(f"{plugin.__name__} is already installed")
        self._plugins[plugin] = plugin(**options)

    def get(self, plugin: type[P]) -> P | None:
        """Return the plugin, or None if it is not installed."""
        return cast("P | None", self._plugins.get(plugin))

    def require(self, plugin: type[P]) -> P:
        """Return the plugin, or raise PluginNotInstalledError."""
        found = self.get(plugin)
        if found is None:
            name = plugin.__name__
            raise PluginNotInstalledError(f"{name} is not installed: client.install({name}) first")
        return found

    def names(self) -> list[str]:
        """Return the names of the plugins."""
        return [plugin.__name__ for plugin in self._plugins]

    def on_request(self, request: PendingRequest) -> None:
        """Pass a request to each plugin."""
        for hook in self._hooks("on_request"):
            hook(request)

    def on_response(self, response: requests.Response) -> None:
        """Pass a response to each plugin, the last installed first."""
        for hook in reversed(self._hooks("on_response")):
            hook(response)

    def on_unauthorized(self, request: PendingRequest, response: requests.Response) -> bool:
        """Ask each plugin whether to repeat a request, until one returns True."""
        return any(hook(request, response) for hook in self._hooks("on_unauthorized"))

    def stream_hooks(self) -> list[Callable[[StreamInfo], object]]:
        """Return the ``on_stream`` of each plugin that has it."""
        return self._hooks("on_stream")

    def close(self) -> None:
        """Close all plugins, the last installed first, even if one raises an error."""
        with contextlib.ExitStack() as stack:
            for hook in self._hooks("close"):
                stack.callback(hook)

    def _hooks(self, name: str) -> list[Callable[..., Any]]:
        hooks = (getattr(plugin, name, None) for plugin in self._plugins.values())
        return [hook for hook in hooks if hook is not None]
