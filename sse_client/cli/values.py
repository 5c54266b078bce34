"""The values of options: each function converts or refuses the text that was typed.

No message repeats the text, because it may be a secret.
"""

from __future__ import annotations

import argparse
import getpass
import ipaddress
import os
import re
import shlex
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 9110: names (section 5.1) and methods (section 9.1) are tokens. Values exclude these.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\0\r\n]")


# An address without a scheme: a name with a dot or a port, an IP address, or localhost.
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_BARE_ADDRESS = re.compile(
    rf"(localhost|(?:{_LABEL}\.)+(?:[A-Za-z][A-Za-z0-9-]{{0,61}}|[0-9]{{1,3}})"
    rf"|\[[0-9A-Fa-f:.]+\]|{_LABEL}(?=:[0-9]))(:[0-9]{{1,5}})?([/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)

_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def url(text: str) -> str:
    """Convert the address of a stream."""
    if not re.match("https?://[^/?#]", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError("must begin with http:// or https://")
    return text


def origin(text: str) -> str:
    """Convert the origin of a page, or ``*`` for any origin."""
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", text):
        message = "must be an origin such as https://example.org, or * for any"
        raise argparse.ArgumentTypeError(message)
    return text


def address(text: str) -> str:
    """Convert the address of a stream, which may lack its scheme.

    The default host is this machine. The default scheme is http for ``localhost``, IP addresses and
    names without a dot, and https for any other host.
    """
    if re.match(":[0-9]{1,5}(/|$)", text):
        return f"http://localhost{text}"
    bare = _BARE_ADDRESS.fullmatch(text)
    if bare is None:
        return url(text)
    return f"{'http' if _is_local(bare[1]) else 'https'}://{text}"


def _is_local(host: str) -> bool:
    """Return whether a host usually has no certificate."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "." not in host or host.lower().endswith(".localhost")
    return True


def proxy(text: str) -> str:
    """Convert the address of a proxy."""
    if not re.match("(https?|socks(4a?|5h?))://[^/?#]", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError("must begin with http://, https:// or socks5://")
    return text


def fields(text: str) -> list[tuple[str, bytes]]:
    """Convert a header field, whose value is the exact bytes typed, or a file of fields."""
    if not text.startswith("@"):
        return [_field(os.fsencode(text))]
    lines = content(text).splitlines()
    return [_field(line) for line in lines if line.strip() and not line.startswith(b"#")]


def _field(line: bytes) -> tuple[str, bytes]:
    name, colon, value = line.partition(b":")
    shown = name.decode("latin-1")
    if not (colon and _TOKEN.fullmatch(shown)) or _NOT_IN_VALUES.search(value.decode("latin-1")):
        raise argparse.ArgumentTypeError("must have the form Name: value")
    return shown, value.strip(b" \t")


def cookies(text: str) -> list[tuple[str, bytes]]:
    """Convert cookies into the header field that sends them."""
    if "=" not in text or _NOT_IN_VALUES.search(text):
        message = "must have the form NAME=VALUE; files of cookies are not read"
        raise argparse.ArgumentTypeError(message)
    return [("Cookie", os.fsencode(text))]


def credentials(text: str) -> tuple[str, str]:
    """Convert a user and a password. Prompt for a missing password on the terminal."""
    user, colon, password = text.partition(":")
    if not colon:
        try:
            password = getpass.getpass("Password: ")
        except (EOFError, OSError):
            raise argparse.ArgumentTypeError("must have the form USER:PASSWORD") from None
    return user, password


def header_value(text: str) -> bytes:
    """Convert the value of a header field."""
    if _NOT_IN_VALUES.search(text):
        raise argparse.ArgumentTypeError("must be a single line")
    return os.fsencode(text.strip(" \t"))


def method(text: str) -> str:
    """Convert an HTTP method."""
    if not _TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError("must be an HTTP method, such as POST")
    return text.upper()


def event_id(text: str) -> str:
    """Convert an event ID."""
    if _NOT_IN_VALUES.search(text):
        raise argparse.ArgumentTypeError("must be a single line")
    return text


def path(text: str) -> str:
    """Convert the path of a file, which need not exist."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("must be the path of a file")
    return text


def existing_path(text: str) -> str:
    """Convert the path of an existing file."""
    if not os.path.isfile(path(text)):  # noqa: PTH113  # Path may raise PermissionError
        raise argparse.ArgumentTypeError("there is no such file")
    return text


def socket_path(text: str) -> str:
    """Convert the path of a Unix domain socket."""
    try:
        is_socket = stat.S_ISSOCK(Path(path(text)).stat().st_mode)
    except OSError:
        is_socket = False
    if not is_socket:
        raise argparse.ArgumentTypeError("there is no such socket")
    return text


def program(text: str) -> list[str]:
    """Convert a command with its arguments, quoted as for a shell. No shell runs it."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a quotation mark is missing") from None
    if not words or shutil.which(words[0]) is None:
        raise argparse.ArgumentTypeError("there is no such command")
    return words


def content(text: str) -> bytes:
    """Convert a body: a text, or ``@`` and the path of a file, or ``@-`` for standard input."""
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


def text_or_file(text: str) -> str:
    """Convert a text, or ``@`` and the path of a file with that text, such as a secret."""
    try:
        return content(text).decode().strip()
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError("must be UTF-8") from None


def whole_number(least: int, most: int = 10**18 - 1) -> Callable[[str], int]:
    """Return a function that converts a whole number in this range."""
    limit = f"of at least {least}" if most >= 10**18 - 1 else f"from {least} to {most}"

    def convert(text: str) -> int:
        if not re.fullmatch("[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number {limit}")
        return int(text)

    return convert


def above_zero(text: str) -> float:
    """Convert a number of seconds, or a rate: a number above 0 that a clock can wait for."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text) or not float(text):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return float(text)


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a function that accepts one of these words."""

    def convert(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(choices)}")
        return text

    return convert


def size(text: str) -> int:
    """Convert a number of bytes, which may have the unit K, M or G."""
    found = re.fullmatch("([0-9]{1,12})([KMG]?)", text, re.IGNORECASE)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError("must be a number of bytes, such as 500000, 64K or 16M")
    return int(found[1]) * _SIZE_UNITS[found[2].upper()]
