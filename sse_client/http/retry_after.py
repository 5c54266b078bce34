"""The Retry-After header (RFC 9110, section 10.2.3) and HTTP dates."""

from __future__ import annotations

import math
import re
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

    from sse_client.clock import Clock

_SECONDS = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)

#: The comma between two values, as opposed to the one after the weekday of a date.
_SEPARATOR = re.compile(r",(?!\s*\d{1,2}[ -][A-Za-z])")


def retry_after(response: requests.Response, clock: Clock) -> float | None:
    """Return the seconds that a response asks the client to wait, or None.

    Fractions of a second are rounded up. If there are several values, as in a repeated header, the
    latest time counts.
    """
    values = _SEPARATOR.split(response.headers.get("Retry-After", ""))
    waits = [_wait(value.strip(), response, clock) for value in values]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(value: str, response: requests.Response, clock: Clock) -> float | None:
    if _SECONDS.fullmatch(value):
        # For a very long number the first digits suffice: it is far beyond every limit.
        return float(math.ceil(float(value[:18])))
    when = _seconds_since_1970(value)
    if when is None:
        return None
    # Relative to the server's clock if it sends a date, because our clock may be wrong.
    now = _seconds_since_1970(response.headers.get("Date", ""))
    return max(0.0, when - (clock.time() if now is None else now))


def _seconds_since_1970(http_date: str) -> float | None:
    """Parse an HTTP date, which is always in GMT (RFC 9110, section 5.6.7)."""
    try:
        date = parsedate_to_datetime(http_date)
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
