"""How to audit a data set: which checks, on what, and what stands for a check that was skipped."""

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.errors import PocketlensError
from pocketlens.training.run import Run

CHECKS = ("duplicates", "classes", "outliers", "labels", "shift", "augment")
LEAST_REVIEWED, MOST_REVIEWED, REVIEWED = 10, 100, 0.01  # outliers by each method, at least, at most, of all rows

_FORMER_NAMES = {"parts": "shift"}


@dataclass(frozen=True)
class Skipped:
    """A check that did not run, and why."""

    reason: str


@dataclass(frozen=True)
class Distrust(Skipped):
    """A check of labels without a list, because what predicts them is wrong too often."""


@dataclass(frozen=True)
class AuditOptions:
    """What to check, and how.

    Attributes:
        quick: only basic facts and duplicates with equal pixels; nothing is trained.
        skip: the checks to skip, of CHECKS.
        run: a finished run whose model provides the features for outliers, instead of cross-validation models.
        augment: the augmentation to draw and test; "all" for every one, None for the usual recipe's.
        seed: of everything that is trained or drawn.
        device: where to compute.
    """

    quick: bool = False
    skip: frozenset[str] = frozenset()
    run: Run | None = None
    augment: str | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = sorted(self.skip - set(CHECKS))
        if unknown:
            raise PocketlensError(f"the checks to skip must be among {', '.join(CHECKS)}; got {unknown[0]!r}.")

    @property
    def needs_predictions(self) -> bool:
        """Whether a check needs a prediction of every row by a model that was not trained on it."""
        wanted = [check for check in ("classes", "labels", "outliers") if self.skipped(check) is None]
        return bool(wanted) and not (wanted == ["outliers"] and self.run is not None)

    def skipped(self, check: str) -> Skipped | None:
        """Why these options exclude a check, or None if they do not."""
        if check in self.skip:
            return Skipped("as requested")
        return Skipped("not part of a quick audit") if self.quick and check != "duplicates" else None


def n_reviewed(n_rows: int) -> int:
    """How many of the outliers by one method a person is asked to review: one in a hundred rows, 10 to 100."""
    return min(n_rows, MOST_REVIEWED, max(LEAST_REVIEWED, round(REVIEWED * n_rows)))


def read_checks(text: str) -> frozenset[str]:
    """The checks in a text such as `labels,shift`; `parts`, the former name of `shift`, is still read."""
    names = (word.strip() for word in text.split(","))
    return frozenset(_FORMER_NAMES.get(name, name) for name in names if name)
