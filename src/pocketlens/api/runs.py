"""Which run a call means: a Run, what a call gave back, a path, an id, a label, or `last`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pocketlens.files import RUNS

if TYPE_CHECKING:
    from pocketlens.training.run import Run

    RunLike: TypeAlias = "Run | HasRun | str | Path"


class HasRun(Protocol):
    """A result of a call that trains."""

    @property
    def run(self) -> Run:
        """The folder of the run."""


def find_run(run: RunLike, runs: Path = RUNS) -> Run:
    """The run that is meant.

    Raises:
        PocketlensError: there is none.
    """
    from pocketlens.training.run import Run

    if isinstance(run, Run):
        return run
    if isinstance(run, (str, Path)):
        return Run.open(str(run), runs)
    return run.run


def runs_option(run: Run) -> str:
    """The option `--runs` that a command needs to find the run; empty where it lies in the usual folder."""
    folder = run.path.parent
    return "" if folder == RUNS else f" --runs {folder}"
