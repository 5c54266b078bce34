"""Descriptions of failures of Redis, without secrets."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from sse_client import SSEClientError
from sse_client.relay.scripts import command_at

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The code of a reply. For a command of a script, Redis 6.2 puts a text before it.
_CODE = re.compile(r"(?:^|@user_script: ?\d+: -?)([A-Z]{3,})\b")

#: The text with which Redis names a command that a user may not run.
_COMMAND = re.compile(r"permissions to run the '([\w|-]+)' command")

#: The text with which Redis refuses a command or a key of a script. Up to 7.0 it names neither.
_REFUSED_IN_SCRIPT = re.compile(r"ACL failure in script|The user executing the script can't")

#: The line of a script that has failed.
_LINE = re.compile(r"@user_script: ?(\d+)")

#: The text with which an old Redis, or a Sentinel, refuses a command that it doesn't have.
_UNKNOWN = re.compile(r"(?i:(unknown command [`'][\w|]+[`']))")

#: Texts of redis-py about a cluster that contain no command.
_CLUSTER_REASON = re.compile(
    r"Cluster mode is not enabled on this node|Redis Cluster cannot be connected|"
    r"All slots are not covered"
)

#: Failures whose text comes from redis-py and the system: host, port, errno, and the TLS reason.
_WORDED_HERE = frozenset(
    {"ConnectionError", "TimeoutError", "MaxConnectionsError", "MasterNotFoundError"}
)
_OF_A_CLUSTER = frozenset({"RedisClusterException", "SlotNotCoveredError"})

#: Longer reasons contain nothing more that is useful.
_LONGEST_REASON = 300


class RelayError(SSEClientError):
    """Redis or NATS refuses permanently: a wrong password, a missing right, a wrong type.

    No message contains its address, because the password may be a part of it.
    """


def note_command(
    error: Exception, words: Sequence[object], keys: Sequence[str], address: str
) -> None:
    """Attach the command, its keys and the address to a failure, for ``describe``."""
    command = str(words[0]).lower()
    line = _LINE.search(str(error))
    if command in {"eval", "evalsha"} and line:
        command = command_at(str(words[1]), int(line[1])) or command
    with contextlib.suppress(AttributeError):  # some errors of the system take no attributes
        error.relay_asked = command, keys  # type: ignore[attr-defined]  # it is ours
        error.relay_address = address  # type: ignore[attr-defined]


def describe(error: Exception) -> str:
    """Describe a failure: its type, and the part of its reason that contains no secret.

    For a failed connection that is the text of redis-py, with host and port. For a reply it is only
    the code, because the text may repeat any argument; and for a missing right also the command and
    its keys. The errors of this package itself contain no secrets.
    """
    name = type(error).__name__
    if isinstance(error, SSEClientError):
        return f"{name}: {error}"
    if name in {"MovedError", "AskError"} or str(error).startswith("MOVED "):  # of redis-py 5
        return "this Redis is one of a cluster, whose address begins with redis+cluster://"
    if name in _WORDED_HERE:
        return f"{name}: {_reason(error)}"
    if name in _OF_A_CLUSTER:
        return f"{name}{_cluster_reason(error)}"
    if name == "NoPermissionError" or _REFUSED_IN_SCRIPT.search(str(error)):
        return f"{name} (NOPERM{_missing_right(error)})"
    unknown = _UNKNOWN.search(str(error))
    code = code_of(error) or (unknown[1] if unknown else "")
    details = [code] if code else []
    address = str(getattr(error, "relay_address", ""))
    if name == "AuthenticationError" and address:
        details.append(address)
    return f"{name} ({', '.join(details)})" if details else name


def code_of(error: Exception) -> str:
    """Return the code of Redis's own refusal, such as ``NOGROUP``; ``""`` if it has none."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _cluster_reason(error: Exception) -> str:
    if isinstance(error.__cause__, Exception):
        return f": {describe(error.__cause__)}"
    found = _CLUSTER_REASON.match(str(error))
    return f": {found[0]}" if found else ""


def _reason(error: Exception) -> str:
    """Return the text of a failed connection, with the address if it is not a part of that."""
    text = "".join(each if each.isprintable() else "?" for each in str(error)[:_LONGEST_REASON])
    address = getattr(error, "relay_address", "")
    return text if not address or address in text else f"{text} ({address})"


def _missing_right(error: Exception) -> str:
    """Return the command that Redis refuses, or else the one that was sent, and the keys."""
    command, keys = getattr(error, "relay_asked", ("", ()))
    found = _COMMAND.search(str(error))
    named = found[1] if found else command
    shown = f": {named}" if named else ""
    return f"{shown} on {', '.join(map(repr, keys))}" if keys else shown


def refused(error: Exception, target: str) -> RelayError:
    """Return the error for a permanent failure of the target with this name."""
    return RelayError(f"{target} refuses: {describe(error)}")
