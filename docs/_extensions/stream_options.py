"""The options of ``SSEConfig``: an entry with an anchor for each, and a hover text at each mention.

The directive ``stream-options`` describes the options that it names. The descriptions are those of
the docstring of ``SSEConfig``. In all other pages an option's name in code, such as
``event_timeout`` or ``event_timeout=60``, becomes a link to its entry, whose hover text is the
first sentence and the default.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import stringify_annotation
from sse_client import SSEConfig

if TYPE_CHECKING:
    from sphinx.application import Sphinx

#: The page with the entries.
_PAGE = "api/options"

#: The pages on the relay and the command, whose options have some of the same names.
_OTHER_OPTIONS = ("relay", "api/relay", "command-line", "changelog")

_MENTION = re.compile(r"(\w+)(=.*)?")
_ENTRY = re.compile(r"    (\w+): (.*)")


class _Option(NamedTuple):
    """The description of an option."""

    type: str
    default: str
    lines: list[str]

    @property
    def summary(self) -> str:
        """The first sentence as plain text, and the default."""
        text = re.sub(r"`+([^`]*)`+", r"\1", " ".join(self.lines))
        return f"{text.partition('. ')[0].rstrip('.')}. Default: {self.default}"


@cache
def described_options() -> dict[str, _Option]:
    """Return the options in the order of the class."""
    hints = get_type_hints(SSEConfig)
    described = _described()
    return {
        field.name: _Option(
            stringify_annotation(hints[field.name], "smart"),
            _default(field),
            described[field.name],
        )
        for field in dataclasses.fields(SSEConfig)
    }


def _described() -> dict[str, list[str]]:
    """Return the lines of each entry in the section of arguments of the docstring."""
    entries: dict[str, list[str]] = {}
    lines = inspect.cleandoc(SSEConfig.__doc__ or "").splitlines()
    for line in lines[lines.index("Args:") + 1 :]:
        if begun := _ENTRY.fullmatch(line):
            entries[begun[1]] = [begun[2]]
        elif line.startswith(" " * 8):
            entries[next(reversed(entries))].append(line.strip())
        else:
            break
    return entries


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return str(getattr(field.default_factory, "__qualname__", "")) + "()"
    if isinstance(value, frozenset | set):
        return f"{{{', '.join(map(repr, sorted(value)))}}}"
    return repr(value)


class _StreamOptions(SphinxDirective):
    """Describes the options that are named in its body. It belongs in reStructuredText."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return an entry for each of them."""
        lines = []
        for name in " ".join(self.content).split():
            option = described_options()[name]
            lines += [f".. py:attribute:: SSEConfig.{name}", f"   :type: {option.type}"]
            lines += [f"   :value: {option.default}", ""]
            lines += [*(f"   {line}" for line in option.lines), ""]
        self.env.ref_context["py:module"] = "sse_client"
        entries = self.parse_text_to_nodes("\n".join(lines))
        for entry in entries:
            for prefix in list(entry.findall(addnodes.desc_addname)):
                prefix.parent.remove(prefix)
        return entries


def _link_mentions(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Turn each mention of an option in code into a link with a hover text."""
    if page in _OTHER_OPTIONS:
        return
    for literal in list(doctree.findall(nodes.literal)):
        mention = _MENTION.fullmatch(literal.astext())
        option = mention and described_options().get(mention[1])
        if mention and option and not _is_within_a_name(literal):
            uri = app.builder.get_relative_uri(page, _PAGE)
            link = nodes.reference(
                "",
                "",
                literal.deepcopy(),
                internal=True,
                refuri=f"{uri}#sse_client.SSEConfig.{mention[1]}",
                reftitle=option.summary,
            )
            literal.replace_self(link)


def _is_within_a_name(node: nodes.Node) -> bool:
    """Whether it is part of a link, a heading or a signature."""
    kinds = (nodes.reference, nodes.title, addnodes.desc_signature)
    parent = node.parent
    while parent is not None:
        if isinstance(parent, kinds):
            return True
        parent = parent.parent
    return False


def _leave_out_arguments(*arguments: Any) -> None:  # noqa: ANN401  # the event's: name third, lines last
    """Leave out the options in the entry of the class itself."""
    if arguments[2] == "sse_client.SSEConfig":
        lines = arguments[-1]
        begin = lines.index("Args:")
        end = next(number for number in range(begin + 1, len(lines)) if lines[number][:1].strip())
        del lines[begin:end]


def _shorten(*arguments: Any) -> tuple[str, str] | None:  # noqa: ANN401  # the same
    return ("(**options)", "") if arguments[2] == "sse_client.SSEConfig" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, and what links the mentions."""
    app.add_directive("stream-options", _StreamOptions)
    app.connect("autodoc-process-docstring", _leave_out_arguments, priority=300)
    app.connect("autodoc-process-signature", _shorten)
    app.connect("doctree-resolved", _link_mentions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
