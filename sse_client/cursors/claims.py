"""Which session of this process uses which cursor: one session at a time."""

from __future__ import annotations

import threading
import weakref

#: The user of each cursor, by the cursor's ``id``. An abandoned user is removed automatically.
_users: weakref.WeakValueDictionary[int, object] = weakref.WeakValueDictionary()

#: Guards ``_users``. Reentrant, because a finaliser may release a cursor on any thread.
_lock = threading.RLock()


def take(cursor: object, user: object) -> bool:
    """Claim the cursor for this user. Return False if another user has it."""
    with _lock:
        return _users.setdefault(id(cursor), user) is user


def give_back(cursor: object, user: object) -> None:
    """Release the claim, unless another user has it."""
    with _lock:
        if _users.get(id(cursor)) is user:
            del _users[id(cursor)]


def renew_lock() -> None:
    """Replace the lock in a forked child, because a thread of the parent may hold the old one."""
    global _lock  # noqa: PLW0603  # there is one per process
    _lock = threading.RLock()
