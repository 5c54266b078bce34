"""What an option may hold: each function takes the text that was typed, or refuses it.

No message repeats the text, which may be a secret.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 9110, section 5: a name is a token, as a method is (section 9.1), and no value holds these.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\0\r\n]")


def url(text: str) -> str:
    """Take the address of a stream."""
    if not re.match("https?://[^/?#]", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError("must begin with http:// or https://")
    return text


def proxy(text: str) -> str:
    """Take the address of a proxy."""
    if not re.match("(https?|socks(4a?|5h?))://[^/?#]", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError("must begin with http://, https:// or socks5://")
    return text


def field(text: str) -> tuple[str, bytes]:
    """Take a header field; its value is the very bytes that were typed."""
    name, colon, value = text.partition(":")
    if not (colon and _TOKEN.fullmatch(name)) or _NOT_IN_VALUES.search(value):
        raise argparse.ArgumentTypeError("must have the form Name: value")
    return name, os.fsencode(value.strip(" \t"))


def method(text: str) -> str:
    """Take an HTTP method."""
    if not _TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError("must be an HTTP method, such as POST")
    return text.upper()


def event_id(text: str) -> str:
    """Take an event ID."""
    if _NOT_IN_VALUES.search(text):
        raise argparse.ArgumentTypeError("must be a single line")
    return text


def path(text: str) -> str:
    """Take the path of a file, which need not be there."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("must be the path of a file")
    return text


def existing_path(text: str) -> str:
    """Take the path of a file that is there."""
    if not os.path.isfile(path(text)):  # noqa: PTH113  # Path raises where it may not look
        raise argparse.ArgumentTypeError("there is no such file")
    return text


def content(text: str) -> bytes:
    """Take what to send: a text, or ``@`` and the file that holds it, ``@-`` for standard input."""
    if not text.startswith("@"):
        return os.fsencode(text)
    try:
        if text == "@-":
            if sys.stdin is None:
                raise argparse.ArgumentTypeError("standard input is closed")
            return sys.stdin.buffer.read()
        with open(text[1:], "rb") as file:  # noqa: PTH123  # as it was typed
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise argparse.ArgumentTypeError(f"cannot read this file: {reason}") from None


def whole_number(least: int, most: int = 10**18 - 1) -> Callable[[str], int]:
    """Make what takes a whole number of this range."""
    limit = f"of at least {least}" if most >= 10**18 - 1 else f"from {least} to {most}"

    def convert(text: str) -> int:
        if not re.fullmatch("[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number {limit}")
        return int(text)

    return convert


def above_zero(text: str) -> float:
    """Take seconds, or a rate: a number above 0, of which a clock can wait that long."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text) or not float(text):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return float(text)


def one_of(*choices: str) -> Callable[[str], str]:
    """Make what takes one of these words."""

    def convert(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(choices)}")
        return text

    return convert
