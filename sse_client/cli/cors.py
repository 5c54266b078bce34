"""CORS: which pages of other origins may read a response (Fetch, "CORS protocol")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from sse_client.testing import RecordedRequest

#: Stands for all origins.
ANY = "*"

_METHODS = "GET, HEAD, POST, OPTIONS"

#: How long a browser may remember the response to a preflight request, in seconds.
_MAX_AGE = "600"


def headers_for(request: RecordedRequest, origins: Collection[str]) -> dict[str, str | None]:
    """Return the response headers that let pages of these origins read the response.

    Args:
        request: The request.
        origins: The allowed origins, or ``*``.
    """
    if ANY in origins:
        return {"Access-Control-Allow-Origin": ANY}
    if not origins:
        return {}
    origin = request.headers.get("Origin", "")
    # A cache must not use the response for one origin for another.
    allowed = {"Access-Control-Allow-Origin": origin} if origin in origins else {}
    return {"Vary": "Origin", **allowed}


def options_for(request: RecordedRequest, origins: Collection[str]) -> dict[str, str | None]:
    """Return the headers of the response to an ``OPTIONS`` request, such as a preflight request."""
    headers: dict[str, str | None] = {"Allow": _METHODS, **headers_for(request, origins)}
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Allow-Methods"] = _METHODS
        headers["Access-Control-Max-Age"] = _MAX_AGE
        asked = request.headers.get("Access-Control-Request-Headers")
        if asked:
            headers["Access-Control-Allow-Headers"] = asked
    return headers
