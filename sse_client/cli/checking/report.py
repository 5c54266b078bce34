"""The result of a check, as text and as JSON."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

from sse_client.cli.verbose import http_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.cli.checking.findings import Finding
    from sse_client.cli.checking.observation import Observation

#: The maximum and the minimum width of the text.
_WIDEST = 78
_NARROWEST = 30

_COLOURS = {"ok": "32", "note": "36", "warning": "33", "problem": "31"}


def as_text(
    name: str, findings: Sequence[Finding], first: Observation | None, *, has_colours: bool
) -> str:
    """Return the result as text.

    Args:
        name: The address, without secrets.
        findings: The conclusions.
        first: The observation, or None if it is not an event stream.
        has_colours: Whether the levels are coloured.
    """
    lines = [name, ""]
    for finding in findings:
        lines += _wrapped(finding, has_colours=has_colours)
    if first is not None:
        lines += ["", _in_words(findings)]
    return "\n".join([*lines, ""])


def as_json(name: str, findings: Sequence[Finding], first: Observation | None) -> dict[str, Any]:
    """Return the result for programs. The arguments are those of `as_text`."""
    result: dict[str, Any] = {
        "url": name,
        "verdict": "not an event stream" if first is None else _verdict(findings),
        "findings": [
            {"about": each.about, "level": each.level, "text": each.text} for each in findings
        ],
    }
    if first is not None:
        facts = first.facts
        result["figures"] = {
            "http_version": http_version(first.response),
            "header_time": round(first.header_time, 3),
            "first_byte_time": round(facts.bursts[0].began, 3) if facts.bursts else None,
            "duration": round(first.duration, 3),
            "bytes": facts.size,
            "bursts": len(facts.bursts),
            "events": len(facts.events),
            "events_with_id": facts.events_with_id,
            "comments": len(facts.comments),
            "invalid_lines": facts.invalid_count,
            "retry": facts.retries[-1] if facts.retries else None,
            "content_encoding": first.response.headers.get("Content-Encoding"),
            "end": first.end or None,
        }
    return result


def _verdict(findings: Sequence[Finding]) -> str:
    levels = {finding.level for finding in findings}
    if "problem" in levels:
        return "problems"
    return "warnings" if "warning" in levels else "ok"


def _in_words(findings: Sequence[Finding]) -> str:
    counted = []
    for level in ("problem", "warning"):
        number = sum(finding.level == level for finding in findings)
        if number:
            counted.append(f"{number} {level}{'' if number == 1 else 's'}")
    if not counted:
        return "Verdict: it is a correct event stream."
    return f"Verdict: it is an event stream, but with {' and '.join(counted)}."


def _wrapped(finding: Finding, *, has_colours: bool) -> list[str]:
    mark = f"{finding.level:<9}"
    indent = " " * len(mark)
    lines = textwrap.wrap(
        finding.text,
        max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns - 1)),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    if has_colours:
        mark = f"\x1b[{_COLOURS[finding.level]}m{mark}\x1b[0m"
    return [mark + lines[0].removeprefix(indent), *lines[1:]]
