"""Values of a configuration that contain variables of the environment, or contents of files."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger("sse_client")

#: ``$$``, ``${file:/path}``, ``${NAME}`` and ``$NAME``; any other ``$`` stands for itself.
_PLACE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{file:(?P<path>[^}]+)\}|\{(?P<braced>\w+)\}|(?P<name>[A-Za-z_]\w*))"
)


@dataclass(frozen=True)
class Template:
    """A value with placeholders. Each call returns the current value.

    Args:
        option: The name of the option, for messages.
        text: The value with its placeholders.
    """

    option: str
    text: str = field(repr=False)
    #: The last value, for the time in which a file is being replaced.
    _last: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def reads_files(self) -> bool:
        """Whether the value can change while the process runs."""
        return any(found["path"] for found in _PLACE.finditer(self.text))

    def expand(self) -> str:
        """Return the current value. Blocks while it reads its files.

        Raises:
            ValueError: A variable is not set, or a file can't be read; the message names it.
        """
        value = _PLACE.sub(self._fill, self.text)
        self._last[:] = [value]
        return value

    def __call__(self) -> str:
        """Return the current value, or the last one if a file can't be read at the moment."""
        try:
            return self.expand()
        except ValueError as error:
            if not self._last:
                raise
            logger.warning("the previous value is used: %s", error)
            return self._last[0]

    def _fill(self, found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        if found["path"]:
            return self._read(found["path"])
        name = found["braced"] or found["name"]
        try:
            return os.environ[name]
        except KeyError:
            message = f"{self.option}: the environment variable ${name} is not set"
            raise ValueError(message) from None

    def _read(self, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not in UTF-8"
            raise ValueError(f"{self.option}: {path} can't be read: {reason}") from None


def value_of(option: str, text: str) -> str | Template:
    """Return the value; or, if it contains files, a template that reads them for each call.

    Raises:
        ValueError: A variable is not set, or a file can't be read.
    """
    template = Template(option, text)
    value = template.expand()
    return template if template.reads_files else value
