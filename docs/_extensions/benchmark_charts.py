"""Bar charts of the figures in ``benchmarks/results.json``: the directive ``benchmark-charts``.

Each chart is an HTML table whose bars are drawn by the style sheet. So the text has the colours of
the theme and the size of the page's text, and the charts use as many columns as fit.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sphinx.application import Sphinx

_RESULTS = Path(__file__).parents[2] / "benchmarks/results.json"
_OURS = "sse_client"

#: The contenders in a chart of live streams, in this order, and their names.
_LIVE = {
    "merge": f"{_OURS}, merge",
    "thread": f"{_OURS}, threads",
    "iter_events": f"{_OURS}, iter_events",
    "async": f"{_OURS}, async for",
    "launchdarkly": "launchdarkly-eventsource",
    "aiohttp": "aiohttp, our parser",
    "httpx-sse": "httpx-sse",
    "httpx2": "httpx2",
    "floor-selector": "a bare selector",
}

#: The contenders in the other charts. The other figures are those of parts and of siblings.
_SHOWN = (
    _OURS,
    "launchdarkly-eventsource",
    "httpx-sse",
    "sseclient-py",
    "requests-sse",
    "anthropic",
    "openai",
    "bare read1",
)


class Chart(NamedTuple):
    """A title, the values, and the contenders whose events were wrong."""

    title: str
    values: Mapping[str, float]
    wrong: list[str]


def _shown(values: Mapping[str, float]) -> dict[str, float]:
    return {name: values[name] for name in _SHOWN if name in values}


def _parsing(results: Mapping[str, Any]) -> Iterator[Chart]:
    for cell in results["parsing"]["cells"]:
        is_line = cell["workload"].startswith("line-")
        if cell["chunking"] == "16 KiB" and not is_line and not cell.get("is_sibling"):
            yield Chart(cell["title"], _shown(cell["multiples"]), cell["wrong"])


def _whole_way(results: Mapping[str, Any]) -> Iterator[Chart]:
    for backlog in results["whole_way"]["backlogs"]:
        if backlog["framing"] != "singly":
            yield Chart(backlog["title"], _shown(backlog["cpu"]), backlog["wrong"])


def _live(results: Mapping[str, Any]) -> Iterator[Chart]:
    for case in results["live"]["cases"]:
        if case["streams"] > 1:
            title = f"{case['streams']:,} streams, {case['rate']:g} events per second on each"
            if case["together"] > 1:
                title += ", at once"
            figures = case["figures"]
            values = {_LIVE[name]: figures[name]["cpu"] for name in _LIVE if name in figures}
            yield Chart(title, values, [_LIVE[name] for name in case["wrong"] if name in _LIVE])


SECTIONS: dict[str, Callable[[Mapping[str, Any]], Iterator[Chart]]] = {
    "parsing": _parsing,
    "whole-way": _whole_way,
    "live": _live,
}


def results() -> Any:  # noqa: ANN401  # as JSON has it
    """Return the figures of the last complete run."""
    return json.loads(_RESULTS.read_text(encoding="utf-8"))


def draw(chart: Chart) -> str:
    """Return a chart as a table: a row for each contender, with its bar and its value."""
    longest = max(chart.values.values())
    rows = []
    for name, value in chart.values.items():
        mark = "*" if name in chart.wrong else ""
        kind = " class=ours" if name.startswith(_OURS) else ""
        rows.append(
            f'<tr{kind}><th scope="row">{escape(name)}</th>'
            f'<td><span style="width: {value / longest:.1%}"></span></td>'
            f"<td>{f'{value:#.3g}'.rstrip('.')}{mark}</td></tr>"
        )
    caption = f"<caption>{escape(chart.title)}</caption>"
    return f'<table class="benchmark-chart">{caption}{"".join(rows)}</table>'


class _BenchmarkCharts(SphinxDirective):
    """Puts the charts of a section in the place of the directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return them as HTML. Other formats have the tables of the page."""
        self.env.note_dependency(str(_RESULTS))
        charts = "".join(map(draw, SECTIONS[self.arguments[0]](results())))
        return [nodes.raw("", f'<div class="benchmark-charts">{charts}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("benchmark-charts", _BenchmarkCharts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
