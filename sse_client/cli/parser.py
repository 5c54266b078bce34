"""The parser of a command, whose errors contain no secret and whose help fits the terminal."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import textwrap
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Longer lines are hard to read, and shorter ones cannot be wrapped.
_WIDEST = 100
_NARROWEST = 20

#: The value of ``--help`` that lists all options.
_ALL = "all"

_USAGE = "usage: "

#: The only typed text that an error may repeat: the name of an option.
_SHOWN = re.compile("-[A-Za-z]|--[a-z-]+")


class Parser(argparse.ArgumentParser):
    """A parser whose errors do not repeat typed values, and whose help fits the terminal.

    Args:
        prog: The command.
        usage: The forms of its call, one per line.
        description: The purpose of the command.
        epilog: The end of its help.
        usual: The options that ``--help`` shows. ``--help all`` shows all options. None shows all
            of them always.
    """

    def __init__(
        self,
        *,
        prog: str,
        usage: str,
        description: str,
        epilog: str | None = None,
        usual: Iterable[str] | None = None,
    ) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_Help,
            allow_abbrev=False,
            add_help=False,
        )
        self.usual = None if usual is None else frozenset(usual)

    def add_help_option(self) -> argparse._ArgumentGroup:
        """Add ``--help`` as the last option, and return its group."""
        group = self.add_argument_group("other")
        if self.usual is None:
            group.add_argument("-h", "--help", action="help", help="show this help")
        else:
            text = "show the usual options, or all"
            group.add_argument("-h", "--help", action=_HelpAction, metavar=f"[{_ALL}]", help=text)
        return group

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all the words, or exit with the usage."""
        # Check this first, because the value of an unknown option would be taken for the URL.
        for word in self._unknown_options(words):
            self._refuse(word)
        arguments, rest = self.parse_known_intermixed_args(words)
        if rest:
            self.error("too many arguments")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and a message, without the words that argparse quotes in it."""
        super().error(re.split(r":? ['\"]", message)[0])

    def format_short_help(self) -> str:
        """Return the help with only the usual options."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        usual = [a for a in self._actions if (self.usual or set()) & set(a.option_strings)]
        formatter.start_section("usual options")
        formatter.add_arguments(usual)
        formatter.end_section()
        formatter.add_text(f"{self.prog} --help {_ALL} lists all options.")
        return formatter.format_help()

    def _unknown_options(self, words: Sequence[str]) -> Iterator[str]:
        known: dict[str, argparse.Action] = self._option_string_actions
        rest = iter(words)
        for word in rest:
            if word == "--":
                return
            if not word.startswith("-") or word == "-":
                continue
            name, equals, _ = word.partition("=")
            action = known.get(name)
            if action is None and not word.startswith("--"):
                action = known.get(word[:2])
                equals = word[2:]
            if action is None:
                yield name
            elif action.nargs is None and not equals:
                next(rest, None)

    def _refuse(self, option: str) -> NoReturn:
        if not _SHOWN.fullmatch(option):
            self.error("there is an unknown option")
        known = [
            name
            for name, action in self._option_string_actions.items()
            if name.startswith("--") and action.help is not argparse.SUPPRESS
        ]
        similar = difflib.get_close_matches(option, known, 1, 0.7)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        self.error(f"unknown option {option}{hint}")


class _HelpAction(argparse.Action):
    """``--help`` shows the usual options, and ``--help all`` shows all of them."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,  # noqa: ARG002  # nothing is stored
        *,
        metavar: str,
        help: str,  # noqa: A002  # the name of argparse
    ) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs="?", metavar=metavar, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        values: object,
        _option_string: str | None = None,
    ) -> NoReturn:
        """Print the help, and exit."""
        assert isinstance(parser, Parser), "only a Parser has this action"
        print(parser.format_help() if values == _ALL else parser.format_short_help(), end="")
        parser.exit()


class _Help(argparse.HelpFormatter):
    """Lists one option per line, within the terminal's width, without positional arguments."""

    def __init__(self, prog: str) -> None:
        columns = shutil.get_terminal_size().columns
        width = max(_NARROWEST, min(columns, _WIDEST) - 1)
        super().__init__(prog, width=width, max_help_position=min(28, width // 2))

    def add_usage(self, usage: str | None, *_: object, **__: object) -> None:
        """Add the usage. Each of its forms is wrapped by itself."""
        forms = [form.strip() for form in (usage or "").splitlines()]
        text = "\n".join(
            textwrap.fill(
                form,
                self._width,
                initial_indent=_USAGE if number == 0 else " " * len(_USAGE),
                subsequent_indent=" " * (len(_USAGE) + 2),
                break_on_hyphens=False,
            )
            for number, form in enumerate(forms)
        )
        self._add_item(lambda: f"{text}\n\n", [])

    def add_argument(self, action: argparse.Action) -> None:
        """Add an option. The usage describes the other arguments."""
        if action.option_strings:
            super().add_argument(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return the names of an option, with its value once."""
        value = f" {action.metavar}" if action.metavar else ""
        return ", ".join(action.option_strings) + value
