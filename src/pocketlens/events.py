"""Step: one piece of a long work is done. Long work is a generator that yields steps and returns its result.

    def find(rows) -> Work[Found]:
        for index, row in enumerate(rows):
            ...
            yield Step("comparing images", index + 1, len(rows))
        return Found(...)

The caller's loop is where a progress bar stands (`cli/work.py`); `finish(find(rows))` runs it without one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True)
class Step:
    """`done` of `total` pieces of what `what` says are done."""

    what: str
    done: int
    total: int


Result = TypeVar("Result")
Work = Generator[Step, None, Result]


def finish(work: Work[Result]) -> Result:
    """Runs a work to its end, without showing it, and gives its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
