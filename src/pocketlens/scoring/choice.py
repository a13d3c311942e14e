"""Which of several classifiers to take, judged on the same images: the best, or a cheaper one that is as good.

Whatever is chosen by its score on some images looks better on them than it is; the bootstrap says by how much (Efron
and Tibshirani 1993, "An introduction to the bootstrap").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES, Z = 1000, 1.96


@dataclass(frozen=True)
class Choice:
    """The classifier that is taken.

    Attributes:
        chosen: its name: the cheapest one whose accuracy is within one standard error of the best one's.
        best: the name of the one with the highest accuracy.
        runner_up: the name of the best of the others, or None where there is one classifier alone.
        difference: accuracy of the chosen one minus that of the runner-up, in 0..1; 0 without one.
        low, high: its 95 % interval, paired over images.
        selection_bias: by how much the accuracy of the best one is too high, expected, for having been chosen.
    """

    chosen: str
    best: str
    runner_up: str | None
    difference: float
    low: float
    high: float
    selection_bias: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.low > 0 or self.high < 0


def choose(right: Mapping[str, NDArray[np.bool_]], groups: NDArray[np.int64] | None = None) -> Choice:
    """Chooses among classifiers.

    Args:
        right: for each classifier, the cheapest first, which of the same N images it has right, (N,); N is at least 1.
        groups: (N,), images of one group (patient, slide) count as one draw; None: every image is one.
    """
    names = list(right)
    sums, sizes = _by_draw(np.stack([right[name] for name in names]).astype(np.float64), groups)
    means = sums.sum(1) / sizes.sum()
    best = int(np.argmax(means))
    behind = [means[best] - means[place] - _standard_error(sums[best] - sums[place], sizes) for place in range(best)]
    chosen = next((place for place, lack in enumerate(behind) if lack <= 0), best)
    others = [place for place in range(len(names)) if place != chosen]
    if not others:
        return Choice(names[chosen], names[best], None, 0.0, 0.0, 0.0, 0.0)
    second = max(others, key=lambda place: float(means[place]))
    difference = float(means[chosen] - means[second])
    reach = Z * _standard_error(sums[chosen] - sums[second], sizes)
    bias = _selection_bias(sums, sizes)
    return Choice(names[chosen], names[best], names[second], difference, difference - reach, difference + reach, bias)


def _by_draw(
    right: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(classifiers, draws): right images of each draw, and (draws,): its images."""
    if groups is None:
        return right, np.ones(right.shape[1])
    _, draw = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(draw, weights=row) for row in right]).astype(np.float64)
    return sums, np.bincount(draw).astype(np.float64)


def _standard_error(difference: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """Of a mean over images, from its sums by draw: that of a ratio of sums."""
    n = len(sizes)
    if n < 2:
        return float("inf")
    mean = difference.sum() / sizes.sum()
    return float(np.sqrt(n / (n - 1) * ((difference - mean * sizes) ** 2).sum()) / sizes.sum())


def _selection_bias(sums: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    random, n = np.random.default_rng(0), len(sizes)
    means, excess = sums.sum(1) / sizes.sum(), 0.0
    for _ in range(N_RESAMPLES):
        weight = np.bincount(random.integers(0, n, n), minlength=n)
        drawn = (sums @ weight) / (sizes @ weight)
        best = int(np.argmax(drawn))
        excess += float(drawn[best] - means[best])
    return max(0.0, excess / N_RESAMPLES)
