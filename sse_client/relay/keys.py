"""What the keys in Redis are called.

A script may touch the keys of one hash slot only, where Redis is a cluster. So all that belongs to
a stream carries the hash tag of the stream's own key: the part within its first braces, or else the
whole of it, in braces.
"""

from __future__ import annotations

_PREFIX = "sse-client"


def tag_of(option: str, name: str) -> str:
    """Return the hash tag of a stream's name, or refuse the name by the option's."""
    before, brace, rest = name.partition("{")
    tag, closing, _ = rest.partition("}")
    if brace and closing and tag:
        return tag
    if brace or "}" in before:
        raise ValueError(f"{option} may hold braces only as a hash tag, such as '{{orders}}:eu'")
    return name


def key_of(name: str, what: str) -> str:
    """Return the key of something that belongs to the stream ``name``, in its hash slot."""
    tag = tag_of("name", name)
    return f"{_PREFIX}:{{{tag}}}:{what}" if tag == name else f"{_PREFIX}:{{{tag}}}:{name}:{what}"
