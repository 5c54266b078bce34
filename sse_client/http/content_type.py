"""Decides by content type and content encoding whether a response is an event stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

#: The content types of an event stream: a collection of names, in which None stands for a missing
#: type, or a function that is called with the name or None and decides.
ContentTypes = Collection["str | None"] | Callable[["str | None"], object]

EVENT_STREAM = "text/event-stream"

DEFAULT_CONTENT_TYPES: ContentTypes = frozenset({EVENT_STREAM})

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MIME_TYPE = re.compile(rf"\s*({_NAME}/{_NAME})[ \t\r\n]*(?:;|$)", re.ASCII)
_LIST_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"?|[^",])+')

#: The package that urllib3 needs to decode an encoding.
_PACKAGES = {"br": "brotli", "zstd": "backports.zstd"}

#: Encodings that leave the body unchanged. ``none`` is not registered, but servers send it.
_UNENCODED = {"", "identity", "none"}


def extract_mime_type(header: str) -> str | None:
    """Return the MIME type of a Content-Type header in lower case, or None if it has none.

    Parameters are ignored. If there are several types, as in a repeated header, the last valid one
    counts (Fetch, "extract a MIME type").
    """
    found = None
    for item in _LIST_ITEM.findall(header):
        match = _MIME_TYPE.match(item)
        if match and match[1] != "*/*":
            found = match[1].lower()
    return found


def is_event_stream(response: requests.Response, content_types: ContentTypes) -> bool:
    """Return whether the content type of a response is among those of an event stream."""
    mime_type = extract_mime_type(response.headers.get("Content-Type", ""))
    if callable(content_types):
        return bool(content_types(mime_type))
    return mime_type in {name and extract_mime_type(name) for name in content_types}


def undecodable_encoding(response: requests.Response) -> tuple[str, str | None] | None:
    """Return a content encoding of a response that cannot be decoded, and the package it needs.

    It also removes the encodings that change nothing from the header, because urllib3 would try to
    decode them in a list of several encodings.

    Returns:
        The encoding, and the package that decodes it or None for an unknown encoding. None if
        there is no such encoding.
    """
    raw: Any = response.raw
    # Another transport than urllib3 may or may not have decoded the body.
    known = getattr(raw, "CONTENT_DECODERS", None)
    if known is None:
        return None
    header = response.headers.get("Content-Encoding", "")
    listed = [item.strip().lower() for item in header.split(",")]
    encodings = [encoding for encoding in listed if encoding not in _UNENCODED]
    for encoding in encodings:
        if encoding not in known:
            return encoding, _PACKAGES.get(encoding)
    if len(encodings) < len(listed):
        raw.headers["Content-Encoding"] = ", ".join(encodings)
    return None
