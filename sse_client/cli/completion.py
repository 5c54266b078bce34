"""``sse-client completion SHELL``: writes a script with which a shell completes commands."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sse_client.cli import values
from sse_client.cli.all_parsers import command_parsers, default_parser
from sse_client.cli.output import complain, show
from sse_client.cli.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHELLS = ("bash", "zsh", "tcsh")

#: The metavar of an option whose value is the path of a file.
_FILE = "FILE"


def run(words: Sequence[str]) -> int:
    """Write the script to standard output."""
    shell = parser().parse(words).shell
    try:
        import shtab  # noqa: PLC0415  # an extra
    except ImportError:
        complain("completion needs the package shtab: pip install 'sse-client[cli]'")
        return 1
    show(shtab.complete(_whole_parser(shtab), shell=shell))
    return 0


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser(
        prog="sse-client completion",
        usage=f"sse-client completion {'|'.join(_SHELLS)}",
        description="Write a script to standard output that lets a shell complete the commands "
        "and options of sse-client. For bash: sse-client completion bash > "
        "~/.local/share/bash-completion/completions/sse-client. For zsh, write _sse-client to a "
        "folder of $fpath.",
    )
    made.add_argument("shell", metavar="|".join(_SHELLS), type=values.one_of(*_SHELLS))
    made.add_help_option()
    return made


def _whole_parser(shtab: Any) -> argparse.ArgumentParser:  # noqa: ANN401  # a module
    """Return one parser with all options and commands, for shtab."""
    whole = argparse.ArgumentParser(prog="sse-client", add_help=False)
    for action in default_parser()._actions:  # noqa: SLF001  # they have no public name
        if action.option_strings:
            whole._add_action(action)  # noqa: SLF001  # the same
    parsers = dict(command_parsers())
    # Return the existing parser instead of creating a new one.
    given: Any = lambda **options: parsers[options["prog"].rpartition(" ")[2]]  # noqa: E731
    commands = whole.add_subparsers(parser_class=given)
    for name, each in parsers.items():
        commands.add_parser(name, help=(each.description or "").partition(".")[0])
    for parser_ in (whole, *parsers.values()):
        for action in parser_._actions:  # noqa: SLF001  # the same
            _describe(action, shtab)
    return whole


def _describe(action: argparse.Action, shtab: Any) -> None:  # noqa: ANN401  # a module
    """Describe to shtab what the value of an option may be."""
    metavar = str(action.metavar or "")
    if metavar == _FILE:
        action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab reads it
    elif "|" in metavar:
        action.choices = metavar.split("|")
