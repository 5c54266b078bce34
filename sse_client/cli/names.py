"""Short names for several streams, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sse_client.cli.terminal import escape_controls

if TYPE_CHECKING:
    from collections.abc import Sequence


def names_of(urls: Sequence[str]) -> list[str]:
    """Return a name for each address: the part that distinguishes it, or its number."""
    parts = [urlsplit(url) for url in urls]
    hosts = [each.netloc.rpartition("@")[2] for each in parts]
    paths = [each.path.strip("/") for each in parts]
    candidates = [hosts, paths, [f"{host}/{path}" for host, path in zip(hosts, paths, strict=True)]]
    for names in candidates:
        if all(names) and len(set(names)) == len(names):
            return [escape_controls(name) for name in names]
    return [str(number) for number in range(1, len(urls) + 1)]
