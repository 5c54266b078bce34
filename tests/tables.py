"""Tables of cases that take no time, in one test each.

Each test of pytest costs some milliseconds, in the process that runs it, in those that collect it,
too, and in the one that reports it: more than thousands of these cases together.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each_of(
    names: str | tuple[str, ...], cases: Iterable[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test with each case, as `pytest.mark.parametrize` would, but all in one test.

    The first case that fails ends it, and is named below its error. A fixture is the same for all.
    """
    cases = list(cases)
    assert cases, "no case means no test"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)
        wanted = [each for each in signature.parameters.values() if each.name not in names_of_case]

        @functools.wraps(test)
        def run(*args: Any, **fixtures: Any) -> None:
            for case in cases:
                values = case if isinstance(names, tuple) else (case,)
                try:
                    test(*args, **fixtures, **dict(zip(names_of_case, values, strict=True)))
                except BaseException as error:
                    # As add_note does, which came with Python 3.11.
                    notes = [*getattr(error, "__notes__", ()), f"in the case {case!r}"]
                    error.__notes__ = notes  # type: ignore[attr-defined,unused-ignore]
                    raise

        run.__signature__ = signature.replace(parameters=wanted)  # type: ignore[attr-defined]
        return run

    names_of_case = names if isinstance(names, tuple) else (names,)
    return decorate
