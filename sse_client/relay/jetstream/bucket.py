"""The bucket of the leases: a key-value bucket of JetStream whose values expire (``ttl``)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sse_client.relay.failures import RelayError
from sse_client.relay.jetstream.failures import NAME_IN_USE, NO_MESSAGE, NO_STREAM, NatsError
from sse_client.relay.jetstream.stream import read_headers

if TYPE_CHECKING:
    from sse_client.relay.jetstream.connection import NatsServer

#: The bucket of all relays of an account.
BUCKET = "sse-client-leases"

#: JetStream counts nanoseconds.
_NANOSECONDS = 1_000_000_000

#: The longest window for duplicates, in seconds: JetStream's default.
_LONGEST_WINDOW = 120

_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_OPERATION = "KV-Operation"


@dataclass(frozen=True)
class Entry:
    """A value in the bucket.

    Attributes:
        revision: Its revision, 0 if the key never had a value or the value has expired.
        value: The value, None if there is none.
    """

    revision: int = 0
    value: bytes | None = None


class Bucket:
    """The bucket, for any number of threads. All methods block, and raise NatsError.

    Args:
        server: NATS.
        name: Its name.
    """

    def __init__(self, server: NatsServer, name: str) -> None:
        self._server = server
        self._name = name
        self._stream = f"KV_{name}"

    def problem(self, seconds: float) -> str | None:
        """Return why it can't be used for this lease time, ``""`` if it can.

        None if it doesn't exist.
        """
        try:
            info = self._server.ask(f"STREAM.INFO.{self._stream}")
        except NatsError as error:
            if error.code != NO_STREAM:
                raise
            return None
        found = info["config"].get("max_age", 0)
        if found == round(seconds * _NANOSECONDS):
            return ""
        return (
            f"the values of the bucket {self._name!r} live for {found / _NANOSECONDS:g} s, which "
            f"must be the lease time of all relays, but this one's is {seconds:g} s"
        )

    def prepare(self, seconds: float, replicas: int) -> None:
        """Create it if it doesn't exist.

        Args:
            seconds: How long its values live.
            replicas: The number of replicas of a new bucket.

        Raises:
            RelayError: Its values live for another time.
        """
        problem = self.problem(seconds)
        if problem:
            raise RelayError(problem)
        if problem is None:
            try:
                self._create(seconds, replicas)
            except NatsError as error:
                if error.code != NAME_IN_USE:
                    raise
                # Another relay has just created it, perhaps with another number of replicas.
                self.prepare(seconds, replicas)

    def _create(self, seconds: float, replicas: int) -> None:
        life = round(seconds * _NANOSECONDS)
        self._server.ask(
            f"STREAM.CREATE.{self._stream}",
            name=self._stream,
            subjects=[f"$KV.{self._name}.>"],
            max_msgs_per_subject=1,
            max_age=life,
            duplicate_window=min(life, _LONGEST_WINDOW * _NANOSECONDS),
            discard="new",
            storage="file",
            allow_rollup_hdrs=True,
            deny_delete=True,
            num_replicas=replicas,
        )

    def get(self, key: str) -> Entry:
        """Return the value of a key."""
        try:
            found = self._server.ask(
                f"STREAM.MSG.GET.{self._stream}", last_by_subj=f"$KV.{self._name}.{key}"
            )
        except NatsError as error:
            if error.code not in {NO_MESSAGE, NO_STREAM}:
                raise
            return Entry()
        message = found["message"]
        if _OPERATION in read_headers(message):  # it was deleted
            return Entry(message["seq"])
        return Entry(message["seq"], base64.b64decode(message.get("data", "")))

    def put(self, key: str, value: bytes, revision: int) -> int:
        """Set the value of a key if it still has this revision; return the new one.

        Raises:
            NatsError: It has another one (a code of ``UNMET``), or NATS fails.
        """
        return self._put(key, value, {_EXPECTED: str(revision)})

    def delete(self, key: str, revision: int) -> None:
        """Delete the value of a key if it still has this revision.

        Raises:
            NatsError: As ``put``.
        """
        self._put(key, b"", {_EXPECTED: str(revision), _OPERATION: "DEL"})

    def _put(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        found = self._server.publish(f"$KV.{self._name}.{key}", [(value, headers)])
        try:
            return int(found["seq"])
        except KeyError:
            raise NatsError("a reply that is not one of JetStream", passes=True) from None
