"""The interval of the accuracy over pooled folds: its cover, by simulation, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from pocketlens.data.dataset import Labels
from pocketlens.scoring.metrics import proportion
from pocketlens.scoring.pooled import design_effect, pooled_accuracy

N_FOLDS = 5


def nearest_mean(x: np.ndarray, y: Labels) -> np.ndarray:
    """(d + 1,): weights and offset of the classifier that takes the class with the nearer mean."""
    low, high = x[y == 0].mean(0), x[y == 1].mean(0)
    return np.append(high - low, (low @ low - high @ high) / 2)


def true_accuracy(weights: np.ndarray, apart: float, spread: float) -> float:
    """On images yet unseen, of which each belongs to a group of its own."""
    scale = np.linalg.norm(weights[:-1]) * np.sqrt(1 + spread**2)
    reach = weights[0] * apart
    return float(norm.cdf((reach - weights[-1]) / scale) + norm.cdf((reach + weights[-1]) / scale)) / 2


def cover(n: int, n_features: int, apart: float, group: int = 1, spread: float = 0.0) -> float:
    """How often the interval holds the true accuracy of the procedure, over 400 cross-validations.

    Two classes of normal images, `apart` standard deviations from the middle; the images of a group (of `group`) share
    a shift. All folds share training images, so that they are correlated as in use.
    """
    random, intervals, truths = np.random.default_rng(0), [], []
    n_groups = n // group
    for _ in range(400):
        fold_of, class_of = np.empty(n_groups, np.int64), np.arange(n_groups) % 2
        for label in (0, 1):
            members = np.flatnonzero(class_of == label)
            fold_of[members] = random.permutation(len(members)) % N_FOLDS
        groups = np.repeat(np.arange(n_groups), group)
        y, folds = class_of[groups], fold_of[groups]
        x = random.normal(size=(n, n_features)) + spread * random.normal(size=(n_groups, n_features))[groups]
        x[:, 0] += np.where(y == 1, apart, -apart)
        right = np.zeros(n, bool)
        for fold in range(N_FOLDS):
            held = folds == fold
            weights = nearest_mean(x[~held], y[~held])
            right[held] = (x[held] @ weights[:-1] + weights[-1] > 0) == (y[held] == 1)
            truths.append(true_accuracy(weights, apart, spread))
        found = pooled_accuracy(right, folds, groups if group > 1 else None)
        intervals.append((found.low, found.high))
    low, high = np.array(intervals, float).T
    truth = float(np.mean(truths))
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize(
    ("n", "n_features", "apart", "group", "spread"),
    [
        (60, 2, 1.0, 1, 0.0),
        (300, 5, 1.3, 1, 0.0),
        (100, 100, 1.5, 1, 0.0),
        (200, 5, 1.0, 10, 1.0),
        (400, 5, 1.5, 10, 0.7),
    ],
)
def test_the_interval_covers_the_truth_about_as_often_as_it_says(
    n: int, n_features: int, apart: float, group: int, spread: float
) -> None:
    """Nominal 95 %: above it where the classifier is stable, 91 to 94 % where it depends much on its images."""
    assert 0.90 <= cover(n, n_features, apart, group, spread) <= 0.99


def test_without_groups_it_would_cover_far_too_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.pooled_accuracy", lambda right, folds, groups: proportion(right.sum(), len(right)))
    assert cover(200, 5, 1.0, 10, 1.0) < 0.8


def test_images_of_one_group_count_as_one_draw() -> None:
    right = np.arange(100) % 10 > 2  # 70 %
    folds = np.arange(100) // 20
    single = pooled_accuracy(right, folds, np.arange(100))
    whole = pooled_accuracy(right, folds, np.argsort(np.argsort(right, kind="stable")) // 10)
    assert single.value == whole.value == 0.7
    assert single.low is not None
    assert whole.low is not None
    assert whole.low < single.low - 0.1
    assert design_effect(right, np.arange(100) // 10) == 0.0, "every group has the same share"


def test_folds_that_differ_more_than_chance_widen_it() -> None:
    folds = np.repeat(np.arange(5), 100)
    right = np.concatenate([np.arange(100) < share for share in (95, 95, 40, 95, 95)])
    alike = np.concatenate([np.arange(100) < 84] * 5)
    wide, narrow = pooled_accuracy(right, folds), pooled_accuracy(alike, folds)
    assert wide.value == narrow.value == 0.84
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low < narrow.low - 0.1
    expected = proportion(420, 500)
    assert narrow.low == pytest.approx(expected.low, abs=1e-3), "Wilson's, where the folds agree"


@pytest.mark.parametrize("is_right", [True, False])
def test_all_right_or_all_wrong_has_an_interval_by_the_number_of_groups(is_right: bool) -> None:
    right, folds = np.full(40, is_right), np.arange(40) % 5
    plain, grouped = pooled_accuracy(right, folds), pooled_accuracy(right, folds, np.arange(40) // 10)
    assert plain.value == grouped.value == float(is_right)
    width = [each.high - each.low for each in (plain, grouped) if each.high is not None and each.low is not None]
    assert 0.05 < width[0] < 0.2 < width[1]
    assert pooled_accuracy(right[:0], folds[:0]).value is None
