"""Sending commands to Redis, and which of its failures are temporary.

After a temporary failure a command is sent again, with a growing delay. Temporary are: no
connection, no reply in time, ``LOADING`` (after a start), ``READONLY`` and ``MASTERDOWN`` (during a
failover), ``OOM`` (until there is room), ``MISCONF`` (the disk is full), ``NOREPLICAS``, ``BUSY``,
``TRYAGAIN`` and ``CLUSTERDOWN``. Every other failure is permanent, such as ``NOAUTH``,
``WRONGPASS``, ``NOPERM`` and ``WRONGTYPE``, and raises ``RelayError``.

Redis may have executed a command whose reply was lost. So each command that is sent again must be
correct when it runs twice.
"""

from __future__ import annotations

import inspect
import logging
import re
from typing import TYPE_CHECKING, Any

from sse_client.relay.address import (
    REDIS_PORT,
    Address,
    check_options,
    client_for,
    close_client,
    connection_options,
    parse_address,
)
from sse_client.relay.cluster import ClusterCommands
from sse_client.relay.failures import code_of, note_command
from sse_client.relay.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis
    from redis.cluster import RedisCluster

    from sse_client.relay.scripts import Script

    #: The address of a Redis, or a client of redis-py, which its owner closes.
    RedisAddress = str | Redis | RedisCluster

logger = logging.getLogger("sse_client")

#: How long Redis may take to accept a connection and to reply, in seconds. A Redis that is stopped
#: (SIGSTOP) accepts connections and does not reply.
SOCKET_TIMEOUT = 5.0

#: How long ``WAIT`` waits for replicas, in milliseconds; well below the socket's timeout.
_WAIT_FOR_REPLICAS = 2000

#: How many connections one process may have. A worker may open many streams at the same moment;
#: with redis-py's default limit of a hundred, some of them would fail.
_MAX_CONNECTIONS = 10_000

#: Codes of temporary failures. For a command of a script, older versions put a text before them.
_PASSING = re.compile(
    r"(?:^|[\s-])"
    r"(LOADING|READONLY|MASTERDOWN|OOM|MISCONF|NOREPLICAS|BUSY|TRYAGAIN|CLUSTERDOWN|UNBLOCKED)\b"
)


