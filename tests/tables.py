"""Tables of cases that take no time, in one test each.

Each pytest test costs some milliseconds in the process that runs it, in those that collect it, and
in the one that reports it. This is more than thousands of these cases take together.
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

    The first case that fails ends the test, and is named below its error. All cases share a
    fixture.
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
                    # Like add_note, which came with Python 3.11.
                    notes = [*getattr(error, "__notes__", ()), f"in the case {case!r}"]
                    error.__notes__ = notes  # type: ignore[attr-defined,unused-ignore]
                    raise

        run.__signature__ = signature.replace(parameters=wanted)  # type: ignore[attr-defined]
        return run

    names_of_case = names if isinstance(names, tuple) else (names,)
    return decorate
