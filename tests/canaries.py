"""Fails the run if a secret appears in any output. All secrets of the tests contain a canary.

It searches the records of all loggers from DEBUG on, warnings, the output of tests and their
processes, and the reports of failures. It ignores only urllib3's own log line for each request,
which has the path and the query.
"""

from __future__ import annotations

import base64
import logging
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.capture import CaptureFixture

if TYPE_CHECKING:
    import warnings

CANARY = "CaNaRyBiRd"

#: How urllib3 logs each request.
_URLLIB3_REQUEST = '%s://%s:%s "%s %s %s" %s %s'


def _in_base64() -> list[str]:
    """The base64 forms of the canary at any offset, as in Basic authentication."""
    found = []
    for offset in range(3):
        bits = 8 * (offset + len(CANARY))
        whole = base64.b64encode(b"x" * offset + CANARY.encode()).decode()
        found.append(whole[-(-8 * offset // 6) : bits // 6])
    return found


_FORMS = [CANARY, CANARY.lower(), *_in_base64()]


def tells(text: str) -> bool:
    """Whether the text contains a canary."""
    return any(form in text for form in _FORMS)


class CanaryWatch(logging.Handler):
    """A plugin of pytest that also handles all log records.

    With pytest-xdist, each worker has its own, which passes its findings to the main process.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self._test = "(no test)"
        self._leaks: dict[str, None] = {}  # an ordered set
        self._originals = CaptureFixture.readouterr, subprocess.Popen.communicate

    def look(self, where: str, *texts: object) -> None:
        for text in texts:
            shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
            if tells(shown):
                self._leaks[f"{self._test}: {where}"] = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg != _URLLIB3_REQUEST:
            self.look(f"logged by {record.name}", self.format(record))

    def pytest_sessionstart(self) -> None:
        read, communicate = self._originals

        def readouterr(fixture: Any) -> Any:
            outcome = read(fixture)
            self.look("captured output", *outcome)
            return outcome

        def communicated(process: Any, *args: Any, **kwargs: Any) -> Any:
            outcome = communicate(process, *args, **kwargs)
            self.look("output of a process", *outcome)
            return outcome

        CaptureFixture.readouterr = readouterr  # type: ignore[method-assign]  # for this run
        subprocess.Popen.communicate = communicated  # type: ignore[method-assign]  # the same
        root = logging.getLogger()
        root.addHandler(self)
        root.setLevel(logging.DEBUG)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        # Without the part in brackets, because the parameter may be the secret.
        self._test = nodeid.partition("[")[0]

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, nodeid: str
    ) -> None:
        if nodeid:
            self.pytest_runtest_logstart(nodeid)
        self.look("a warning", warning_message.message)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # The main process gets the reports of several concurrent tests.
        self.pytest_runtest_logstart(report.nodeid)
        for title, text in report.sections:
            if "log" not in title:  # ``emit`` has seen the log
                self.look(title, text)
        if report.longrepr is not None:
            self.look("its failure", report.longreprtext)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        CaptureFixture.readouterr, subprocess.Popen.communicate = self._originals  # type: ignore[method-assign]  # as it was
        logging.getLogger().removeHandler(self)
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["leaks"] = list(self._leaks)
        if self._leaks:
            session.exitstatus = 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A crashed worker has no output, and fails the run anyway.
        self._leaks.update(dict.fromkeys(getattr(node, "workeroutput", {}).get("leaks", ())))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._leaks:
            terminalreporter.section("leaked secrets", red=True)
            for leak in self._leaks:
                terminalreporter.line(leak)
