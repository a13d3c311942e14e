"""Scores that a run has beside those of its parts: under corruptions, and with several views of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pocketlens.errors import PocketlensError
from pocketlens.evaluation.robustness import Robustness
from pocketlens.files import read_json
from pocketlens.scoring.metrics import Estimate

if TYPE_CHECKING:
    from pocketlens.training.run import Run


@dataclass(frozen=True)
class Views:
    """The test accuracy where a prediction is the mean over `n` views of each image."""

    n: int
    top1: Estimate


def read_robustness(run: Run) -> Robustness | None:
    """The accuracy under corruptions; None where it was not measured."""
    path = run.file("robustness.json")
    return Robustness.from_dict(read_json(path), str(path)) if path.exists() else None


def read_views(run: Run) -> Views | None:
    """The test accuracy with several views of each image; None where it was not measured.

    Raises:
        PocketlensError: the file does not hold what it should.
    """
    path = run.file("scores-test-views.json")
    if not path.exists():
        return None
    value = read_json(path)
    try:
        return Views(int(value["views"]), Estimate.from_dict(value["top1"]))
    except (KeyError, TypeError, ValueError) as error:
        raise PocketlensError(f"{path} must hold views and top1 and does not ({error!r}).") from None
