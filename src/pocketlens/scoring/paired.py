"""Two classifiers on the same rows: the difference of their accuracies with an interval, over all rows and by class.

Source of the interval: Agresti, Min 2005, "Simple improved confidence intervals for comparing matched proportions",
Statistics in Medicine 24: half a row is added to each of the four cells. It is about these two trained models; another
seed gives other models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.metrics import Counts, Estimate, Z, simultaneous_z


@dataclass(frozen=True)
class Paired:
    """Rows that only one of two classifiers has right, of `n`, and the second's accuracy minus the first's, -1..1."""

    n: int
    both: int
    only_first: int
    only_second: int
    difference: Estimate

    @property
    def first(self) -> float:
        """The accuracy of the first, 0..1."""
        return (self.both + self.only_first) / self.n

    @property
    def second(self) -> float:
        """The accuracy of the second, 0..1."""
        return (self.both + self.only_second) / self.n

    @property
    def is_clear(self) -> bool:
        """Whether 0 is outside of the interval."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True)
class ClassChange:
    """A class, and what changed in it.

    Attributes:
        is_clear: whether 0 is outside of the interval that holds for all classes together (Bonferroni).
    """

    label: int
    paired: Paired
    is_clear: bool


def compare_rows(first: NDArray[np.bool_], second: NDArray[np.bool_], z: float = Z) -> Paired:
    """The comparison of which rows (N,) the two have right; N is 1 or more."""
    n, only_first, only_second = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    b, c, m = only_first + 0.5, only_second + 0.5, n + 2.0
    middle, half = (c - b) / m, z * math.sqrt(max((b + c) - (c - b) ** 2 / m, 0.0)) / m
    low, high = max(-1.0, middle - half), min(1.0, middle + half)
    difference = Estimate((only_second - only_first) / n, low, high)
    return Paired(n, int((first & second).sum()), only_first, only_second, difference)


def changes_by_class(labels: Counts, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> list[ClassChange]:
    """Each class that has rows, the one that gained most first."""
    found = []
    present = np.unique(labels)
    wide = simultaneous_z(len(present))
    for label in present.tolist():
        rows = labels == label
        clear = compare_rows(first[rows], second[rows], wide).is_clear
        found.append(ClassChange(label, compare_rows(first[rows], second[rows]), clear))
    return sorted(found, key=lambda change: -(change.paired.difference.value or 0.0))
