"""The fixtures as another project uses them: through the entry point, in a separate pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]


def test_the_plugin_is_announced():
    (found,) = entry_points(group="pytest11", name="sse_client")
    assert found.value == "pytest_sse_client"


def test_importing_the_plugin_brings_nothing_heavy_along():
    script = "import pytest, sys; before = set(sys.modules); import pytest_sse_client\n"
    script += "print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == ["pytest_sse_client"]


@pytest.fixture
def alone(monkeypatch):
    """Load only our plugin, by its entry point, because third-party plugins take long to import."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p sse_client")


def test_a_pytest_that_needs_no_stream_loads_none(pytester, alone):
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("sse_client")
            assert "pytest_sse_client" in sys.modules
            assert {"sse_client", "requests", "urllib3"} & set(sys.modules) == set()
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


#: Test files, and their results.
FILES = {
    "a_test_may_ask_for_a_real_server": (
        """
        import requests

        def test_it_answers(sse_server):
            sse_server.respond(200, body="yes")
            assert requests.get(sse_server.url, timeout=5).text == "yes"
            global url
            url = sse_server.url

        def test_it_is_stopped_afterwards():
            try:
                requests.get(url, timeout=5)
            except requests.ConnectionError:
                return
            assert False
        """,
        "..",
    ),
    "a_test_may_ask_for_a_server_in_memory_alone": (
        """
        def test_it_reconnects_by_itself(sse_memory):
            sse_memory.serve(["one"], then="reset")
            sse_memory.serve(["two"], then="stall")
            with sse_memory.client(reconnection_time=0.001) as client:
                with client.sse(sse_memory.url) as session:
                    for expected in ("one", "two"):
                        assert session.incoming.get(timeout=20).data == expected
        """,
        ".",
    ),
    "with_the_clock_the_server_in_memory_runs_on_it": (
        """
        def check(sse_memory, sse_clock):
            sse_memory.serve(["one"], then="reset")
            with sse_memory.client() as client, client.sse(sse_memory.url):
                assert sse_clock.wait_for_sleepers() == (3,)

        def test_if_asked_for_first(sse_clock, sse_memory):
            check(sse_memory, sse_clock)

        def test_if_asked_for_last(sse_memory, sse_clock):
            check(sse_memory, sse_clock)
        """,
        "..",
    ),
    "what_a_handler_raised_fails_the_test": (
        """
        def handler(exchange):
            assert exchange.request.path == "/right"

        def test_it(sse_memory):
            sse_memory.handler = handler
            assert sse_memory.session.get("http://x.test/wrong", timeout=5).status_code == 500
        """,
        ".E",
    ),
}


def test_a_test_gets_what_it_asks_for(pytester, alone):
    pytester.makepyfile(**{f"test_{name}": source for name, (source, _) in FILES.items()})
    done = pytester.runpytest_subprocess("-W", "error")
    ends = dict(re.findall(r"^test_(\w+)\.py ([.FEs]+) ", done.stdout.str(), re.MULTILINE))
    assert ends == {name: end for name, (_, end) in FILES.items()}
    done.assert_outcomes(passed=6, errors=1)
