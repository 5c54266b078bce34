"""The file that names the streams of a pool of workers: ``relays.toml``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sse_client.relay.lease import LEASE_TIME
from sse_client.relay.options import check_batch_time, check_count, check_lease_time, check_name


@dataclass(frozen=True)
class RelayedStream:
    """One event stream, and the Redis Stream that it is relayed into.

    Args:
        url: The address of the event stream.
        stream: The key of the Redis Stream.
        headers: Headers of the request, such as ``Authorization``.
        max_length: How long the Redis Stream may get, about; None never trims.
        batch_time: See ``RedisRelay``, in seconds.
        last_event_id: Where to begin if nothing was relayed yet.
        resends_unnumbered: See ``RedisRelay``.

    Raises:
        TypeError, ValueError: One of them is wrong, by name.
    """

    url: str = field(repr=False)
    stream: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_length: int | None = None
    batch_time: float = 0.0
    last_event_id: str = ""
    resends_unnumbered: bool = True

    def __post_init__(self) -> None:
        """Check each, and leave the rest to the stream's own options."""
        check_name("stream", self.stream)
        check_count("max_length", self.max_length, optional=True)
        check_batch_time(self.batch_time)
        for name in ("url", "last_event_id"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a str")
        if not isinstance(self.resends_unnumbered, bool):
            raise TypeError("resends_unnumbered must be true or false")
        given: Any = self.headers
        if not isinstance(given, Mapping) or not all(isinstance(v, str) for v in given.values()):
            raise TypeError("headers must be a table of texts")

    def arguments(self) -> dict[str, object]:
        """Return the arguments of ``client.sse`` for it."""
        return {"headers": self.headers, "last_event_id": self.last_event_id}


@dataclass(frozen=True)
class RelayConfig:
    """What a pool of workers is given.

    Args:
        streams: The streams.
        redis: The address of the Redis; None if it is given elsewhere.
        pool: What the workers have in common.
        lease_time: How long a lease lives without being renewed, in seconds; None for the default.
    """

    streams: tuple[RelayedStream, ...]
    redis: str | None = field(default=None, repr=False)
    pool: str = "relays"
    lease_time: float | None = None


def load_config(path: str | os.PathLike[str]) -> RelayConfig:
    """Read the file of a pool. Blocks for it.

    Example::

        redis = "redis://127.0.0.1:6379/0"
        pool = "market"

        [[streams]]
        url = "https://example.com/events"
        stream = "orders"
        headers = { Authorization = "Bearer ..." }

    A value ``"$NAME"`` of ``redis`` or a header is that of an environment variable.

    Raises:
        ValueError: It is no TOML, or holds something unknown or wrong: by name, never by value.
        OSError: It can't be read.
        ImportError: On Python 3.10: the package ``tomli`` is missing (extra ``redis``).
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not in UTF-8") from None
    toml = _load_toml()
    try:
        document: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    tables = document.pop("streams", None)
    _refuse_unknown(document, RelayConfig, "")
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"{path}: there are no [[streams]]")
    streams = tuple(_stream(table, number) for number, table in enumerate(tables, 1))
    redis = document.pop("redis", None)
    try:
        check_name("pool", document.get("pool", RelayConfig.pool))
        check_lease_time(document.get("lease_time", LEASE_TIME))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if redis is not None and not isinstance(redis, str):
        raise ValueError(f"{path}: redis must be an address")
    return RelayConfig(streams, None if redis is None else _resolve("redis", redis), **document)


def _stream(table: object, number: int) -> RelayedStream:
    where = f"stream {number}: "
    if not isinstance(table, dict):
        raise ValueError(f"{where}must be a table")  # noqa: TRY004  # what a file holds is a value
    _refuse_unknown(table, RelayedStream, where)
    try:
        headers = table.get("headers", {})
        made = RelayedStream(**table)
        resolved = {name: _resolve(name, value) for name, value in headers.items()}
        return RelayedStream(**{**table, "headers": resolved}) if headers else made
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}{error}") from None


def _refuse_unknown(table: dict[str, Any], kind: type, where: str) -> None:
    known = [each.name for each in fields(kind)]
    for name in table:
        if name not in known:
            raise ValueError(f"{where}there is no option {name!r}; there are {', '.join(known)}")


def _resolve(name: str, value: str) -> str:
    """Return the value, or that of the environment variable that it names."""
    if not value.startswith("$"):
        return value
    try:
        return os.environ[value[1:]]
    except KeyError:
        raise ValueError(f"{name}: the environment variable {value} is not set") from None


def _load_toml() -> Any:  # noqa: ANN401  # a module, of one name or the other
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
