"""The accuracy over the pooled test images of all folds of a cross-validation, with an interval.

The pooled images are no independent draws: those of one group (patient, slide) resemble each other, and those of one
fold are judged by one classifier. So the interval is Wilson's with fewer images than were judged: their number divided
by the design effect (Kish 1965, "Survey sampling"), which is how many times the variance between groups, or between
folds, is that of independent images, and at least 1. What it leaves out is that training rows are shared between folds
(Bengio and Grandvalet 2004, "No unbiased estimator of the variance of k-fold cross-validation", JMLR 5), so where the
classifier depends much on its training rows, the cover is a little below the nominal one; tests/scoring/test_pooled.py
simulates it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.metrics import CONFIDENCE, Estimate, wilson


def pooled_accuracy(
    right: NDArray[np.bool_], folds: NDArray[np.int64], groups: NDArray[np.int64] | None = None
) -> Estimate:
    """The share of right images of all folds, with its 95 % interval.

    Args:
        right: (N,), which images were classified correctly, each by the classifier that was trained without its fold.
        folds: (N,), the fold of each image.
        groups: (N,), images of one group count as one draw; None: every image is one.
    """
    n = len(right)
    if not n:
        return Estimate(None)
    effect, quantile = max(1.0, design_effect(right, folds)), _quantile(n)
    if groups is not None:
        n_groups, is_one = len(np.unique(groups)), bool(right.all() or not right.any())
        by_group = n / n_groups if is_one else design_effect(right, groups)  # where all agree, nothing tells them apart
        effect, quantile = max(effect, by_group), _quantile(n_groups)
    k = float(right.sum())
    low, high = wilson(k / effect, n / effect, quantile)
    return Estimate.of(k / n, float(low), float(high))


def design_effect(right: NDArray[np.bool_], clusters: NDArray[np.int64]) -> float:
    """How many times the variance of the mean, with whole clusters as draws, is that of independent images.

    It is not estimated, and 1, where all images are right or all wrong; with one cluster it is the number of images.
    """
    _, place = np.unique(clusters, return_inverse=True)
    sizes, mean = np.bincount(place).astype(np.float64), float(right.mean())
    if len(sizes) < 2:
        return float(len(right))
    if mean in (0.0, 1.0):
        return 1.0
    off = np.bincount(place, weights=right) - mean * sizes
    n_clusters, n = len(sizes), len(right)
    return float(n_clusters / (n_clusters - 1) * (off**2).sum() / (n * mean * (1 - mean)))


def _quantile(n_draws: int) -> float:
    """Student's, as the variance is estimated from so many draws."""
    from scipy.stats import t

    return float(t.isf((1 - CONFIDENCE) / 2, max(n_draws - 1, 1)))
