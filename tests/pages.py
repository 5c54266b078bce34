"""The code blocks of Markdown pages, and how tests run them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent

#: The server's address in all pages, which tests replace by that of a live server.
ADDRESS = "http://127.0.0.1:8080"


class Block(NamedTuple):
    page: Path
    heading: str
    language: str
    line: int  # the line of the block's first line of code, from 1
    code: str

    def run(self, url: str, replaced: Mapping[str, str] | None = None) -> dict[str, object]:
        """Execute it as a script. A traceback shows the line numbers of the page."""
        names: dict[str, object] = {"__name__": "__main__"}
        code = "\n" * (self.line - 1) + self.code_for(url, replaced)
        exec(compile(code, str(self.page), "exec"), names)
        return names

    def code_for(self, url: str, replaced: Mapping[str, str] | None = None) -> str:
        """Return its code for a server at this URL."""
        code = self.code
        for old, new in (replaced or {}).items():
            assert old in code, f"{old} is not in the block"
            code = code.replace(old, new)
        return code.replace(ADDRESS, url.rstrip("/"))


def read_blocks(page: Path) -> list[Block]:
    """Find the fenced code blocks, each with its heading."""
    blocks = []
    heading = ""
    fence: tuple[str, int] | None = None
    code: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if fence is None:
            if line.startswith("#"):
                heading = line.lstrip("#").strip()
            elif line.startswith("```"):
                fence, code = (line[3:].strip(), number + 1), []
        elif line == "```":
            blocks.append(Block(page, heading, *fence, "\n".join(code) + "\n"))
            fence = None
        else:
            code.append(line)
    assert fence is None, "an open code fence"
    return blocks
