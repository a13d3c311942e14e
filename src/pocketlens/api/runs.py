"""Which run a call means: a Run, what a call gave back, a path, an id, a label, or `last`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pocketlens.files import RUNS
from pocketlens.training.run import Run


class HasRun(Protocol):
    """A result of a call that trains."""

    @property
    def run(self) -> Run:
        """The folder of the run."""


RunLike = Run | HasRun | str | Path


def find_run(run: RunLike, runs: Path = RUNS) -> Run:
    """The run that is meant.

    Raises:
        PocketlensError: there is none.
    """
    if isinstance(run, Run):
        return run
    if isinstance(run, (str, Path)):
        return Run.open(str(run), runs)
    return run.run
