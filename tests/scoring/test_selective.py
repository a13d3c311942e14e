"""Conformal sets keep their coverage in simulation; the reject option answers the surest rows first."""

from __future__ import annotations

import numpy as np
import pytest

from pocketlens.errors import PocketlensError
from pocketlens.scoring.metrics import least_rows
from pocketlens.scoring.selective import (
    Method,
    area_under_risk,
    conformal_sets,
    coverage_curve,
    fit_conformal,
    score_sets,
)


def draw(random: np.random.Generator, n: int, n_classes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a classifier that is too sure, and labels."""
    logits = random.normal(size=(n, n_classes))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return logits * 3, labels


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_hold_the_true_class_as_often_as_stated(method: Method, coverage: float) -> None:
    random = np.random.default_rng(7)
    held = []
    for _ in range(300):
        logits, labels = draw(random, 99 + 200)
        rule = fit_conformal(logits[:99], labels[:99], coverage, method)
        held.append(score_sets(conformal_sets(rule, logits[99:]), labels[99:]).coverage.value)
    # 300 simulations: a mean that is too low or too high by more than 4 standard errors is no chance
    error = 4 * np.std(held) / np.sqrt(len(held))
    assert coverage - error < np.mean(held) < coverage + 1 / 100 + error


def test_a_threshold_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    rule = fit_conformal(np.log(probabilities), np.zeros(4, np.int64), 0.8, "lac")
    assert rule.threshold == pytest.approx(0.6)  # the 4th smallest of 0.1, 0.2, 0.3, 0.6
    sets = conformal_sets(rule, np.log(np.array([[0.95, 0.05], [0.5, 0.5]])))
    assert sets.tolist() == [[True, False], [True, True]]
    with pytest.raises(PocketlensError, match=r"coverage of 90 % need at least 9 rows, got 4"):
        fit_conformal(np.log(probabilities), np.zeros(4, np.int64), 0.9, "lac")


@pytest.mark.parametrize(("share", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_the_least_rows_are_the_first_for_which_a_threshold_exists(share: float, least: int) -> None:
    assert least_rows(share) == least
    random = np.random.default_rng(0)
    within = [random.random() <= np.sort(random.random(least))[-1] for _ in range(4000)]
    assert np.mean(within) > share - 4 * np.sqrt(share * (1 - share) / 4000)
    if least > 1:  # one row less, and the largest score is below the share
        assert (least - 1) / least < share


def test_sets_are_judged_by_counts() -> None:
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]], bool)
    judged = score_sets(sets, np.array([0, 1, 2, 0]))
    assert judged.coverage.value == 0.5
    assert (judged.mean_size, judged.n_empty, judged.n_single, judged.single_right.value) == (1.0, 1, 2, 0.5)


def test_the_surest_rows_are_answered_first() -> None:
    logits = np.array([[4.0, 0], [3, 0], [2, 0], [1, 0]])
    labels = np.array([0, 0, 1, 1])
    curve = coverage_curve(logits, labels, (0.25, 0.5, 0.75, 1.0))
    assert [row.coverage for row in curve] == [0.25, 0.5, 0.75, 1.0]
    assert [row.accuracy.value for row in curve] == pytest.approx([1, 1, 2 / 3, 1 / 2])
    assert area_under_risk(logits, labels) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    tied = coverage_curve(np.array([[1.0, 0]] * 4), labels, (0.25,))
    assert tied[0].coverage == 1.0  # rows of one probability cannot be told apart
