"""The file that names the streams of a pool of workers: ``relays.toml``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sse_client.relay.held_lease import LEASE_TIME
from sse_client.relay.options import (
    check_batch_time,
    check_count,
    check_lease_time,
    check_name,
    check_replicas,
)
from sse_client.relay.templates import Template, value_of

if TYPE_CHECKING:
    import os

#: The types of a header's value.
HeaderValue = str | bytes | Callable[[], str]


@dataclass(frozen=True)
class RelayedStream:
    """One event stream, and the Redis Stream into which it is relayed.

    Args:
        url: The address of the event stream.
        stream: The key of the Redis Stream.
        headers: Headers of the request, such as ``Authorization``: strings, or callables that
            return the value for each attempt.
        max_length: The approximate maximum length of the Redis Stream; None never trims it.
        batch_time: See ``RedisRelay``, in seconds.
        last_event_id: The ID after which to start if nothing was relayed yet.
        resends_unnumbered: See ``RedisRelay``.
        wait_replicas: See ``RedisRelay``.

    Raises:
        TypeError, ValueError: An option is wrong; the message names it.
    """

    url: str = field(repr=False)
    stream: str
    headers: Mapping[str, HeaderValue] = field(default_factory=dict, repr=False)
    max_length: int | None = None
    batch_time: float = 0.0
    last_event_id: str = ""
    resends_unnumbered: bool = True
    wait_replicas: int = 0

    def __post_init__(self) -> None:
        """Check each option."""
        check_name("stream", self.stream)
        check_count("max_length", self.max_length, optional=True)
        check_batch_time(self.batch_time)
        check_replicas(self.wait_replicas)
        for name in ("url", "last_event_id"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a str")
        if not isinstance(self.resends_unnumbered, bool):
            raise TypeError("resends_unnumbered must be true or false")
        given: Any = self.headers
        if not isinstance(given, Mapping) or not all(
            isinstance(value, str | bytes) or callable(value) for value in given.values()
        ):
            raise TypeError("headers must be a table of strings")

    def arguments(self) -> dict[str, object]:
        """Return the arguments of ``client.sse`` for this stream."""
        return {"headers": self.headers, "last_event_id": self.last_event_id}


@dataclass(frozen=True)
class RelayConfig:
    """The configuration of a pool of workers.

    Args:
        streams: The streams.
        redis: The address of the Redis; None if it is given elsewhere.
        pool: The name that the workers share.
        lease_time: The time after which a lease expires unless it is renewed, in seconds; None for
            the default.
    """

    streams: tuple[RelayedStream, ...]
    redis: str | None = field(default=None, repr=False)
    pool: str = "relays"
    lease_time: float | None = None


def load_config(path: str | os.PathLike[str]) -> RelayConfig:
    """Read the file of a pool. Blocks while it reads.

    Example::

        redis = "redis://127.0.0.1:6379/0"
        pool = "market"

        [[streams]]
        url = "https://example.com/events"
        stream = "orders"
        headers = { Authorization = "Bearer ..." }

    In ``redis`` and in headers, ``$NAME`` and ``${NAME}`` stand for a variable of the environment,
    and ``${file:/path}`` for the content of a file, without surrounding white space. The file of a
    header is read for each attempt, so a token can be replaced. ``$$`` is a dollar sign.

    Raises:
        ValueError: The file is not TOML, or something in it is unknown or wrong. The message names
            it, and never contains the value.
        OSError: The file can't be read.
        ImportError: The package ``tomli`` is missing, on Python 3.10 (extra ``redis``).
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not in UTF-8") from None
    toml = _load_toml()
    try:
        document: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    tables = document.pop("streams", None)
    _refuse_unknown(document, RelayConfig, "")
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"{path}: there are no [[streams]]")
    streams = tuple(_stream(table, number) for number, table in enumerate(tables, 1))
    _refuse_twice(path, streams)
    redis = document.pop("redis", None)
    try:
        check_name("pool", document.get("pool", RelayConfig.pool))
        check_lease_time(document.get("lease_time", LEASE_TIME))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if redis is not None and not isinstance(redis, str):
        raise ValueError(f"{path}: redis must be an address")
    address = None if redis is None else Template("redis", redis).expand()
    return RelayConfig(streams, address, **document)


def _refuse_twice(path: str | os.PathLike[str], streams: tuple[RelayedStream, ...]) -> None:
    """Refuse two addresses for one Redis Stream: each would continue at the other's position."""
    first: dict[str, int] = {}
    for number, each in enumerate(streams, 1):
        if each.stream in first:
            raise ValueError(
                f"{path}: streams {first[each.stream]} and {number} both name the Redis Stream "
                f"{each.stream!r}"
            )
        first[each.stream] = number


def _stream(table: object, number: int) -> RelayedStream:
    where = f"stream {number}: "
    if not isinstance(table, dict):
        raise ValueError(f"{where}must be a table")  # noqa: TRY004  # the content of a file is a value
    _refuse_unknown(table, RelayedStream, where)
    try:
        headers = table.get("headers", {})
        made = RelayedStream(**table)
        resolved = {name: value_of(name, value) for name, value in headers.items()}
        return RelayedStream(**{**table, "headers": resolved}) if headers else made
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}{error}") from None


def _refuse_unknown(table: dict[str, Any], kind: type, where: str) -> None:
    known = [each.name for each in fields(kind)]
    for name in table:
        if name not in known:
            raise ValueError(f"{where}there is no option {name!r}; there are {', '.join(known)}")


def _load_toml() -> Any:  # noqa: ANN401  # one of two modules
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  # not on the oldest Python

        return tomllib
    else:  # noqa: RET505  # for type checkers  # pragma: no cover  # on Python 3.10 alone
        try:
            import tomli  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise ImportError(
                "on Python 3.10 the configuration needs the package tomli: "
                "pip install 'sse-client[redis]'"
            ) from error
        return tomli
