"""What else was measured on the test images of a run: with the mean over several views, and with corruptions."""

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
    """The accuracy on corrupted test images, where it was measured."""
    path = run.file("robustness.json")
    return Robustness.from_dict(read_json(path), str(path)) if path.exists() else None


def read_views(run: Run) -> Views | None:
    """The accuracy with several views, where it was measured.

    Raises:
        PocketlensError: the file holds something else.
    """
    path = run.file("scores-test-views.json")
    if not path.exists():
        return None
    value = read_json(path)
    try:
        return Views(int(value["views"]), Estimate.from_dict(value["top1"]))
    except (KeyError, TypeError, ValueError) as error:
        raise PocketlensError(f"{path} must hold views and top1 and does not ({error!r}).") from None
