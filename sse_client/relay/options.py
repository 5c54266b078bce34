"""The valid values of a relay's options, and the keys in Redis that follow from its names.

In a cluster a script may only use keys of one hash slot. So every key of a stream has the hash tag
of the stream's own key: the part within its first braces, otherwise the whole key in braces.
"""

from __future__ import annotations

_PREFIX = "sse-client"

#: The shortest lease time: renewals must be possible on a busy machine.
_LEAST_LEASE_TIME = 0.1

#: Redis counts milliseconds.
_LEAST_CLAIM_AFTER = 0.001


def tag_of(option: str, name: str) -> str:
    """Return the hash tag of a stream's name, or refuse the name; the message names the option."""
    before, brace, rest = name.partition("{")
    tag, closing, _ = rest.partition("}")
    if brace and closing and tag:
        return tag
    if brace or "}" in before:
        raise ValueError(f"{option} may hold braces only as a hash tag, such as '{{orders}}:eu'")
    return name


def key_of(name: str, what: str) -> str:
    """Return a key that belongs to the stream ``name``, in its hash slot."""
    tag = tag_of("name", name)
    return f"{_PREFIX}:{{{tag}}}:{what}" if tag == name else f"{_PREFIX}:{{{tag}}}:{name}:{what}"


def check_name(option: str, name: object) -> str:
    """Return the name of a key, or refuse it; the message names the option."""
    if not isinstance(name, str):
        raise TypeError(f"{option} must be a str, not {type(name).__name__}")
    if not name:
        raise ValueError(f"{option} must not be empty")
    tag_of(option, name)
    return name


def check_count(option: str, value: object, *, optional: bool = False) -> None:
    """Refuse a value that is not a positive int."""
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{option} must be at least 1, not {value}")


def check_replicas(value: object) -> int:
    """Return a number of replicas, which may be 0, or refuse it."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"wait_replicas must be an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"wait_replicas must be at least 0, not {value}")
    return value


def check_lease_time(value: object) -> None:
    """Refuse a value that is not a valid lease time."""
    _check_seconds("lease_time", value, _LEAST_LEASE_TIME)


def check_batch_time(value: object) -> None:
    """Refuse a value that is not a valid batch time."""
    _check_seconds("batch_time", value, 0)


def check_claim_after(value: object) -> None:
    """Refuse a value that is not a valid time after which entries are claimed."""
    _check_seconds("claim_after", value, _LEAST_CLAIM_AFTER)


def _check_seconds(option: str, value: object, least: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{option} must be seconds, not {type(value).__name__}")
    if not least <= value < float("inf"):
        raise ValueError(f"{option} must be at least {least} seconds, not {value}")
