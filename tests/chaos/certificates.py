"""The certificates of the origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from names import DOMAIN

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Files: certificates to use in turn, the bundle that trusts them, and an untrusted one."""

    servers: tuple[str, ...]
    ca_bundle: str
    rogue: str


def issue(folder: Path) -> Certificates:
    """Issue certificates for all hosts of the chaos tests, in files of this folder."""
    authority = trustme.CA()
    bundle = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    servers = tuple(_write(authority, folder / f"server-{number}.pem") for number in range(3))
    return Certificates(servers, str(bundle), _write(trustme.CA(), folder / "rogue.pem"))


def _write(authority: trustme.CA, file: Path) -> str:
    issued = authority.issue_cert(f"*.{DOMAIN}")
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    return str(file)
