"""The command line as it is typed: a parser that keeps secrets, and what an option may hold."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# RFC 9110, section 5: a name is a token, as a method is (section 9.1), and no value holds these.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\0\r\n]")

#: A terminal's, at the least.
_WIDTH = 80
_INDENT = 12


class Parser(argparse.ArgumentParser):
    """A parser whose errors do not repeat what was typed, and whose help fits a screen.

    Args:
        prog: The command.
        usage: What stands behind it, in one line for each form.
        description: What it does.
        epilog: The last words of its help.
    """

    def __init__(
        self, *, prog: str, usage: str, description: str, epilog: str | None = None
    ) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_Compact,
            allow_abbrev=False,
            add_help=False,
        )

    def add_help_option(self) -> argparse._ArgumentGroup:
        """Add ``--help``, to be shown as the last, and return its group."""
        group = self.add_argument_group("other")
        group.add_argument("-h", "--help", action="help")
        return group

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all the words, or exit with the usage."""
        arguments, unknown = self.parse_known_args(words)
        if unknown:
            options = [word.partition("=")[0] for word in unknown]
            shown = [option for option in options if re.fullmatch("-[A-Za-z]|--[a-z-]+", option)]
            self.error(f"unknown option {shown[0]}" if shown else "too many arguments")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and a message, without the words that argparse quotes in it."""
        super().error(re.split(r":? ['\"]", message)[0])


class _Compact(argparse.HelpFormatter):
    """Lists the options of a group one behind the other, as ``--option VALUE (meaning)``."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_WIDTH)
        self._heading = ""

    def start_section(self, heading: str | None) -> None:
        """Take note of the heading, which stands on the line of its first option."""
        self._heading = heading or ""

    def end_section(self) -> None:
        """Leave no blank line behind."""

    def add_arguments(self, actions: Iterable[argparse.Action]) -> None:
        """Add the options of a group; what has no heading is said by the usage."""
        items = [self._describe(action) for action in actions if action.option_strings]
        if items:
            # Broken between options only.
            text = ", ".join(items).replace(" ", "\xa0").replace(",\xa0-", ", -")
            lines = textwrap.fill(
                text,
                _WIDTH - 1,
                initial_indent=f"{self._heading + ':':<{_INDENT}}",
                subsequent_indent=" " * _INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
            self._add_item(lambda: lines.replace("\xa0", " ") + "\n", [])

    def add_text(self, text: str | None) -> None:
        """Add the description, or the epilog, with a blank line on each side."""
        if text:
            self._add_item(str, ["\n"])
        super().add_text(text)

    def _describe(self, action: argparse.Action) -> str:
        names = "/".join(action.option_strings)
        value = f" {action.metavar}" if action.metavar else ""
        return f"{names}{value} ({action.help})" if action.help else f"{names}{value}"


# What an option may hold. Their messages repeat nothing.


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
