"""The addresses of NATS servers: ``nats://user:password@host:4222,host:4222``.

User info and scheme of the first server apply to those that have none. No message contains an
address, because the password may be a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

NATS_PORT = 4222

_SCHEMES = frozenset({"nats", "tls"})

_WRONG = "the address of NATS must be like nats://host:4222, nats://user:password@host,host or tls://host"


@dataclass(frozen=True)
class ServerAddress:
    """The address of a server.

    Attributes:
        url: The address for nats-py.
        shown: Host and port.
        is_encrypted: Whether the connection must use TLS.
    """

    url: str
    shown: str
    is_encrypted: bool

    @property
    def credentials(self) -> dict[str, str]:
        """User and password, or the token, for nats-py, which does not decode those of a URL."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return {}
        if parts.password is None:
            return {"token": unquote(parts.username)}
        return {"user": unquote(parts.username), "password": unquote(parts.password)}

    def __repr__(self) -> str:
        """Show no user info."""
        return f"<{type(self).__name__} {self.shown}>"


def parse_addresses(text: str) -> tuple[ServerAddress, ...]:
    """Return the servers of an address.

    Raises:
        ValueError: It is not an address; the message doesn't repeat it.
    """
    scheme, user, found = "nats", "", []
    for part in text.split(","):
        try:
            parts = urlsplit(part if "://" in part else f"{scheme}://{part}")
            host, port = parts.hostname or "", parts.port or NATS_PORT
        except ValueError:
            host = ""
        rest = host and f"{parts.path.strip('/')}{parts.query}{parts.fragment}"
        if not host or rest or parts.scheme not in _SCHEMES:
            raise ValueError(_WRONG) from None
        scheme = parts.scheme
        user = parts.netloc.rpartition("@")[0] or user
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        url = f"{scheme}://{user}@{shown}" if user else f"{scheme}://{shown}"
        found.append(ServerAddress(url, shown, scheme == "tls"))
    return tuple(found)
