"""The position of a stream in Redis, for streams that are processed here: a ``CursorStore``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sse_client import CursorError
from sse_client.relay.connection import RedisServer
from sse_client.relay.failures import describe
from sse_client.relay.held_lease import LEASE_TIME, Wait, new_owner
from sse_client.relay.lease import Lease, acquire, milliseconds
from sse_client.relay.lease_keeper import LeaseKeeper
from sse_client.relay.options import check_lease_time, check_name
from sse_client.relay.own_process import OwnProcess
from sse_client.relay.scripts import SAVE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from sse_client.relay.connection import RedisAddress

_CLOSE_TIMEOUT = 1.0


class RedisCursor:
    """Keeps the position of one stream in Redis: ``RedisCursor("orders", redis="redis://...")``.

    From the first call until ``close``, a lease excludes other users of the position, in this
    process too. A thread renews it. After a killed process the lease expires. A process that was
    paused for longer than that finds the lease lost, and can no longer save. Redis has to keep its
    data: with ``appendfsync everysec`` a failure of its machine may lose the positions of the last
    second, and the events of that second are delivered again.

    For one thread at a time. A context manager that closes itself.

    Example:
        >>> with RedisCursor("orders", redis="redis://127.0.0.1") as cursor:  # doctest: +SKIP
        ...     cursor.save("42")
        ...     cursor.load()
        '42'

    Args:
        name: The name of the position. Its keys begin with ``sse-client:{name}:``.
        redis: The address of a Redis, or a client of redis-py, which the cursor does not close.
        lease_time: The time after which the lease expires unless it is renewed, in seconds.

    Raises:
        ImportError: The package ``redis`` is missing (extra ``redis``).
        TypeError, ValueError: An option is wrong; the message names it.
    """

    def __init__(self, name: str, *, redis: RedisAddress, lease_time: float = LEASE_TIME) -> None:
        # A relay into a Redis Stream of the same name has a different position.
        self._name = check_name("name", name)
        self._key = f"{self._name}:cursor"
        check_lease_time(lease_time)
        self._lease_time = lease_time
        self._server = RedisServer(redis)
        self._lease: Lease | None = None
        #: The process that has taken the lease.
        self._process = OwnProcess()
        self._keeper: LeaseKeeper | None = None
        self._saved: str | None = None

    def __repr__(self) -> str:
        """Name the position."""
        return f"<RedisCursor {self._name!r}>"

    def load(self) -> str | None:
        """Read the ID that was saved last. Blocks for Redis, and takes the lease.

        Returns:
            The ID, None if none was ever saved.

        Raises:
            CursorError: Redis doesn't reply, or the position is in use by another cursor or by the
                process from which this one was forked.
        """
        self._raise_if_forked()
        self.close()
        with self._errors("loaded"):
            taken = acquire(self._server, self._key, new_owner(), self._lease_time)
        if isinstance(taken, Wait):
            raise self._error("is in use by another cursor")
        self._lease, self._process = taken, OwnProcess()
        self._keeper = LeaseKeeper(self._server, self._lease_time)
        self._keeper.keep(taken)
        self._keeper.start()
        self._saved = taken.position.id
        return self._saved

    def save(self, event_id: str) -> None:
        """Save the ID, in one round trip. Saving the same ID again costs nothing.

        Raises:
            CursorError: The ID could not be saved, the lease was lost, or the cursor belongs to the
                process from which this one was forked.
        """
        given: object = event_id
        if not isinstance(given, str):
            raise TypeError(f"event_id must be a str, not {type(given).__name__}")
        self._raise_if_forked()
        if self._lease is None:
            self.load()
        lease = self._lease
        assert lease is not None
        if lease.lost.is_set():
            raise self._lost()
        if event_id == self._saved:
            return
        self._saved = None  # unknown until the save is done
        words = [lease.text, milliseconds(self._lease_time), event_id]
        with self._errors("saved"):
            is_saved = self._server.run(SAVE, [lease.key, lease.state_key], words)
        if not is_saved:
            lease.lose()
            raise self._lost()
        self._saved = event_id

    def close(self) -> None:
        """Release the lease, unless it belongs to a parent process. ``load`` takes it again."""
        keeper, self._keeper = self._keeper, None
        lease, self._lease = self._lease, None
        self._saved = None
        if not self._process.is_current:
            return
        if keeper is not None:
            keeper.close(_CLOSE_TIMEOUT)
        if lease is not None:
            lease.release()
        self._server.close()

    def __enter__(self) -> Self:
        """Return the cursor."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the cursor."""
        self.close()

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._server.failures as error:
            raise self._error(f"cannot be {what}: {describe(error)}") from error

    def _raise_if_forked(self) -> None:
        if self._lease is not None and not self._process.is_current:
            owner = self._process.id
            raise self._error(f"belongs to process {owner}, from which this one was forked")

    def _lost(self) -> CursorError:
        return self._error("was lost: it wasn't renewed in time, and may be in use elsewhere")

    def _error(self, what: str) -> CursorError:
        return CursorError(f"the position {self._name!r} {what}")
