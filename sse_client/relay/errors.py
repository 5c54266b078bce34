"""The error of the relay, below the root of the package."""

from __future__ import annotations

from sse_client import SSEClientError


class RelayError(SSEClientError):
    """Redis refuses what waiting can't mend: a wrong password, a missing right, a wrong type.

    No message holds the address of a Redis, of which the password may be a part.
    """
