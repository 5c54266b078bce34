"""Commands in a cluster, each sent to the master that has its key.

redis-py routes commands too, but for many of them it first asks one node which words are keys. If
that node does not reply, no command is sent, whichever master has the key. Here the key is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class ClusterCommands:
    """Routes commands to masters. Thread-safe.

    Args:
        errors: The errors of redis-py.
        client: The client of redis-py for the cluster.
    """

    def __init__(self, errors: Any, client: Any) -> None:  # noqa: ANN401  # a module, and a client
        self._client = client
        self._errors = errors
        self._lost = (errors.ConnectionError, errors.TimeoutError, OSError)
        self._redirections = (errors.AskError, errors.TryAgainError, errors.ClusterDownError)

    def execute(self, key: str, words: Sequence[object], options: dict[str, Any]) -> Any:  # noqa: ANN401  # as Redis replies
        """Execute one command. Follows redirections."""
        return self._client.execute_command(*words, target_nodes=self._node_of(key), **options)

    def execute_all(self, keys: Sequence[str], commands: Sequence[Sequence[object]]) -> list[Any]:
        """Execute commands whose keys are on one master, in one round trip.

        Each succeeds or fails separately; the reply of a failed command is the error.
        """
        connection = self._client.get_redis_connection(self._node_of(keys[0]))
        pipeline = connection.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            replies: list[Any] = pipeline.execute(raise_on_error=False)
        except self._lost:
            # A replica may have replaced that master.
            self._client.nodes_manager.initialize()
            raise
        for index, reply in enumerate(replies):
            if isinstance(reply, self._redirections):
                try:
                    replies[index] = self.execute(keys[index], commands[index], {})
                except (self._errors.RedisError, self._errors.RedisClusterException) as error:
                    replies[index] = error
        return replies

    def by_master(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """Return for each master the indexes of the keys that are on it."""
        found: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            try:
                name = str(self._node_of(key).name)
            except self._errors.RedisClusterException:  # no node serves the slot at the moment
                name = ""
            found.setdefault(name, []).append(index)
        return found

    def _node_of(self, key: str) -> Any:  # noqa: ANN401  # redis-py's own
        return self._client.nodes_manager.get_node_from_slot(self._client.keyslot(key))
