"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from sse_client import __version__  # noqa: E402  # from the tree, whatever is installed

project = "sse_client"
author = "The sse_client authors"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "state_diagram",
]
exclude_patterns = ["_build"]
nitpicky = True
# What our signatures name, and what no inventory can be fetched for: the build needs no network.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|datetime|enum|http|queue|requests|threading|types|typing)\..*"),
    ("py:.*", r"(urllib3|ssl|os|pathlib|redis|pydantic|msgspec)\..*"),
    ("py:class", r"(Callable|Iterable|Iterator|Sequence|Mapping|Generator|Collection|Path)"),
    ("py:class", r"(Unpack|Auth|Certificate|Cookies|Headers|Params|Proxies|Timeout|Overflow)"),
    ("py:(class|exc|obj)", r"(timedelta|TracebackType|_?[A-Z](_co)?|sse_client\.\w+\.[A-Z](_co)?)"),
    # Names of our own for what is passed through, or for kinds of arguments.
    ("py:class", r"(RequestArguments|StreamArguments|SSEOptions|Value|Handler|Hooks|StreamReader)"),
    ("py:class", r"(PositionKeeper|AnswerHeaders|Framing|Wire|Clock|Doorbell|BaseAdapter)"),
    ("py:class", r"(.*\.)?(PendingRequest|RecordedRequest|RequestHeaders)"),
    ("py:class", r"(DataArguments|TypeForm|Deserialize|Deserializer)"),
    ("py:exc", r"(AssertionError|ImportError|KeyError|OSError|TypeError|ValueError|StopIteration)"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"sse_client {release}"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["sse_client.css"]
