"""Which run a call means: a Run, what a call gave back, a path, an id, a label, or `last`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.literals import IN_PYTHON

MADE_LABEL = "auto: "  # with this the labels of runs begin that no person has named

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
        PocketlensError: there is none, or code of one's own that it uses was named and has changed since.
    """
    from pocketlens.training.run import Run

    found = Run.open(str(run), runs) if isinstance(run, (str, Path)) else run if isinstance(run, Run) else run.run
    found.bind_code()
    return found


def next_command(run: Run) -> str:
    """What is usually done with a finished run: it is tested, or its page is written where there are no test rows.

    Where its scores are missing, they are asked for first.
    """
    if run.lacks_scores:
        return f"pocketlens resume {typed_name(run)}"
    return f"pocketlens {'report' if run.split.n_test == 0 else 'test'} {typed_name(run)}"


def runs_option(run: Run) -> str:
    """The options that a command needs for the run: `--runs` outside of the usual folder, `--code` for one's own."""
    folder = run.path.parent
    where = "" if folder == RUNS else f" --runs {quoted(str(folder))}"
    files = [record.file for record in run.experiment.code if not record.file.startswith(IN_PYTHON)]
    return where + "".join(f" --code {quoted(file)}" for file in files)


def command(verb: str, run: Run, options: str = "") -> str:
    """The command that does something with the run, as it is typed."""
    return f"pocketlens {verb} {typed_name(run)}{options}{runs_option(run)}"


def typed_name(run: Run) -> str:
    """What a person types for the run: the label that they gave, where it means this run, else its id."""
    from pocketlens.training.run import Run

    label = run.experiment.label
    if not re.fullmatch(r"\w[\w .,:=+-]*", label) or label == "last" or label.startswith(MADE_LABEL):
        return run.id
    try:
        meant = Run.open(label, run.path.parent)
    except PocketlensError:
        return run.id
    return quoted(label) if meant.path.resolve() == run.path.resolve() else run.id


def quoted(file: str) -> str:
    """A path or a component text as it is typed: in quotes that every shell reads, where it needs any."""
    return file if re.fullmatch(r"[\w./\\:-]+", file) else f'"{file}"'  # quotes that every shell reads
