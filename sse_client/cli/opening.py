"""Opens the streams that a command follows, and closes them at its end."""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import InsecureRequestWarning

from sse_client import SSE, BearerAuth, ConnectionFailedError, HttpClient, SessionClosedError
from sse_client.cli.hooks import combine
from sse_client.cli.outages import Outages
from sse_client.cli.output import complain
from sse_client.cli.proxies import noting_proxy
from sse_client.cli.request_options import proxies, request_arguments
from sse_client.cli.session_options import session_options
from sse_client.cli.verbose import Conversation

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from sse_client import SSESession


class Opener:
    """Opens the streams of a command. Thread-safe.

    Args:
        client: The client that opens them.
        arguments: The parsed options of requests and sessions.
    """

    def __init__(self, client: HttpClient, arguments: argparse.Namespace) -> None:
        self._client = client
        self._arguments = arguments
        self._is_over = threading.Event()
        #: Whether ``close`` was called.
        self.is_closed = False

    @contextlib.contextmanager
    def followed(
        self, url: str, options: dict[str, Any], hooks: dict[str, Any], name: str = ""
    ) -> Iterator[SSESession]:
        """Open a stream, and close it at the end of the block. Blocks until it is open.

        After ``--max-time`` its session is closed, which ends an iteration over it.

        Args:
            url: The address.
            options: More options of ``SSEConfig``.
            hooks: The hooks of a display.
            name: The name of the stream, if there are several.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(noting_proxy(url, proxies(self._arguments)))
            sets = [hooks]
            conversation = self._client.plugin_or_none(Conversation)
            if conversation is not None:
                sets.append(conversation.hooks())
            elif not hooks:  # a display would show an outage
                sets.append(stack.enter_context(Outages(name)).hooks())
            yield stack.enter_context(self._open(url, {**options, **combine(sets)}))

    def _open(self, url: str, options: dict[str, Any]) -> SSESession:
        chosen = {**session_options(self._arguments), **options}
        try:
            return self._client.sse(url, **request_arguments(self._arguments), **chosen)
        except SessionClosedError:
            if self._is_over.is_set():
                message = "no stream could be opened within --max-time"
                raise ConnectionFailedError(message) from None
            if self.is_closed:
                raise BrokenPipeError from None  # the reader of the output has gone
            raise

    def close(self) -> None:
        """Close all sessions. Thread-safe."""
        self.is_closed = True
        self._client.close()

    @contextlib.contextmanager
    def limited(self, seconds: float | None) -> Iterator[None]:
        """Close all sessions after this many seconds, unless the block ends earlier."""
        if seconds is None:
            yield
            return

        def close() -> None:
            self._is_over.set()
            self._client.close()

        timer = threading.Timer(seconds, close)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


@contextlib.contextmanager
def opener(arguments: argparse.Namespace) -> Iterator[Opener]:
    """Return an opener, and close its streams at the end of the block.

    Args:
        arguments: The parsed options of requests and sessions.
    """
    with contextlib.ExitStack() as stack:
        if arguments.insecure:
            complain("warning: certificates are not checked (--insecure)")
            stack.enter_context(_unwarned())
        session = None
        if arguments.unix_socket:
            from sse_client.cli.unix_socket import session_through  # noqa: PLC0415  # rarely used

            session = stack.enter_context(session_through(arguments.unix_socket))
        client = stack.enter_context(HttpClient(session).install(SSE))
        if arguments.bearer_env:
            token = arguments.bearer_env

            def load() -> str:
                return str(token)

            # There is no other token. The request is repeated once, and a second 401 is final.
            client.install(BearerAuth, load=load, refresh=load)
        if arguments.verbose:
            client.install(Conversation, proxies=proxies(arguments))
        found = Opener(client, arguments)
        stack.enter_context(found.limited(arguments.max_time))
        yield found


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Suppress the client's own warning that no certificate is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        yield
