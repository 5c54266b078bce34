"""The documentation's site: anchors, the search, and the width of code on a phone."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from html import unescape

import pytest
from pages import ROOT, read_blocks

from sse_client import SSEConfig

DOCS = ROOT / "docs"
OPTIONS = [field.name for field in dataclasses.fields(SSEConfig)]

#: The longest line of code that can be read without scrolling.
COLUMNS = 88

#: How long building all pages may take on a busy machine, in seconds.
PATIENCE = 300


@pytest.fixture
def extension(monkeypatch):
    """Import a Sphinx extension, which is not in a package."""
    pytest.importorskip("sphinx", reason="the documentation is built with requirements/docs.txt")
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    return importlib.import_module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages, as HTML."""
    for package in ("sphinx", "furo", "myst_parser", "sphinx_copybutton"):
        pytest.importorskip(package, reason="the documentation is built with requirements/docs.txt")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "-n"]
    done = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_no_code_is_wider_than_a_page():
    wide = [
        f"{page.relative_to(ROOT)}:{block.line + number}"
        for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
        for block in read_blocks(page)
        for number, line in enumerate(block.code.splitlines())
        if len(line) > COLUMNS
    ]
    assert wide == []


def test_each_option_has_one_entry():
    page = (DOCS / "api/options.md").read_text(encoding="utf-8")
    named = [
        name
        for names in re.findall(r"stream-options::\n\n((?: +.+\n)+)", page)
        for name in names.split()
    ]
    assert sorted(named) == sorted(OPTIONS)


def test_the_summary_of_an_option_is_its_first_sentence_and_its_default(extension):
    options = extension("stream_options").described_options()
    assert list(options) == OPTIONS
    assert options["reconnection_backoff"].default == "2.0"
    assert options["buffer_policy"].default == "BufferPolicy.off()"
    for option in options.values():
        first = re.sub("`+", "", option.lines[0]).split(". ")[0].rstrip(".")
        assert option.summary.startswith(first)
        assert option.summary.endswith(f". Default: {option.default}")


def test_each_chart_has_a_bar_for_each_client(extension):
    charts = extension("benchmark_charts")
    drawn = charts.draw(charts.Chart("ticks", {"sse_client": 2.0, "httpx-sse": 8.0}, ["httpx-sse"]))
    bars = re.findall(r"row\">([\w-]+)<.*?width: ([\d.]+)%.*?<td>([\d.*]+)<", drawn)
    assert bars == [("sse_client", "25.0", "2.00"), ("httpx-sse", "100.0", "8.00*")]
    assert all(list(section(charts.results())) for section in charts.SECTIONS.values())


def text_of(site, page):
    return (site / page).read_text(encoding="utf-8")


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
class TestPages:
    def test_each_option_has_an_anchor(self, site):
        page = text_of(site, "api/options.html")
        assert [name for name in OPTIONS if f'id="sse_client.SSEConfig.{name}"' not in page] == []

    def test_a_mention_of_an_option_has_a_hover_text_and_leads_to_its_entry(self, site):
        link = re.search(
            r'href="api/options.html#sse_client.SSEConfig.event_timeout" title="([^"]+)"',
            text_of(site, "connection.html"),
        )
        assert unescape(link[1]).endswith("Default: None")

    def test_overloads_are_folded(self, site):
        page = text_of(site, "api/client.html")
        shown, folded = page.split('id="sse_client.HttpClient.sse"')[1].split("<details", 1)
        assert shown.count('class="sig-name') == 1
        assert "timeout=(10.0, None)" in unescape(re.sub("<[^>]*>", "", shown))
        count = int(re.search(r"(\d+) overloads", folded)[1])
        assert count == folded.split("</details>")[0].count('class="sig-name') > 1

    def test_code_has_a_copy_button_and_what_is_read_has_none(self, site):
        script = text_of(site, "_static/copybutton.js")
        assert "div:not(.highlight-text) > div.highlight > pre" in script

    def test_nothing_comes_from_another_host(self, site):
        loading = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="https?:[^>]*>')
        pages = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
        assert pages
        assert [tag for page in pages for tag in loading.findall(page)] == []

    @pytest.mark.parametrize(
        ("word", "page"),
        [
            ("asyncio", "howto/asyncio"),
            ("docker", "howto/docker"),
            ("gunicorn", "howto/forks"),
            ("jupyt", "howto/notebooks"),
            ("window", "howto/platforms"),
        ],
    )
    def test_the_search_finds_a_page_by_its_title(self, site, word, page):
        script = text_of(site, "searchindex.js")
        index = json.loads(script[script.index("{") : script.rindex("}") + 1])
        found = index["titleterms"][word]
        assert page in [
            index["docnames"][number] for number in ([found] if isinstance(found, int) else found)
        ]
