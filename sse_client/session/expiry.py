"""Handles a last event ID that the server refuses because it no longer knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from sse_client.errors import CursorExpiredError, UnexpectedStatusError

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many consecutive refused IDs may be replaced. A hook that always returns another ID must not
#: cause an endless loop of requests.
_MAX_EXPIRED_IN_A_ROW = 3


class CursorExpiry:
    """Recognises the responses that refuse the last event ID. Not thread-safe.

    Args:
        statuses: The statuses of such responses.
    """

    def __init__(self, statuses: frozenset[int]) -> None:
        self._statuses = statuses
        self._in_a_row = 0

    def opened(self) -> None:
        """Record that the server has accepted an ID."""
        self._in_a_row = 0

    def replacement(
        self, loss: Exception | None, last_event_id: str, choose: Callable[[], str | None]
    ) -> str | None:
        """Return the ID after which to continue instead of a refused one, or None.

        Args:
            loss: The error of the attempt.
            last_event_id: The ID that was sent.
            choose: Returns another ID, if that one was refused.
        """
        if not self._has_expired(loss) or self._in_a_row == _MAX_EXPIRED_IN_A_ROW:
            return None
        self._in_a_row += 1
        chosen = choose()
        return None if chosen == last_event_id else chosen

    def named(self, loss: Exception | None, last_event_id: str) -> Exception | None:
        """Return the loss, as a CursorExpiredError if the last event ID was refused."""
        if not self._has_expired(loss):
            return loss
        error = CursorExpiredError(
            f"{loss}: the server cannot continue after the last event ID",
            response=loss.response,
            body=loss.body,
            body_is_truncated=loss.body_is_truncated,
            retry_after=loss.retry_after,
            last_event_id=last_event_id,
        )
        error.__cause__ = loss
        return error

    def _has_expired(self, loss: Exception | None) -> TypeGuard[UnexpectedStatusError]:
        """Return whether this is a response that refuses the ID that was sent."""
        return (
            isinstance(loss, UnexpectedStatusError)
            and loss.status_code in self._statuses
            and "Last-Event-ID" in loss.response.request.headers
        )
