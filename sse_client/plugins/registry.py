"""Plugins: what one is, and the registry of those that a client has."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sse_client.errors import DuplicatePluginError, PluginNotInstalledError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from sse_client.http.pending_request import PendingRequest

P = TypeVar("P")


class Plugin:
    """What a plugin can do. Any class that has some of these methods will do.

    ``client.install(YourPlugin, option=...)`` makes one with ``YourPlugin(option=...)``, which has
    to check its options: a TypeError or ValueError that names the option. The methods may be
    called by several threads at once: by those that send requests, and by the reader thread of
    each session.
    """

    def on_request(self, request: PendingRequest) -> None:
        """See and change a request before it is sent, for each attempt of a stream, too.

        An error that this raises fails the request; an OSError (also those of requests) counts as a
        failed connection, so that a stream tries again.
        """

    def on_response(self, response: requests.Response) -> None:
        """See a response, its header only, before it is looked at."""

    def on_unauthorized(
        self,
        request: PendingRequest,  # noqa: ARG002  # for those who override it
        response: requests.Response,  # noqa: ARG002  # the same
    ) -> bool:
        """Hear that the response to a request is 401, and say whether to make and send it anew.

        That happens once, without a wait, and begins with ``on_request``; the second response is
        final, whatever it is. The request is the one that ``on_request`` saw; the response may be
        that to a redirect. Errors are treated like those of ``on_request``.
        """
        return False

    def close(self) -> None:
        """Free what the plugin holds: its client is being closed."""


class PluginRegistry:
    """The plugins of a client, in the order in which they were installed."""

    def __init__(self) -> None:
        self._plugins: dict[type, Any] = {}

    def install(self, plugin: type[Any], options: Mapping[str, Any]) -> None:
        """Make a plugin from its options, and add it."""
        if not isinstance(cast("object", plugin), type):
            raise TypeError(f"a plugin is a class, not {plugin!r}")
        if plugin in self._plugins:
            raise DuplicatePluginError(f"{plugin.__name__} is installed already")
        self._plugins[plugin] = plugin(**options)

    def get(self, plugin: type[P]) -> P | None:
        """Return the plugin, None if it isn't installed."""
        return cast("P | None", self._plugins.get(plugin))

    def require(self, plugin: type[P]) -> P:
        """Return the plugin, or raise PluginNotInstalledError."""
        found = self.get(plugin)
        if found is None:
            name = plugin.__name__
            raise PluginNotInstalledError(f"{name} is not installed: client.install({name}) first")
        return found

    def on_request(self, request: PendingRequest) -> None:
        """Show a request to each plugin."""
        for hook in self._hooks("on_request"):
            hook(request)

    def on_response(self, response: requests.Response) -> None:
        """Show a response to each plugin, the last installed first."""
        for hook in reversed(self._hooks("on_response")):
            hook(response)

    def on_unauthorized(self, request: PendingRequest, response: requests.Response) -> bool:
        """Ask each plugin whether to send a request anew, until one says so."""
        return any(hook(request, response) for hook in self._hooks("on_unauthorized"))

    def close(self) -> None:
        """Close each plugin that can be closed, the last installed first, even if one raises."""
        with contextlib.ExitStack() as stack:
            for hook in self._hooks("close"):
                stack.callback(hook)

    def _hooks(self, name: str) -> list[Callable[..., Any]]:
        hooks = (getattr(plugin, name, None) for plugin in self._plugins.values())
        return [hook for hook in hooks if hook is not None]
