"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from folded_overloads import named_values  # noqa: E402  # once it can be found
from sse_client import __version__, client  # noqa: E402  # from the tree

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "sse_client"
author = "The sse_client authors"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "benchmark_charts",
    "folded_overloads",
    "state_diagram",
    "stream_options",
    "stream_picture",
]
exclude_patterns = ["_build"]
nitpicky = True
# Names in our signatures for which no inventory is loaded: the build needs no network.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(collections|datetime|enum|http|queue|requests|threading|types|typing)\..*",
    ),
    ("py:.*", r"(urllib3|ssl|os|pathlib|redis|pydantic|msgspec|opentelemetry)\..*"),
    (
        "py:class",
        r"(Callable|Iterable|Iterator|Sequence|Mapping|Generator|Collection|Path)",
    ),
    (
        "py:class",
        r"(Unpack|Auth|Certificate|Cookies|Headers|Params|Proxies|Timeout|Overflow)",
    ),
    (
        "py:class",
        r"(ContentTypes|Q\.args|Q\.kwargs|(sse_client\.relay\.status\.)?OwnFigures)",
    ),
    (
        "py:(class|exc|obj)",
        r"(timedelta|TracebackType|_?[A-Z](_co)?|sse_client(\.\w+)+\.[A-Z](_co)?)",
    ),
    # Our own names for values that are passed on, or for kinds of arguments.
    (
        "py:class",
        r"(RequestArguments|StreamArguments|SSEOptions|Value|Handler|Hooks|StreamReader)",
    ),
    (
        "py:class",
        r"(PositionKeeper|SessionOpening|SessionLike|ResponseHeaders|Framing|Wire|Clock|Doorbell|BaseAdapter)",
    ),
    ("py:class", r"(.*\.)?(PendingRequest|RecordedRequest|RequestHeaders)"),
    ("py:class", r"(.*\.)?(RedisAddress|RedisServer|GroupOptions)"),
    ("py:class", r"(DataArguments|TypeForm|Deserialize|Deserializer)"),
    ("py:class", r"(TracerProvider|MeterProvider)"),
    (
        "py:exc",
        r"(AssertionError|ImportError|KeyError|OSError|TypeError|ValueError|StopIteration)",
    ),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

toc_object_entries_show_parents = "hide"
# Bytes on the wire and the output of programs are not for copying.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"

html_theme = "furo"
# In the default style, imported names look like links.
pygments_dark_style = "github-dark"
html_title = f"sse_client {release}"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["sse_client.css"]

#: Replaces a colon while napoleon processes a docstring.
_COLON = "\ue000"


def setup(app: Sphinx) -> None:
    """Correct what autodoc and napoleon make of our docstrings and signatures."""
    app.connect(
        "autodoc-process-docstring", _hide_colon, priority=400
    )  # before napoleon
    app.connect("autodoc-process-docstring", _show_colon, priority=600)
    app.connect("autodoc-process-signature", _leave_out_factories)


def _hide_colon(_app: Sphinx, what: str, *arguments: Any) -> None:  # noqa: ANN401  # lines last
    # A property's first line is a sentence. Sphinx would treat the text before a colon
    # as a type.
    lines = arguments[-1]
    if what in {"attribute", "data", "property"} and lines:
        lines[0] = lines[0].replace(":", _COLON)


def _show_colon(*arguments: Any) -> None:  # noqa: ANN401  # the same
    lines = arguments[-1]
    lines[:] = [line.replace(_COLON, ":") for line in lines]


#: Classes that users do not construct. Their signatures would show internals.
_NOT_CONSTRUCTED = ("sse_client.SSESession", "sse_client.MergedSessions")


def _leave_out_factories(*arguments: Any) -> tuple[str, str] | None:  # noqa: ANN401  # the last two
    # Sphinx cannot parse a signature with one, and shows it unchanged.
    signature, returned = arguments[-2:]
    if arguments[2] in _NOT_CONSTRUCTED:
        return "", ""
    if not signature:
        return None
    return named_values(signature.replace("<factory>", "..."), client), returned
