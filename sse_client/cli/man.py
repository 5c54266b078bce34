"""``sse-client man``: writes the man page, from the help of all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sse_client import __version__
from sse_client.cli.all_parsers import command_parsers, default_parser, groups_of
from sse_client.cli.output import show
from sse_client.cli.parser import Parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

_NAME = "follow, check, record and serve streams of Server-Sent Events"

_ENVIRONMENT = {
    "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY": "the proxies, and the hosts without a proxy",
    "NO_COLOR": "if it is not empty, no colours are used",
    "COLUMNS": "the width of the help",
}

_SEE_ALSO = "The documentation's page on the command line explains each option."


def run(words: Sequence[str]) -> int:
    """Write the man page to standard output."""
    parser().parse(words)
    show(man_page())
    return 0


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser(
        prog="sse-client man",
        usage="sse-client man",
        description="Write the man page of sse-client to standard output. To read it: "
        "sse-client man | man -l -",
    )
    made.add_help_option()
    return made


def man_page() -> str:
    """Return the man page, in the macros of man(7)."""
    root = default_parser()
    commands = list(command_parsers())
    shared = {name for _, actions in groups_of(root) for each in actions for name in _names(each)}
    lines = [
        f'.TH SSE\\-CLIENT 1 "" "sse\\-client {__version__}" "User Commands"',
        ".SH NAME",
        f"sse\\-client \\- {_NAME}",
        ".SH SYNOPSIS",
        ".nf",
        *(_escaped(form) for form in _forms([root, *(each for _, each in commands)])),
        ".fi",
        ".SH DESCRIPTION",
        _escaped(root.description or ""),
        ".SH OPTIONS",
        *_options(groups_of(root)),
        ".SH COMMANDS",
    ]
    for name, command in commands:
        lines += [f".SS sse\\-client {_escaped(name)}", _escaped(command.description or "")]
        own = [
            (title, [each for each in actions if not shared & set(_names(each))])
            for title, actions in groups_of(command)
        ]
        lines += _options(((title, actions) for title, actions in own if actions), has_titles=False)
        has_shared = sum(len(actions) for _, actions in own) + 1 < sum(
            len(actions) for _, actions in groups_of(command)
        )
        if has_shared:
            lines += [".PP", "The options for requests and reconnecting are those above."]
        if command.epilog:
            lines += [".PP", _escaped(command.epilog)]
    lines.append(".SH ENVIRONMENT")
    for name, meaning in _ENVIRONMENT.items():
        lines += [".TP", f"\\fB{name}\\fR", _escaped(meaning)]
    lines += [".SH EXIT STATUS", _escaped(root.epilog or ""), ".SH SEE ALSO", _SEE_ALSO]
    return "\n".join(lines) + "\n"


def _names(action: argparse.Action) -> Sequence[str]:
    return action.option_strings


def _forms(parsers: Iterable[Parser]) -> Iterator[str]:
    for each in parsers:
        for form in (each.usage or "").splitlines():
            yield form.strip()


def _options(
    groups: Iterable[tuple[str, list[argparse.Action]]], *, has_titles: bool = True
) -> Iterator[str]:
    for title, actions in groups:
        if has_titles:
            yield f".SS {_escaped(title.capitalize())}"
        for action in actions:
            names = ", ".join(f"\\fB{_escaped(each)}\\fR" for each in action.option_strings)
            value = f" \\fI{_escaped(str(action.metavar))}\\fR" if action.metavar else ""
            yield ".TP"
            yield f"{names}{value}"
            yield _escaped(action.help or "")


def _escaped(text: str) -> str:
    """Escape text for roff, whose lines must not begin with a dot or a quote."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
