"""What to do where the server refuses the last event ID, as one that it does not know any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from sse_client.errors import CursorExpiredError, UnexpectedStatusError

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many refused last event IDs in a row may be replaced by another: a hook that always knows
#: one more must not end in a loop of requests.
_MAX_EXPIRED_IN_A_ROW = 3


class CursorExpiry:
    """Tells the responses that refuse the last event ID from others. For one thread at a time.

    Args:
        statuses: Their statuses.
    """

    def __init__(self, statuses: frozenset[int]) -> None:
        self._statuses = statuses
        self._in_a_row = 0

    def opened(self) -> None:
        """Take note that the server has accepted an ID."""
        self._in_a_row = 0

    def replacement(
        self, loss: Exception | None, last_event_id: str, choose: Callable[[], str | None]
    ) -> str | None:
        """Return after which ID to go on in place of a refused one, None if there is no other.

        Args:
            loss: How the attempt ended.
            last_event_id: The ID that was sent with it.
            choose: Asked for another, if that one was refused.
        """
        if not self._has_expired(loss) or self._in_a_row == _MAX_EXPIRED_IN_A_ROW:
            return None
        self._in_a_row += 1
        chosen = choose()
        return None if chosen == last_event_id else chosen

    def named(self, loss: Exception | None, last_event_id: str) -> Exception | None:
        """Return the loss, as what it is if the last event ID was refused."""
        if not self._has_expired(loss):
            return loss
        error = CursorExpiredError(
            f"{loss}: it cannot go on behind the last event ID",
            response=loss.response,
            body=loss.body,
            body_is_truncated=loss.body_is_truncated,
            retry_after=loss.retry_after,
            last_event_id=last_event_id,
        )
        error.__cause__ = loss
        return error

    def _has_expired(self, loss: Exception | None) -> TypeGuard[UnexpectedStatusError]:
        """Return whether this is a response that refuses the last event ID that was sent."""
        return (
            isinstance(loss, UnexpectedStatusError)
            and loss.status_code in self._statuses
            and "Last-Event-ID" in loss.response.request.headers
        )
