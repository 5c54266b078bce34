"""The figures as a picture: a small bar chart for each workload, and for the whole way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from report import Report

_OURS = "sse_client"
_BARE = "bare read1"
_ORDER = (
    _OURS,
    "launchdarkly-eventsource",
    "httpx-sse",
    "sseclient-py",
    "requests-sse",
    "anthropic",
    "openai",
    _BARE,
)
_COLUMNS = 4
_OUR_COLOUR = "#1f6feb"
_PEER_COLOUR = "#c3cad3"
_WRONG_COLOUR = "#f0d9d6"
_TEXT_COLOUR = "#24292f"

#: Nothing in the file may change unless a figure does.
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sse_client",
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": _TEXT_COLOUR,
    "axes.labelcolor": _TEXT_COLOUR,
    "ytick.color": _TEXT_COLOUR,
}

#: A chart: its title, the values, and what to say of those that have none or a wrong one.
_Chart = tuple[str, "Mapping[str, float]", "Mapping[str, str]"]


def draw(report: Report, path: Path) -> None:
    """Write the picture; the suffix of the path tells the format."""
    groups = [
        (title, charts)
        for title, charts in (
            ("Parsing, in chunks of 16 KiB: time as a multiple of the limit", _parsing(report)),
            ("The whole way: processor seconds for a million events", _whole_way(report)),
        )
        if charts
    ]
    if not groups:
        return
    rows = [-(-len(charts) // _COLUMNS) for _, charts in groups]
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(13, 1.2 + 2.1 * sum(rows)), layout="constrained")
        parts = figure.subfigures(len(groups) + 1, 1, height_ratios=[*rows, 0.15], squeeze=False)
        for part, (title, charts), height in zip(parts.flat, groups, rows, strict=False):
            part.suptitle(f"{title} (less is better)", fontsize=11, fontweight="bold")
            axes = iter(part.subplots(height, _COLUMNS, squeeze=False).flat)
            for chart in charts:
                _bars(next(axes), *chart)
            _hide(axes)
        machine = report.machine
        parts.flat[-1].text(
            0.01,
            0.5,
            f"{machine['cpu']}, {machine['cores']} cores, {machine['python']}, {machine['date']}."
            " The limit of parsing is to decode and split each chunk; bare read1 is a loop that"
            " reads the same response and looks at nothing.",
            va="center",
        )
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _parsing(report: Report) -> list[_Chart]:
    if report.parsing is None:
        return []
    charts: list[_Chart] = []
    for cell in report.parsing.cells:
        is_line = cell.workload.startswith("line-")
        if cell.chunking == "16 KiB" and not (is_line or cell.is_sibling):
            remarks = dict.fromkeys(cell.wrong, "wrong events")
            charts.append((cell.title, cell.multiples, remarks))
    return charts


def _whole_way(report: Report) -> list[_Chart]:
    if report.whole_way is None:
        return []
    return [
        (each.title, each.cpu, dict.fromkeys(each.wrong, "failed"))
        for each in report.whole_way.backlogs
        if each.framing != "singly"
    ]


def _bars(axes: Axes, title: str, values: Mapping[str, float], remarks: Mapping[str, str]) -> None:
    names = [name for name in _ORDER if name in values or name in remarks]
    for place, name in enumerate(names):
        value = values.get(name, 0.0)
        colour = _WRONG_COLOUR if name in remarks else _PEER_COLOUR
        axes.barh(place, value, color=_OUR_COLOUR if name == _OURS else colour, height=0.72)
        label = f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
        remark = remarks.get(name)
        axes.annotate(
            label if remark is None else f"{label}, {remark}" if value else remark,
            (value, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold" if name == _OURS else "normal",
        )
    axes.set_title(title, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.tick_params(length=0)
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _hide(axes: Iterator[Axes]) -> None:
    for unused in axes:
        unused.set_visible(False)
