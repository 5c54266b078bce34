"""The parsers of all commands, for the man page and shell completion."""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING, cast

from sse_client.cli.commands import COMMANDS, DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client.cli.parser import Parser


def default_parser() -> Parser:
    """Return the parser of ``sse-client URL``."""
    return _parser_of(DEFAULT)


def command_parsers() -> Iterator[tuple[str, Parser]]:
    """Yield the name and the parser of each command."""
    for name, module in COMMANDS.items():
        yield name, _parser_of(module)


def _parser_of(module: str) -> Parser:
    loaded = importlib.import_module(module)
    make = getattr(loaded, "parser", None) or loaded._parser  # noqa: SLF001  # the name in the relay's module
    return cast("Parser", make())


def groups_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Yield the heading and the options of each group of a parser."""
    for group in parser._action_groups:  # noqa: SLF001  # it has no public name
        actions = group._group_actions  # noqa: SLF001  # the same
        options = [
            each for each in actions if each.option_strings and each.help is not argparse.SUPPRESS
        ]
        if options:
            yield group.title or "", options
