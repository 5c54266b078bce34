"""Shows a function with overloads once, as it is implemented, and folds its overloads."""

from __future__ import annotations

import importlib
import inspect
import re
from operator import attrgetter
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from types import ModuleType

    from sphinx.application import Sphinx

#: The attributes of a signature besides its names: its entries in indexes and tables of contents.
_PLACES = ("ids", "_toc_name", "_toc_parts")


def _fold(_app: Sphinx, domain: str, kind: str, content: addnodes.desc_content) -> None:
    """Move the overloads into the content, and put the implementation's signature above."""
    signatures = [each for each in content.parent if isinstance(each, addnodes.desc_signature)]
    if domain != "py" or len({each["fullname"] for each in signatures}) == len(signatures):
        return
    folded = addnodes.desc("", domain=domain, objtype=kind, classes=[domain, kind])
    for signature in signatures:
        copy = signature.deepcopy()
        for place in _PLACES:
            copy.attributes.pop(place, None)
        copy["ids"] = []
        folded += copy
    folded += addnodes.desc_content()
    summary = f"<summary>{len(signatures)} overloads, for type checkers</summary>"
    content += nodes.raw("", f'<details class="overloads">{summary}', format="html")
    content += folded
    content += nodes.raw("", "</details>", format="html")
    first, *others = signatures
    for other in others:
        content.parent.remove(other)
    _show_implementation(first)


def _show_implementation(signature: addnodes.desc_signature) -> None:
    """Name the parameters of the implementation, without their types."""
    package = importlib.import_module(signature["module"])
    function = attrgetter(signature["fullname"])(package)
    module = importlib.import_module(function.__module__)
    implementation = inspect.signature(function)
    parameters = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in implementation.parameters.values()
        if each.name != "self"
    ]
    shown = str(
        implementation.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    )
    parameter_list = addnodes.desc_parameterlist()
    for name in shown[1:-1].split(", "):
        part = named_values(name, module)
        parameter_list += addnodes.desc_parameter("", "", addnodes.desc_sig_name("", part))
    for part in list(signature):
        if isinstance(part, addnodes.desc_returns):
            signature.remove(part)
        elif isinstance(part, addnodes.desc_parameterlist):
            signature.replace(part, parameter_list)


def named_values(signature: str, module: ModuleType) -> str:
    """Put the values of a module's own constants in place of their names."""
    constants = {name: repr(value) for name, value in vars(module).items() if name.isupper()}
    return re.sub(r"\b_[A-Z_]+\b", lambda name: constants.get(name[0], name[0]), signature)


def setup(app: Sphinx) -> dict[str, bool]:
    """Process each entry once it is complete."""
    app.connect("object-description-transform", _fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
