"""The table of the folds on the page of a session: the score over all of them, and each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlens.pipeline.links import relative
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.scores import show, show_interval
from pocketlens.text import counted


@dataclass(frozen=True)
class FoldRow:
    """A fold, in the words of the page's table."""

    name: str
    n: str
    accuracy: str
    interval: str
    chosen: str
    link: str  # to its page


@dataclass(frozen=True)
class FoldsTable:
    """The score over all folds, and each of them."""

    accuracy: Estimate
    said: str
    rows: tuple[FoldRow, ...]


def read_folds(result: PhaseResult, folder: Path) -> FoldsTable | None:
    """What the phase of the folds found, for a page in `folder`; None where it found nothing."""
    found = result.folded
    if found is None:
        return None
    rows = tuple(
        FoldRow(
            str(each.number),
            f"{each.n:,}",
            show(each.accuracy, "share"),
            show_interval(each.accuracy, "share"),
            f"{each.approach}: {each.model}",
            relative(each.page, folder),
        )
        for each in found.folds
    )
    groups = "" if found.n_groups is None else f" in {counted(found.n_groups, 'group')}"
    images = f"{counted(found.n, 'image')}{groups}"
    said = f"of {images} are classified correctly, each by a classifier trained without its fold"
    return FoldsTable(found.accuracy, said, rows)
