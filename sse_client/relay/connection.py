"""Asking Redis: which failures pass, and how they are waited for.

What passes is waited for with a growing delay: no connection, no reply in time, ``LOADING`` (it
has just started), ``READONLY`` and ``MASTERDOWN`` (it fails over), ``OOM`` (until somebody makes
room), ``MISCONF`` (its disk is full), ``NOREPLICAS``, ``BUSY``, ``TRYAGAIN`` and ``CLUSTERDOWN``.
Everything else would be the same each time, such as ``NOAUTH``, ``WRONGPASS``, ``NOPERM`` or
``WRONGTYPE``, and is final: ``RelayError``.

A call that failed may have been carried out: its reply alone may be lost. So whatever is asked
with patience has to be right when it is asked twice.
"""

from __future__ import annotations

import inspect
import logging
import queue
import random
import re
from typing import TYPE_CHECKING, Any, TypeVar

from sse_client import SSEClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis
    from redis.cluster import RedisCluster

    from sse_client.relay.scripts import Script

    #: The address of a Redis, or a client of redis-py, which stays its owner's.
    RedisAddress = str | Redis | RedisCluster

logger = logging.getLogger("sse_client")

T = TypeVar("T")

#: How long Redis may take to accept a connection and to reply, in seconds. A Redis that was
#: stopped accepts, and says nothing.
SOCKET_TIMEOUT = 5.0

#: How many connections one process may have. A worker has one for each stream that it is writing to
#: at a moment; redis-py's own limit, a hundred, would fail some of them.
_MAX_CONNECTIONS = 10_000

#: The wait before the second attempt and the longest one, in seconds. Half of each is by chance, so
#: that hundreds of relays don't come back to a restarted Redis at once.
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0

#: Replies of Redis that pass. Within a script, older versions put them behind a text of their own.
_PASSING = re.compile(
    r"(?:^|[\s-])"
    r"(LOADING|READONLY|MASTERDOWN|OOM|MISCONF|NOREPLICAS|BUSY|TRYAGAIN|CLUSTERDOWN|UNBLOCKED)\b"
)

#: The code of a reply. Redis 6.2 puts that of a script's command after a text of its own.
_CODE = re.compile(r"(?:^|@user_script: ?\d+: -?)([A-Z]{3,})\b")


class RelayError(SSEClientError):
    """Redis refuses what waiting can't mend: a wrong password, a missing right, a wrong type.

    No message holds the address of a Redis, of which the password may be a part.
    """


class StopFlag:
    """A flag that is set once, and that any number of threads may wait for.

    It is no ``threading.Event``, whose lock isn't reentrant: a signal handler that sets one may
    have interrupted a wait for the same one.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake whoever waits. Never blocks."""
        self._is_set = True
        self._rings.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, or for ``timeout`` seconds; return whether it is set."""
        if not self._is_set:
            try:
                self._rings.get(timeout=timeout)
            except queue.Empty:
                return self._is_set
            self._rings.put(None)  # for the next one that waits
        return self._is_set


class Interrupted(Exception):  # noqa: N818  # no error: it was wanted
    """Waiting for Redis was given up, because nobody wants the reply any more."""


class RedisServer:
    """A Redis, for any number of threads.

    Args:
        redis: The address, ``redis://[:password@]host:port/0``, or a client of redis-py.

    Raises:
        ImportError: The package ``redis`` is missing.
        TypeError, ValueError: ``redis`` is neither; the message doesn't repeat it.
    """

    def __init__(self, redis: RedisAddress) -> None:
        library = _load_library()
        self._errors = library.exceptions
        self._passing: tuple[type[Exception], ...] = (
            *(library.exceptions.ConnectionError, library.exceptions.TimeoutError, OSError),
            *(library.exceptions.OutOfMemoryError, library.exceptions.ReadOnlyError),
            *(library.exceptions.TryAgainError, library.exceptions.ClusterDownError),
            library.exceptions.MasterDownError,
        )
        #: What an attempt may fail with: an error of redis-py, or one of the system.
        self.failures: tuple[type[Exception], ...] = (library.exceptions.RedisError, OSError)
        self._owned = isinstance(redis, str)
        if isinstance(redis, str):
            try:
                self._client: Any = library.Redis.from_url(
                    redis,
                    protocol=2,
                    max_connections=_MAX_CONNECTIONS,
                    socket_timeout=SOCKET_TIMEOUT,
                    socket_connect_timeout=SOCKET_TIMEOUT,
                    # Repeating is done here, where it is known what may be repeated.
                    retry=library.retry.Retry(library.backoff.NoBackoff(), 0),
                )
                # Options that it doesn't know would be found by the first command only.
                pool = self._client.connection_pool
                pool.connection_class(**pool.connection_kwargs)
            except (TypeError, ValueError):
                raise ValueError("redis must be an address such as redis://host:6379/0") from None
        elif _is_client(redis):
            self._client = redis
        else:
            kind = type(redis)
            shown = f"{kind.__module__}.{kind.__qualname__}"
            raise TypeError(f"redis must be an address or a client that blocks, not {shown}")

    def __repr__(self) -> str:
        """Tell nothing of the address."""
        return f"<{type(self).__name__}>"

    @property
    def commands(self) -> Any:  # noqa: ANN401  # redis-py's own types are of many shapes
        """The client itself, for commands whose replies it takes apart."""
        return self._client

    def execute(self, *words: object) -> Any:  # noqa: ANN401  # as Redis replies
        """Carry out one command. Blocks for the reply."""
        return self._client.execute_command(*words)

    def execute_all(self, commands: Sequence[Sequence[object]]) -> list[Any]:
        """Carry out commands in one round trip, each on its own; errors stand among the replies."""
        if not commands:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> Any:  # noqa: ANN401  # as Redis replies
        """Run a script. One round trip, unless Redis has restarted and forgotten the script."""
        try:
            return self.execute("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except self._errors.NoScriptError:
            return self.execute("EVAL", script.text, len(keys), *keys, *arguments)

    @staticmethod
    def commands_of(
        script: Script, calls: Sequence[tuple[Sequence[str], Sequence[object]]]
    ) -> list[list[object]]:
        """Return the commands that run a script with keys and arguments, for ``execute_all``."""
        return [
            ["EVALSHA", script.digest, len(keys), *keys, *arguments] for keys, arguments in calls
        ]

    def passes(self, error: Exception) -> bool:
        """Return whether the failure is worth another attempt."""
        errors = self._errors
        if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
            return False
        # Within a script, older versions put the code behind a text of their own.
        if isinstance(error, errors.ReadOnlyError) or "READONLY" in str(error):
            # The address may name another Redis by now, but an open connection doesn't.
            self.disconnect()
        # Of the codes that redis-py knows, it keeps the class and drops the word.
        if isinstance(error, self._passing):
            return True
        return isinstance(error, errors.ResponseError) and bool(_PASSING.search(str(error)))

    def is_reply(self, error: Exception, code: str) -> bool:
        """Return whether this is Redis's own refusal of that code, such as ``NOGROUP``."""
        return isinstance(error, self._errors.ResponseError) and str(error).startswith(code)

    def disconnect(self) -> None:
        """Drop all connections that are not in use, so that the next is a new one."""
        pool = getattr(self._client, "connection_pool", None)
        if pool is not None:
            pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close the connections, unless the client is somebody else's."""
        if self._owned:
            self._client.close()


