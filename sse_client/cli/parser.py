"""The parser of a command: it repeats no secret, and its help fits a screen."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
