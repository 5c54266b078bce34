"""Which session of this process uses which cursor: one session at a time."""

from __future__ import annotations

import os
import threading
import weakref

#: The user of each cursor, by the cursor's ``id``. One that was abandoned vanishes by itself.
_users: weakref.WeakValueDictionary[int, object] = weakref.WeakValueDictionary()

#: Guards ``_users``. Reentrant, since a finaliser may give a cursor back on any thread.
_lock = threading.RLock()


def take(cursor: object, user: object) -> bool:
    """Claim the cursor for this user; return whether it is the only one."""
    with _lock:
        return _users.setdefault(id(cursor), user) is user


def give_back(cursor: object, user: object) -> None:
    """Give the claim up. Nothing happens if another has it."""
    with _lock:
        if _users.get(id(cursor)) is user:
            del _users[id(cursor)]


def renew_lock() -> None:
    """Replace the lock in a forked child: a thread of the parent may have held the old one."""
    global _lock  # noqa: PLW0603  # a forked child's own
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=renew_lock)