class Patience:
    """Asks Redis until it replies, or nobody wants the reply any longer.

    Args:
        server: Whom to ask.
        stopping: Set once the waiting is to end.
        on_trouble: Called with each failure that is waited for, and with None once that is over.
    """

    def __init__(
        self,
        server: RedisServer,
        stopping: StopFlag,
        on_trouble: Callable[[Exception | None], object] = lambda _: None,
    ) -> None:
        self._server = server
        self._stopping = stopping
        self._on_trouble = on_trouble

    def ask(self, question: Callable[[], T]) -> T:
        """Return the reply. Blocks as long as Redis fails in a way that passes.

        Raises:
            Interrupted: ``stopping`` was set before there was a reply.
            RelayError: Redis fails in another way.
        """
        delay = _FIRST_DELAY
        failed = False
        while True:
            try:
                reply = question()
            except self._server.failures as error:
                if not self._server.passes(error):
                    raise refused(error) from error
                if not failed:
                    logger.warning("Redis fails, and is waited for: %s", describe(error))
                failed = True
                self._on_trouble(error)
            else:
                if failed:
                    logger.info("Redis replies again")
                    self._on_trouble(None)
                return reply
            if self._stopping.wait(delay * random.uniform(0.5, 1.0)):  # noqa: S311  # no secret
                self._on_trouble(None)  # whoever goes on may find it well
                raise Interrupted
            delay = min(delay * 2, _LONGEST_DELAY)


def describe(error: Exception) -> str:
    """Name the failure without an address of Redis: the type, and the code of its reply.

    What this package says itself, as of an event stream, holds no secrets.
    """
    if isinstance(error, SSEClientError):
        return f"{type(error).__name__}: {error}"
    found = _CODE.search(str(error))
    return f"{type(error).__name__}{f' ({found[1]})' if found else ''}"


def refused(error: Exception) -> RelayError:
    """Make the error for a failure that is final."""
    return RelayError(f"Redis refuses: {describe(error)}")


def text_of(value: object) -> str:
    """Return a text of Redis, whether or not the client decodes its replies."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_client(given: object) -> bool:
    execute = getattr(given, "execute_command", None)
    return callable(execute) and not inspect.iscoroutinefunction(execute)


def _load_library() -> Any:  # noqa: ANN401  # a module
    try:
        import redis  # noqa: PLC0415  # an extra
        import redis.backoff  # noqa: PLC0415
        import redis.retry  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "the relay needs the package redis: pip install 'sse-client[redis]'"
        ) from error
    return redis
