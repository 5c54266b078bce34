"""The fixtures, as another project meets them: through the entry point, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def alone(monkeypatch):
    """Load our plug-in alone, by its entry point: those of others take long to import."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p sse_client")


def run(pytester: pytest.Pytester, source: str, *words: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-W", "error", *words)


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


def test_a_pytest_that_needs_no_stream_loads_none(pytester):
    done = run(
        pytester,
        """
        import sys

        def test_nothing_is_loaded(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("sse_client")
            assert "pytest_sse_client" in sys.modules
            assert {"sse_client", "requests", "urllib3"} & set(sys.modules) == set()
        """,
    )
    done.assert_outcomes(passed=1)


def test_a_test_may_ask_for_a_real_server(pytester, alone):
    done = run(
        pytester,
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
        *("-p", "no:randomly"),
    )
    done.assert_outcomes(passed=2)


def test_a_test_may_ask_for_a_server_in_memory_alone(pytester, alone):
    done = run(
        pytester,
        """
        def test_it_reconnects_by_itself(sse_memory):
            sse_memory.serve(["one"], then="reset")
            sse_memory.serve(["two"], then="stall")
            with sse_memory.client(reconnection_time=0.001) as client:
                with client.sse(sse_memory.url) as session:
                    for expected in ("one", "two"):
                        assert session.incoming.get(timeout=20).data == expected
        """,
    )
    done.assert_outcomes(passed=1)


@pytest.mark.parametrize("names", ["sse_memory, sse_clock", "sse_clock, sse_memory"])
def test_with_the_clock_the_server_in_memory_runs_on_it(pytester, alone, names):
    done = run(
        pytester,
        f"""
        def test_the_clock_moves_it({names}):
            sse_memory.serve(["one"], then="reset")
            with sse_memory.client() as client, client.sse(sse_memory.url):
                assert sse_clock.wait_for_sleepers() == (3,)
        """,
    )
    done.assert_outcomes(passed=1)


def test_what_a_handler_raised_fails_the_test(pytester, alone):
    done = run(
        pytester,
        """
        def handler(exchange):
            assert exchange.request.path == "/right"

        def test_it(sse_memory):
            sse_memory.handler = handler
            assert sse_memory.session.get("http://x.test/wrong", timeout=5).status_code == 500
        """,
    )
    done.assert_outcomes(passed=1, errors=1)