class RedisServer:
    """A Redis, for any number of threads. It is a ``Target``.

    Args:
        redis: The address (see ``address``), or a client of redis-py.
        user: The name of the user in the log.

    Attributes:
        outage: Whether it fails, for all threads together.

    Raises:
        ImportError: The package ``redis`` is missing.
        TypeError, ValueError: ``redis`` is neither of these; the message doesn't repeat it.
    """

    name = "Redis"

    def __init__(self, redis: RedisAddress, user: str = "") -> None:
        self.outage = Outage(user, self.name)
        library = _load_library()
        self._library = library
        self._errors = library.exceptions
        self._passing: tuple[type[Exception], ...] = (
            *(library.exceptions.ConnectionError, library.exceptions.TimeoutError, OSError),
            *(library.exceptions.OutOfMemoryError, library.exceptions.ReadOnlyError),
            *(library.exceptions.TryAgainError, library.exceptions.ClusterError),
            library.exceptions.MasterDownError,
        )
        #: The errors of a failed attempt: those of redis-py and of the system. The one for a
        #: cluster without a reachable node is not a RedisError.
        self.failures: tuple[type[Exception], ...] = (
            *(library.exceptions.RedisError, library.exceptions.RedisClusterException),
            OSError,
        )
        self._made: Any = None
        #: The client that the first thread has created.
        self._clients: dict[int, Any] = {}
        self._address: Address | None = None
        self._options: dict[str, Any] = {}
        if isinstance(redis, str):
            self._options = {
                "protocol": 2,
                "max_connections": _MAX_CONNECTIONS,
                "socket_timeout": SOCKET_TIMEOUT,
                "socket_connect_timeout": SOCKET_TIMEOUT,
            }
            try:
                self._address = parse_address(redis)
                check_options(library, self._address, self._options)
            except (TypeError, ValueError):
                raise ValueError(
                    "redis must be an address such as redis://host:6379/0, "
                    "redis+sentinel://host:26379,host:26379/service or redis+cluster://host,host"
                ) from None
        elif _is_client(redis):
            self._made = redis
        else:
            kind = type(redis)
            shown = f"{kind.__module__}.{kind.__qualname__}"
            raise TypeError(f"redis must be an address or a client that blocks, not {shown}")

    @property
    def _client(self) -> Any:  # noqa: ANN401  # redis-py's own types are of many shapes
        """The client. The first command creates it, because that of a cluster connects at once."""
        made = self._made
        if made is None:
            assert self._address is not None
            made = client_for(self._library, self._address, self._options)
            # Another thread may have been faster.
            if self._clients.setdefault(0, made) is not made:
                close_client(made)
            self._made = made = self._clients[0]
        return made

    def __repr__(self) -> str:
        """Show nothing of the address."""
        return f"<{type(self).__name__}>"

    def execute(self, *words: object, **options: object) -> Any:  # noqa: ANN401  # as Redis replies
        """Execute one command. Blocks for the reply.

        Args:
            *words: The command; see ``keys_of_command``.
            **options: Tell redis-py how to parse the reply.
        """
        try:
            cluster = self._cluster
            if cluster is None:
                return self._client.execute_command(*words, **options)
            return cluster.execute(key_of_command(words), words, options)
        except self.failures as error:
            self._note(error, words)
            raise

    def _note(self, error: Exception, words: Sequence[object]) -> None:
        """Attach the command, its keys and the address to an error."""
        address = self.shown if self._is_single else ""
        note_command(error, words, keys_of_command(words), address)

    @property
    def _is_single(self) -> bool:
        return self._address is not None and self._address.kind == "single"

    @property
    def shown(self) -> str:
        """Host and port, without user info: of a server, or of Sentinels or nodes."""
        if self._address is None:
            return "a client of redis-py"
        if not self._is_single:
            return ",".join(f"{host}:{port}" for host, port in self._address.hosts)
        options = connection_options(self._library, self._address)
        host = options.get("host", "localhost")
        return str(options.get("path") or f"{host}:{options.get('port', REDIS_PORT)}")

    def execute_all(self, commands: Sequence[Sequence[object]]) -> list[Any]:
        """Execute commands in one round trip. The reply of a failed command is the error.

        In a cluster this takes one round trip per master. If a master fails, the replies of its
        commands are that failure.

        Raises:
            redis.RedisError: Redis fails; or all masters of a cluster fail.
        """
        if not commands:
            return []
        cluster = self._cluster
        if cluster is None:
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            try:
                found: list[Any] = pipeline.execute(raise_on_error=False)
            except self.failures as error:
                self._note(error, commands[0])
                raise
            for command, reply in zip(commands, found, strict=True):
                if isinstance(reply, self.failures):
                    self._note(reply, command)
            return found
        keys = [key_of_command(each) for each in commands]
        replies: list[Any] = [None] * len(commands)
        for indexes in cluster.by_master(keys).values():
            try:
                found = cluster.execute_all(
                    [keys[index] for index in indexes], [commands[index] for index in indexes]
                )
            except self.failures as error:
                found = [error] * len(indexes)
            for index, reply in zip(indexes, found, strict=True):
                replies[index] = reply
        if all(isinstance(reply, self.failures) and self.passes(reply) for reply in replies):
            raise replies[0]
        return replies

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several masters."""
        if self._address is not None:
            return self._address.kind == "cluster"
        return isinstance(self._made, self._library.cluster.RedisCluster)

    @property
    def _cluster(self) -> ClusterCommands | None:
        return ClusterCommands(self._errors, self._client) if self.is_cluster else None

    def by_master(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """Return for each master the indexes of the keys that are on it.

        Raises:
            redis.exceptions.RedisClusterException: No node of the cluster is reachable.
        """
        cluster = self._cluster
        return {"": list(range(len(keys)))} if cluster is None else cluster.by_master(keys)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> Any:  # noqa: ANN401  # as Redis replies
        """Run a script. One round trip, unless Redis has restarted and forgotten the script."""
        try:
            return self.execute("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except self._errors.NoScriptError:
            return self.execute("EVAL", script.text, len(keys), *keys, *arguments)

    def run_on_replicas(
        self, script: Script, keys: Sequence[str], arguments: Sequence[object], replicas: int
    ) -> Any:  # noqa: ANN401  # as Redis replies
        """Run a script, and wait until this number of replicas has its writes. One round trip.

        Raises:
            redis.ResponseError: ``NOREPLICAS``, a temporary failure: fewer replicas had them in
                time. The writes are kept, so the script must be correct when it runs twice.
        """
        reply: Any = None
        for words in (("EVALSHA", script.digest), ("EVAL", script.text)):
            call = [*words, len(keys), *keys, *arguments]
            wait = ["WAIT", replicas, _WAIT_FOR_REPLICAS]
            reply, reached = self._execute_together(keys[0], [call, wait])
            if not isinstance(reply, self._errors.NoScriptError):
                break
        for each in (reply, reached):
            if isinstance(each, Exception):
                raise each
        if reached < replicas:
            raise self._errors.ResponseError(f"NOREPLICAS {reached} of {replicas} have replied")
        return reply

    def _execute_together(self, key: str, commands: Sequence[Sequence[object]]) -> list[Any]:
        """Execute commands on one connection to the master that has the key."""
        cluster = self._cluster
        if cluster is not None:
            return cluster.execute_all([key] * len(commands), commands)
        return self.execute_all(commands)

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
        # For a command of a script, older versions put a text before the code.
        if isinstance(error, errors.ReadOnlyError) or "READONLY" in str(error):
            # The address may lead to another Redis by now; the open connection does not.
            self.disconnect()
        if isinstance(error, errors.RedisClusterException):
            return self._cluster_passes(error)
        # For the codes that redis-py knows, it raises a class and drops the code.
        if isinstance(error, self._passing):
            return True
        return isinstance(error, errors.ResponseError) and bool(_PASSING.search(str(error)))

    def _cluster_passes(self, error: Exception) -> bool:
        """Return whether a cluster may be reachable later. A refusal of each node is permanent."""
        if isinstance(error, self._errors.SlotNotCoveredError):
            return True
        cause = error.__cause__
        if cause is not None and not isinstance(cause, self._passing):
            return False
        if isinstance(cause, self._errors.AuthenticationError | self._errors.AuthorizationError):
            return False
        return str(error).startswith(("Redis Cluster cannot be connected", "All slots are not"))

    def length(self, stream: str) -> int:
        """Return the number of entries of a Redis Stream. Blocks for Redis."""
        return int(self.execute("XLEN", stream))

    def is_unknown_script(self, reply: object) -> bool:
        """Return whether Redis doesn't know a script that was called by its digest."""
        return isinstance(reply, self._errors.NoScriptError)

    def is_reply(self, error: Exception, code: str) -> bool:
        """Return whether this is a refusal by Redis with that code, such as ``NOGROUP``."""
        return isinstance(error, self._errors.ResponseError) and code_of(error) == code

    def disconnect(self) -> None:
        """Close all connections that are not in use, so that the next one is new."""
        pool = getattr(self._made, "connection_pool", None)
        if pool is not None:
            pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close the connections, unless the caller has provided the client."""
        if self._address is not None and self._made is not None:
            close_client(self._made)


def keys_of_command(command: Sequence[object]) -> list[str]:
    """Return the keys of a command: those of a script, otherwise the second word."""
    if command[0] in {"EVAL", "EVALSHA"}:
        return [str(key) for key in command[3 : 3 + int(str(command[2]))]]
    if command[0] == "XREADGROUP":  # of one stream
        return [str(command[-2])]
    return [str(key) for key in command[1:2]]


def key_of_command(command: Sequence[object]) -> str:
    """Return the first key of a command."""
    return keys_of_command(command)[0]


def text_of(value: object) -> str:
    """Return a string of Redis, whether or not the client decodes its replies."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_client(given: object) -> bool:
    execute = getattr(given, "execute_command", None)
    return callable(execute) and not inspect.iscoroutinefunction(execute)


def _load_library() -> Any:  # noqa: ANN401  # a module
    try:
        import redis  # noqa: PLC0415  # an extra
        import redis.backoff  # noqa: PLC0415
        import redis.cluster  # noqa: PLC0415
        import redis.retry  # noqa: PLC0415
        import redis.sentinel  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "the relay needs the package redis: pip install 'sse-client[redis]'"
        ) from error
    return redis
